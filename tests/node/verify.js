// Verifies with npm's standardwebhooks. A line in: {payload (base64), headers, secret}; a line out: null when the
// signature fits, else the library's reason. Any other error ends the process: it is no refusal.
"use strict";

const { readFileSync } = require("node:fs");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

function judge({ payload, headers, secret }) {
  try {
    new Webhook(secret).verify(Buffer.from(payload, "base64"), headers, { jsonParse: false });
    return null;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return error.message;
    throw error;
  }
}

const lines = readFileSync(0, "utf8").split("\n").filter(Boolean);
for (const line of lines) console.log(JSON.stringify(judge(JSON.parse(line))));
