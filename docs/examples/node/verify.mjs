// Reads captured requests from stdin, one JSON object a line, and verifies each:
//
//   {"secret": "whsec_…", "headers": {"webhook-id": "…", …}, "body": "…"}
//
// What stands beside a secret, whsec_…, with the npm package standardwebhooks; what stands beside a public key, whpk_…, of
// the scheme v1a, which that package does not know, with Node's own crypto.
//
// It prints a line for each request that fails, then a total, and ends with 0 only when there was at least one request and
// all verified. Timestamps may be at most five minutes old: verify what you have just captured.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";
import { verifierOf } from "./v1a.mjs";

const verified = { standardwebhooks: 0, "node:crypto": 0 };
let failed = 0;
let line = 0;
for await (const text of createInterface({ input: process.stdin })) {
  line += 1;
  if (text.trim() === "") continue;
  try {
    const { secret, headers, body } = JSON.parse(text);
    const asymmetric = secret.startsWith("whpk_");
    const verify = asymmetric ? byPublicKey(secret) : bySecret(secret);
    verify(body, headers);
    // One changed byte must not verify, or the check above says nothing.
    if (passes(verify, body + " ", headers)) throw new Error("a changed body verified too");
    verified[asymmetric ? "node:crypto" : "standardwebhooks"] += 1;
  } catch (error) {
    failed += 1;
    console.error(`line ${line}: ${error.message}`);
  }
}
const counts = Object.entries(verified);
console.log(`${counts.map(([by, n]) => `${n} verified by ${by}`).join(", ")}, ${failed} failed`);
process.exitCode = failed === 0 && counts.some(([, n]) => n > 0) ? 0 : 1;

// bySecret and byPublicKey give what throws unless a request verifies.
function bySecret(secret) {
  return (body, headers) => new Webhook(secret).verify(body, headers);
}

function byPublicKey(key) {
  const verifies = verifierOf(key);
  return (body, headers) => {
    if (!verifies(Buffer.from(body), headers)) throw new Error("no matching signature of v1a");
  };
}

function passes(verify, body, headers) {
  try {
    verify(body, headers);
    return true;
  } catch {
    return false;
  }
}
