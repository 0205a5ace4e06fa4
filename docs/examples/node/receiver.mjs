// A receiver: verifies each request, answers 204, and deduplicates by webhook-id.
//
//   SECRET=whsec_… node receiver.mjs
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.SECRET);
const seen = new Set(); // yours is a table with a unique key: sending is at least once

createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks).toString("utf8"); // the raw body: parse it after it verified
    let event;
    try {
      event = webhook.verify(body, request.headers);
    } catch (error) {
      response.writeHead(400).end(error.message);
      return;
    }
    const id = request.headers["webhook-id"];
    if (!seen.has(id)) {
      seen.add(id);
      console.log(id, event.event, JSON.stringify(event.data));
    }
    response.writeHead(204).end();
  });
}).listen(Number(process.env.PORT ?? 3000));
