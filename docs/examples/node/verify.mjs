// Reads captured requests from stdin, one JSON object a line, and verifies each with the npm package standardwebhooks:
//
//   {"secret": "whsec_…", "headers": {"webhook-id": "…", …}, "body": "…"}
//
// It prints a line for each request that fails, then a total, and ends with 0 only when there was at least one request and
// all verified. The package takes timestamps that are at most five minutes old: verify what you have just captured.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

let verified = 0;
let failed = 0;
let line = 0;
for await (const text of createInterface({ input: process.stdin })) {
  line += 1;
  if (text.trim() === "") continue;
  try {
    const { secret, headers, body } = JSON.parse(text);
    new Webhook(secret).verify(body, headers);
    // One changed byte must not verify, or the check above says nothing.
    if (verifies(new Webhook(secret), body + " ", headers)) throw new Error("a changed body verified too");
    verified += 1;
  } catch (error) {
    failed += 1;
    console.error(`line ${line}: ${error.message}`);
  }
}
console.log(`standardwebhooks: ${verified} verified, ${failed} failed`);
process.exitCode = failed === 0 && verified > 0 ? 0 : 1;

function verifies(webhook, body, headers) {
  try {
    webhook.verify(body, headers);
    return true;
  } catch {
    return false;
  }
}
