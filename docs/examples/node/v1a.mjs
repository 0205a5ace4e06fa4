// Verifies signatures of the scheme v1a (ed25519) with Node's own crypto; nothing to install.
import { createPublicKey, verify } from "node:crypto";

// publicKey: whpk_…; the answer takes the raw body as a Buffer, and the headers by their lower-case names
export function verifierOf(publicKey) {
  // The 32 bytes behind whpk_, in the frame that node reads public keys in.
  const frame = Buffer.from("302a300506032b6570032100", "hex");
  const raw = Buffer.from(publicKey.slice("whpk_".length), "base64");
  const key = createPublicKey({ key: Buffer.concat([frame, raw]), format: "der", type: "spki" });
  return (body, headers) => {
    const { "webhook-id": id, "webhook-timestamp": timestamp } = headers;
    if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300)) return false;
    const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
    return headers["webhook-signature"].split(" ").some((s) =>
      s.startsWith("v1a,") && verify(null, signed, key, Buffer.from(s.slice(4), "base64")));
  };
}
