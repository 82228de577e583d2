// billing 28: what Pontage sends to Resend is taken by somebody else's Resend, too, and what was mailed is in it as it was
// sent: the license in one piece, in text and HTML.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createEmulator } from "emulate";
import { openShop, until } from "../rig/src/shop.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

let sandbox, upstream, resend, shop;
before(async () => {
  sandbox = await startSandbox();
  upstream = await startUpstream();
  resend = await createEmulator({ service: "resend", port: 0 });
  const mail = `provider = "resend"\napi_key = "env:RESEND_API_KEY"\napi_base = "http://127.0.0.1:${new URL(resend.url).port}"\nreceipts = true`;
  shop = await openShop({ sandbox, upstream: upstream.url, mail });
  await shop.start();
});
after(async () => {
  await shop?.close();
  await resend?.close();
  await upstream?.stop();
  await sandbox?.stop();
});

const mailsTo = async (email) => {
  const answer = await fetch(`${resend.url}/emails`, { headers: { authorization: "Bearer re_x" } });
  assert.equal(answer.status, 200);
  return (await answer.json()).data.filter((one) => one.to.includes(email));
};

test("billing 28: emulate's Resend takes our mails, one for each license, and has the license in them", async () => {
  const { license } = await shop.buy("pro", "ann@example.com");
  const [mail] = await until("the mail", async () => {
    const all = await mailsTo("ann@example.com");
    return all.length > 0 && all;
  });
  assert.equal(mail.last_event, "email.delivered");
  assert.ok(mail.text.split("\n").includes(license));
  assert.ok(mail.html.includes(license));
  assert.match(mail.from, /keys@example\.com/);
  assert.equal((await shop.get("/v1/a", mail.text.split("\n").find((line) => line.startsWith("eyJ")))).status, 200);
  // A burst goes as a batch.
  const many = Array.from({ length: 12 }, (_, i) => `buyer${i}@example.com`);
  await Promise.all(many.map((email) => shop.buy("week", email)));
  for (const email of many) {
    await until(`the mail to ${email}`, async () => (await mailsTo(email)).length > 0);
    assert.equal((await mailsTo(email)).length, 1, email);
  }
  await until("each is marked", () => shop.rows("SELECT count(*) AS n FROM mail_outbox WHERE state <> 'sent'")[0].n === 0);
  assert.deepEqual(shop.rows("SELECT DISTINCT provider FROM mail_outbox"), [{ provider: "resend" }]);
});
