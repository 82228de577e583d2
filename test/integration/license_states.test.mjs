// What becomes of a subscription at Stripe, and of its license here: renewals, pauses, refunds, disputes.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startHouse } from "../rig/src/house.mjs";
import { until } from "../rig/src/shop.mjs";

const kDay = 86_400;

async function codeOf(shop, license) {
  const answer = await shop.get("/v1/a", license);
  return answer.status === 200 ? "open" : (await answer.json()).code;
}
const becomes = (shop, license, code) => until(code, async () => (await codeOf(shop, license)) === code);
const rowOf = (shop, id) => shop.sql("SELECT * FROM license WHERE id = ?", id)[0];
// A subscription with its license: {license, id, subscription, session, email}.
async function subscriber(shop, email, plan = "pro") {
  const bought = await shop.buy(plan, email);
  const { license } = await shop.success(bought.session);
  return { ...bought, license, email, id: shop.licensesOf(email)[0].id };
}
const paymentOf = async (shop, subscription) => {
  const { data } = await shop.api("GET", "/v1/invoices", { subscription, status: "paid" });
  const payments = await shop.api("GET", "/v1/invoice_payments", { invoice: data[0].id });
  return payments.data[0].payment.payment_intent;
};

describe("while a period runs", () => {
  let shop;
  before(async () => {
    shop = await startHouse();
    await shop.start();
  });
  after(() => shop?.end());

  test("billing 13: unpaid and paused suspend, resumed restores, canceled is over", async () => {
    const unpaid = await subscriber(shop, "una@example.com");
    await shop.action("mark_unpaid", { subscription: unpaid.subscription });
    await becomes(shop, unpaid.license, "license_suspended");
    const paused = await subscriber(shop, "pia@example.com");
    await shop.action("pause", { subscription: paused.subscription });
    await becomes(shop, paused.license, "license_suspended");
    await shop.action("resume", { subscription: paused.subscription });
    await becomes(shop, paused.license, "open");
    await shop.api("DELETE", `/v1/subscriptions/${paused.subscription}`);
    await becomes(shop, paused.license, "license_expired");
  });

  test("billing 14: a part of the money back changes nothing, all of it revokes", async () => {
    const one = await subscriber(shop, "ray@example.com");
    const payment_intent = await paymentOf(shop, one.subscription);
    await shop.api("POST", "/v1/refunds", { payment_intent, amount: "1000" });
    await shop.settled();
    assert.equal(await codeOf(shop, one.license), "open");
    await shop.api("POST", "/v1/refunds", { payment_intent });
    await becomes(shop, one.license, "license_revoked");
    assert.equal(rowOf(shop, one.id).revoked_by, "payment");
  });

  test("billing 14: a dispute suspends, won restores, lost stays shut", async () => {
    const one = await subscriber(shop, "dot@example.com");
    const first = await shop.action("dispute", { subscription: one.subscription });
    await becomes(shop, one.license, "license_suspended");
    await shop.action("dispute", { dispute: first.id, close: "won" });
    await becomes(shop, one.license, "open");
    const other = await subscriber(shop, "lot@example.com");
    const second = await shop.action("dispute", { subscription: other.subscription });
    await becomes(shop, other.license, "license_suspended");
    await shop.action("dispute", { dispute: second.id, close: "lost" });
    await shop.settled();
    assert.equal(await codeOf(shop, other.license), "license_suspended");
    assert.equal((await shop.reconcile()).drift, 0);
  });
});

describe("at the end of a period", () => {
  let shop;
  before(async () => {
    shop = await startHouse();
    await shop.start();
  });
  after(() => shop?.end());

  test("billing 13: a paid renewal extends the same text, a failed one extends nothing and is one mail", async () => {
    const good = await subscriber(shop, "gil@example.com");
    const bad = await subscriber(shop, "bo@example.com");
    const was = { good: rowOf(shop, good.id), bad: rowOf(shop, bad.id) };
    await shop.action("card", { subscription: bad.subscription, card: "decline" });
    // Into the draft's hour: the period has moved on, and nobody has paid.
    const { items } = await shop.api("GET", `/v1/subscriptions/${bad.subscription}`);
    const end = items.data[0].current_period_end;
    const { now } = await shop.api("GET", "/_test/state");
    await shop.action("advance", { seconds: String(end - now + 60) });
    await shop.settled();
    const moved = await shop.api("GET", `/v1/subscriptions/${bad.subscription}`);
    assert.ok(moved.items.data[0].current_period_end > end, "the period has moved on");
    assert.equal(moved.status, "active");
    for (const [who, name] of [[good, "good"], [bad, "bad"]]) {
      assert.equal(rowOf(shop, who.id).expires_ms, was[name].expires_ms, `${name}: a draft is no payment`);
    }
    await shop.action("advance", { seconds: "7200" });
    await until("the renewal", () => rowOf(shop, good.id).expires_ms > was.good.expires_ms);
    await until("past due", () => rowOf(shop, bad.id).status === "past_due");
    await shop.settled();
    assert.equal(rowOf(shop, bad.id).expires_ms, was.bad.expires_ms, "no free day");
    assert.equal(rowOf(shop, good.id).generation, was.good.generation);
    assert.equal(await codeOf(shop, good.license), "open");
    assert.equal(await codeOf(shop, bad.license), "open", "until what was paid for and the grace are over");
    const about = () => shop.sql("SELECT id FROM mail_outbox WHERE license = ? AND kind = 'payment_failed'", bad.id).length;
    assert.equal(about(), 1);
    assert.equal((await shop.reconcile()).drift, 0);
    assert.equal(about(), 1);
  });

  test("billing 15: renewals that nobody told of are found by looking at what is due", async () => {
    const one = await subscriber(shop, "ned@example.com");
    await shop.settled();
    const was = rowOf(shop, one.id);
    await shop.deaf(true);
    await shop.action("advance", { seconds: String(33 * kDay) });
    await shop.deaf(false);
    // Our clock is not the double's: what we last saw is made to lie in the past.
    shop.sql("UPDATE purchase SET period_end_ms = 1, fetched_ms = 1 WHERE id = ?", one.subscription);
    const report = await shop.reconcile();
    const stale = report.loops.find((loop) => loop.loop === "rows").found;
    assert.deepEqual(stale.filter((drift) => drift.what === one.subscription).map((drift) => [drift.class, drift.healed]), [["purchase_stale", true]]);
    assert.ok(rowOf(shop, one.id).expires_ms > was.expires_ms);
    assert.equal((await shop.reconcile()).drift, 0);
  });
});

describe("an event that nobody can read", () => {
  let shop;
  before(async () => {
    shop = await startHouse();
    await shop.start();
  });
  after(() => shop?.end());
  test("billing 10: a payload that names its subscription in neither place raises an alarm, and is not lost", async () => {
    const odd = JSON.stringify({
      id: "evt_odd",
      object: "event",
      api_version: "2020-08-27",
      created: Math.floor(Date.now() / 1000),
      livemode: false,
      type: "invoice.paid",
      data: { object: { id: "in_odd", object: "invoice" } },
    });
    const answer = await shop.deliver(odd);
    assert.equal(answer.status, 200, "written down before it is understood");
    const told = await until("the alarm", () => shop.server.events("sales.event_failed").find((line) => line.stripe_event === "evt_odd"));
    assert.match(told.detail, /neither at parent.subscription_details nor at subscription/);
    const failed = await shop.metric("pontage_stripe_events_failed_total");
    assert.ok(failed.pontage_stripe_events_failed_total > 0);
    assert.equal(shop.sql("SELECT state FROM stripe_event WHERE id = 'evt_odd'")[0].state, "new", "and tried again");
  });
});
