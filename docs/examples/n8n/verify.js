// Verifies a request of hookledger (Standard Webhooks, scheme v1) over its raw body. In n8n's Code node, and in Node.

// verify gives the event, or throws why the request is none of ours. now is in seconds.
function verify(secret, headers, raw, now) {
  const crypto = require('crypto'); // here, because what throws outside of the caller's try is answered 200 by n8n 1.x
  const id = headers['webhook-id'];
  const timestamp = headers['webhook-timestamp'];
  const signatures = headers['webhook-signature'];
  if (!id || !timestamp || !signatures) throw new Error('the request is not signed');
  if (!/^[0-9]{1,12}$/.test(timestamp) || Math.abs(now - Number(timestamp)) > 300) {
    throw new Error('the timestamp is more than 5 minutes off');
  }
  const key = Buffer.from((secret || '').replace(/^whsec_/, ''), 'base64');
  if (key.length < 24) throw new Error('HOOKLEDGER_SECRET is no secret: copy it whole, from whsec_ on');
  const expected = crypto.createHmac('sha256', key).update(`${id}.${timestamp}.`).update(raw).digest();
  for (const signature of signatures.split(' ')) {
    const [version, value] = signature.split(',');
    const given = Buffer.from(value || '', 'base64');
    if (version === 'v1' && given.length === expected.length && crypto.timingSafeEqual(given, expected)) {
      return JSON.parse(raw.toString('utf8'));
    }
  }
  throw new Error('the signature does not fit the body');
}
