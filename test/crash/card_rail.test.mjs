// kill -9 at every step from an event of Stripe's to the mail, by points that only the sanitizers' build has
// (base/fault.h): while a license is made, and while a refund ends it. Started again, and asked by nobody, the process
// comes to the same end as one that never died: one license, one mail, one line about the end.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { openShop, until } from "../rig/src/shop.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

// Where an event, its purchase and the mail can be when the process dies. The events of a purchase come as a burst:
// ":4" is in the middle of it.
const kBought = [
  "event_unstored",
  "event_unstored:4",
  "event_stored",
  "event_stored:4",
  "event_taken",
  "event_taken:3",
  "purchase_leased",
  "purchase_asked",
  "purchase_applied",
  "event_closed",
  "mail.taken",
  "mail.sent",
  "mail.marked",
];
const kRefunded = ["event_unstored", "event_stored", "event_taken", "purchase_leased", "purchase_asked", "purchase_applied", "event_closed"];
// Where an order of the operator's can be; ":2" of the first is when Stripe is asked what
// became of it, because its events are lost.
const kOrdered = ["command_taken", "refund_decided", "refund_made", "command_taken:2"];
// What was under way is another's once its lease is over, which is within ten seconds; the rest is for a slow machine.
const kLeases = 45_000;

let upstream;
async function withShop(what, sections = "") {
  const sandbox = await startSandbox();
  const shop = await openShop({ sandbox, upstream: upstream.url, sections });
  try {
    await what(shop);
  } finally {
    await shop.close();
    await sandbox.stop();
  }
}

const licenses = (shop) => shop.rows("SELECT id, origin, status, generation FROM license");
const settled = (shop) =>
  until(
    "every event has its end, and every mail",
    async () => {
      const { deliveries_waiting } = await (await fetch(`${shop.sandbox.stripe}/_test/state`)).json();
      const [{ open }] = shop.rows("SELECT count(*) AS open FROM stripe_event WHERE state = 'new'");
      const [{ mails }] = shop.rows("SELECT count(*) AS mails FROM mail_outbox WHERE state <> 'sent'");
      return deliveries_waiting === 0 && open === 0 && mails === 0;
    },
    kLeases,
  );

async function diesAt(shop, point, act) {
  const first = await shop.start({ PTG_KILL_AT: point });
  await act();
  const how = await Promise.race([first.exited, new Promise((resolve) => setTimeout(resolve, 30_000).unref())]);
  assert.equal(how?.signal, "SIGKILL", `it never came by ${point}`);
  await shop.start();
}

// Most of the time is waited for leases, so all run beside each other.
process.setMaxListeners(0);
describe("killed", { concurrency: kBought.length + kRefunded.length + kOrdered.length }, () => {
  before(async () => {
    upstream = await startUpstream();
  });
  after(async () => {
    await upstream?.stop();
  });

  for (const point of kBought) {
    test(`while a license is made, at ${point}: one license, one mail`, { timeout: 230_000 }, () =>
      withShop(async (shop) => {
        let session;
        await shop.start();
        const page = await shop.checkout("pro", "ann@example.com");
        await settled(shop);
        await shop.server.stop();
        await diesAt(shop, point, async () => {
          session = await shop.press(page);
        });
        await until("the license", () => licenses(shop)[0], kLeases);
        await settled(shop);
        const said = await shop.bought(session);
        assert.equal((await shop.get("/v1/a", said.license)).status, 200);
        const subscription = await shop.subscriptionOf(session);
        const made = licenses(shop);
        assert.deepEqual(made.map((one) => [one.status, one.generation]), [["active", 1]]);
        assert.ok(made[0].origin.startsWith(`sub:${subscription}:`));
        assert.deepEqual(shop.rows("SELECT status FROM license_feed"), [], "nobody has to be told of a fresh one");
        const mails = await shop.mailsTo("ann@example.com");
        assert.equal(mails.length, 1);
        assert.ok((await shop.mail(mails[0].id)).text.split("\n").includes(said.license));
      }));
  }

  for (const point of kRefunded) {
    test(`while a refund ends it, at ${point}: revoked, once`, { timeout: 230_000 }, () =>
      withShop(async (shop) => {
        await shop.start();
        const { license, session } = await shop.buy("pro", "bob@example.com");
        const payment_intent = await shop.paymentOf(session);
        await settled(shop);
        await shop.server.stop();
        await diesAt(shop, point, () => shop.api("POST", "/v1/refunds", { payment_intent }));
        await until("revoked", () => licenses(shop)[0].status === "revoked", kLeases);
        await settled(shop);
        await until("refused", async () => (await shop.get("/v1/a", license)).status === 401);
        assert.equal(licenses(shop).length, 1);
        const lines = shop.rows("SELECT status FROM license_feed ORDER BY seq").map((one) => one.status);
        assert.deepEqual(lines, ["revoked"]);
        assert.equal((await shop.mailsTo("bob@example.com")).length, 1);
        const { data } = await shop.api("GET", "/v1/refunds", { payment_intent });
        assert.equal(data.length, 1);
      }));
  }

  for (const point of kOrdered) {
    test(`while the operator gives money back, at ${point}: one refund`, { timeout: 230_000 }, () =>
      withShop(async (shop) => {
        await shop.start();
        const { license, session } = await shop.buy("pro", "cy@example.com");
        const payment_intent = await shop.paymentOf(session);
        await settled(shop);
        await shop.server.stop();
        const [{ id }] = licenses(shop);
        if (point.endsWith(":2")) await shop.action("faults", { drop: "1000" });
        const refund = () =>
          fetch(`${shop.url}/admin/v1/licenses/${id}/refund`, {
            method: "POST",
            headers: { "x-admin-key": fs.readFileSync(path.join(shop.dir, "operator.key"), "utf8").trim(), "idempotency-key": "once" },
            body: JSON.stringify({ reason: "asked for it" }),
          });
        await diesAt(shop, point, () => refund().catch(() => undefined));
        await until("revoked", () => licenses(shop)[0].status === "revoked", kLeases);
        await until("its end", () => shop.rows("SELECT state FROM refund")[0].state === "succeeded", kLeases);
        assert.ok((await refund()).ok);
        await settled(shop);
        await until("refused", async () => (await shop.get("/v1/a", license)).status === 401);
        const { data } = await shop.api("GET", "/v1/refunds", { payment_intent });
        assert.deepEqual(data.map((one) => one.amount), [2900]);
        assert.deepEqual(shop.rows("SELECT state FROM command").map((one) => one.state), ["done"]);
        const verbs = shop.rows("SELECT verb FROM audit ORDER BY seq").map((one) => one.verb);
        assert.equal(verbs.filter((verb) => verb === "license.refund").length, 1);
        assert.equal(verbs.filter((verb) => verb === "license.refund.done").length, 1);
      }, '[console]\noperator_key = "file:operator.key"'));
  }
});
