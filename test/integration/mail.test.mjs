// The mail with a license, from the shop to the mailbox: once, whatever the provider does; by another provider where
// the first is not there; and never again to who does not want it or is not there.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort } from "../rig/src/nginx.mjs";
import { openShop, until } from "../rig/src/shop.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kSecret = `whsec_${Buffer.from("a secret of Resend's, 32 bytes !").toString("base64")}`;

let upstream;
before(async () => {
  upstream = await startUpstream();
});
after(async () => {
  await upstream?.stop();
});

// A shop of its own with `mail` of a sandbox of its own.
function shopOf(mail, env = {}, sections = "") {
  const self = {};
  before(async () => {
    self.sandbox = await startSandbox();
    self.shop = await openShop({ sandbox: self.sandbox, upstream: upstream.url, sections, mail: mail && (await mail(self.sandbox)) });
    await self.shop.start(env);
  });
  after(async () => {
    await self.shop?.close();
    await self.sandbox?.stop();
  });
  return self;
}
const sent = (shop, email) => shop.rows("SELECT state, provider, attempts FROM mail_outbox WHERE recipient = ? ORDER BY id", email);
const isSent = (shop, email) => until("sent in the books", () => sent(shop, email).every((one) => one.state === "sent") && sent(shop, email)[0], 60_000);

describe("billing 28: a license mail leaves once", () => {
  const self = shopOf();
  for (const [what, email, knob, order] of [
    ["429 with Retry-After", "ann@example.com", "fail_next", { count: 1, status: 429, name: "rate_limit_exceeded", retry_after: 1 }],
    ["500, and nothing taken", "bob@example.com", "fail_next", { count: 1, status: 500 }],
    ["500, and taken all the same", "cy@example.com", "fail_next", { count: 1, status: 500, accept: true }],
    ["no answer in time, and taken all the same", "dee@example.com", "hang", { count: 1, ms: 12_000 }],
  ]) {
    test(`after ${what}`, { timeout: 120_000 }, async () => {
      await self.shop.mailbox(knob, order);
      const { license } = await self.shop.buy("pro", email);
      const row = await isSent(self.shop, email);
      assert.ok(row.attempts >= 2, `${row.attempts} attempts`);
      const mails = await self.shop.mailsTo(email);
      assert.equal(mails.length, 1);
      assert.ok((await self.shop.mail(mails[0].id)).text.split("\n").includes(license));
    });
  }
});

describe("billing 28: Resend is down", () => {
  const self = shopOf(async (sandbox) => {
    const [host, port] = sandbox.smtp.split(":");
    return `provider = "resend"
api_key = "env:RESEND_API_KEY"
api_base = "http://127.0.0.1:${await freePort()}"
host = "${host}"
port = ${port}`;
  });
  test("the mail goes by SMTP, once", async () => {
    const { license } = await self.shop.buy("pro", "ann@example.com");
    const row = await isSent(self.shop, "ann@example.com");
    assert.equal(row.provider, "smtp");
    const mails = await self.shop.mailsTo("ann@example.com");
    assert.equal(mails.length, 1);
    assert.ok((await self.shop.mail(mails[0].id)).text.split(/\r?\n/).includes(license));
  });
});

describe("billing 29: what Resend tells of", () => {
  const self = shopOf(
    (sandbox) => `provider = "resend"
api_key = "env:RESEND_API_KEY"
api_base = "${sandbox.mailbox}"
webhook_secret = "env:RESEND_WEBHOOK_SECRET"`,
    { RESEND_WEBHOOK_SECRET: kSecret },
    '[console]\noperator_key = "file:operator.key"\n',
  );
  const suppressed = (address) => self.shop.rows("SELECT reason FROM mail_suppressed WHERE address = ?", address)[0]?.reason;
  const tellOf = (address, type) => self.shop.mailbox("bounce", { address, type });
  const again = async (email) => {
    assert.equal((await self.shop.post("/billing/resend", { email })).status, 200);
    await until("its end in the books", () => sent(self.shop, email).length === 2 && sent(self.shop, email)[1].state !== "queued");
  };
  before(() => self.shop.mailbox("webhook", { url: `${self.shop.url}/webhooks/resend`, secret: kSecret }));

  for (const [what, email, kind, reason] of [
    ["a mailbox that is not there", "gone@example.com", "Permanent", "bounced"],
    ["a complaint", "annoyed@example.com", "complaint", "complained"],
  ]) {
    test(`${what} stops further mail, and costs no license`, async () => {
      await tellOf(email, kind);
      const { license } = await self.shop.buy("pro", email);
      await until("told", () => suppressed(email) === reason);
      assert.equal(sent(self.shop, email)[0].state, "bounced");
      await again(email);
      assert.deepEqual(sent(self.shop, email).map((one) => one.state).sort(), ["bounced", "suppressed"]);
      assert.equal((await self.shop.mailsTo(email)).length, 1);
      assert.equal((await self.shop.get("/v1/a", license)).status, 200);
    });
  }
  test("whom the operator allows again gets his license again", async () => {
    const email = "back@example.com";
    const key = fs.readFileSync(path.join(self.shop.dir, "operator.key"), "utf8").trim();
    const admin = async (method, where, body) => {
      const headers = { "x-admin-key": key, "idempotency-key": crypto.randomUUID() };
      const answer = await fetch(`${self.shop.url}/admin/v1${where}`, { method, headers, body: body && JSON.stringify(body) });
      return { status: answer.status, json: await answer.json() };
    };
    const unreached = async () => (await admin("GET", "/outbox?state=unreached")).json.data.filter((one) => one.recipient === email);
    await tellOf(email, "Permanent");
    const { license } = await self.shop.buy("pro", email);
    await until("it came back", async () => (await unreached()).length === 1);
    const [mail] = await unreached();
    assert.equal(mail.suppressed, "bounced");
    assert.ok((await admin("GET", "")).json.sales.mails_unreached >= 1);

    const refused = await admin("POST", `/outbox/${mail.id}/retry`, { reason: "asked on the phone" });
    assert.equal(refused.status, 409);
    assert.equal(refused.json.pointer, "/allow");
    assert.equal(suppressed(email), "bounced");

    await tellOf(email, "none");
    const done = await admin("POST", `/outbox/${mail.id}/retry`, { reason: "a new mailbox", allow: true });
    assert.equal(done.status, 200, JSON.stringify(done.json));
    assert.equal(done.json.allowed, email);
    await until("sent", () => sent(self.shop, email).some((one) => one.state === "sent"));
    assert.equal(suppressed(email), undefined);
    const mails = await self.shop.mailsTo(email);
    assert.equal(mails.length, 2);
    for (const { id } of mails) assert.ok((await self.shop.mail(id)).text.split("\n").includes(license), "the same license, which he has once");
    assert.deepEqual(await unreached(), []);
  });
  test("a mailbox that is full stops nothing", async () => {
    await tellOf("full@example.com", "Transient");
    await self.shop.buy("pro", "full@example.com");
    await isSent(self.shop, "full@example.com");
    await again("full@example.com");
    await until("both", async () => (await self.shop.mailsTo("full@example.com")).length === 2);
    assert.equal(suppressed("full@example.com"), undefined);
  });
  test("only what Resend has signed now counts", async () => {
    const body = JSON.stringify({ type: "email.bounced", created_at: "2026-11-22T00:00:00Z", data: { email_id: "x", to: ["eve@example.com"], bounce: { type: "Permanent" } } });
    const key = Buffer.from(kSecret.slice(6), "base64");
    const deliver = (at, secret, prefix = "svix") => {
      const id = `msg_${crypto.randomUUID()}`;
      const tag = crypto.createHmac("sha256", secret).update(`${id}.${at}.${body}`).digest("base64");
      const headers = { [`${prefix}-id`]: id, [`${prefix}-timestamp`]: `${at}`, [`${prefix}-signature`]: `v1,${tag}` };
      return fetch(`${self.shop.url}/webhooks/resend`, { method: "POST", headers, body });
    };
    const now = Math.floor(Date.now() / 1000);
    for (const [at, secret] of [[now - 400, key], [now + 400, key], [now, "another"], ["x", key]]) {
      assert.equal((await deliver(at, secret)).status, 401);
    }
    assert.equal((await fetch(`${self.shop.url}/webhooks/resend`, { method: "POST", body })).status, 401);
    assert.equal((await fetch(`${self.shop.url}/webhooks/resend`)).status, 405);
    assert.equal(suppressed("eve@example.com"), undefined);
    assert.equal((await deliver(now, key, "webhook")).status, 200);
    assert.equal(suppressed("eve@example.com"), "bounced");
  });
});

describe("without a secret of Resend's webhook", () => {
  const self = shopOf();
  test("nobody is there to be told", async () => {
    assert.equal((await fetch(`${self.shop.url}/webhooks/resend`, { method: "POST", body: "{}" })).status, 404);
  });
});
