// Our books and Stripe's, made to differ in every way that happens, and `pontage reconcile`: what it heals, what it
// only tells, and what it must not touch.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { pause, startHouse } from "../rig/src/house.mjs";
import { until } from "../rig/src/shop.mjs";
import { onTerminal } from "../rig/src/terminal.mjs";

const found = (report, kind) => report.loops.flatMap((one) => one.found).filter((one) => one.class === kind);

describe("beside a running server", () => {
  let shop;
  before(async () => {
    shop = await startHouse();
    await shop.start();
  });
  after(() => shop?.end());

  // Twice: what was found is healed, and then there is nothing to find.
  async function heals(kind, count = 1) {
    const first = await shop.reconcile();
    assert.equal(first.complete, true);
    assert.equal(found(first, kind).length, count, JSON.stringify(first, null, 1));
    assert.equal(first.healed, first.drift);
    const second = await shop.reconcile();
    assert.deepEqual([second.complete, second.drift, second.waiting], [true, 0, 0], JSON.stringify(second, null, 1));
    return first;
  }

  test("billing 15: with nothing amiss there is no drift", async () => {
    await shop.buy("pro", "ann@example.com");
    await shop.licenseOf("ann@example.com");
    await shop.settled();
    const report = await shop.reconcile();
    assert.deepEqual([report.drift, report.prices], [0, []], JSON.stringify(report, null, 1));
    assert.deepEqual(report.loops.map((one) => one.loop), ["events", "rows", "walk"]);
    assert.ok(Object.values(report.classes).every((count) => count === 0));
  });

  test("billing 15: events that no delivery brought are taken in, and their license is made and mailed", async () => {
    await shop.settled();
    await shop.action("faults", { drop: "1000" });
    for (const plan of ["pro", "week"]) await shop.buy(plan, `${plan}@dropped.example`);
    await shop.action("faults", { drop: "0" });
    await pause(1_500);
    assert.equal(shop.licensesOf("pro@dropped.example").length, 0);
    const first = await shop.reconcile();
    assert.ok(first.classes.event_missed > 2, JSON.stringify(first, null, 1));
    assert.equal(first.healed, first.drift);
    for (const plan of ["pro", "week"]) {
      const [license, ...more] = shop.licensesOf(`${plan}@dropped.example`);
      assert.equal(license.status, "active");
      assert.equal(more.length, 0);
      await until("the mail", async () => (await shop.mailsTo(`${plan}@dropped.example`)).length === 1);
    }
    assert.equal((await shop.reconcile()).drift, 0);
    // Delivered after all: nothing happens twice.
    const { data } = await shop.api("GET", "/v1/events", { delivery_success: "false", limit: "100" });
    for (const one of data) await shop.action(`events/${one.id}/redeliver`);
    await shop.settled();
    assert.equal(shop.licensesOf("pro@dropped.example").length, 1);
    assert.equal((await shop.mailsTo("pro@dropped.example")).length, 1);
  });

  test("billing 15: a license row that is gone is made again", async () => {
    await shop.buy("pro", "bob@example.com");
    await shop.buy("week", "bea@example.com");
    for (const email of ["bob@example.com", "bea@example.com"]) await shop.licenseOf(email);
    await shop.settled();
    shop.sql("DELETE FROM license WHERE email IN ('bob@example.com', 'bea@example.com')");
    await heals("license_missing", 2);
    assert.equal(shop.licensesOf("bob@example.com")[0].status, "active");
    assert.equal(shop.licensesOf("bea@example.com")[0].status, "active");
  });

  test("billing 15: subscriptions and sales that we do not know are taken in", async () => {
    await shop.deaf(true);
    const sub = await shop.buy("pro", "cy@example.com");
    const sale = await shop.buy("week", "cleo@example.com");
    await shop.deaf(false);
    const first = await heals("purchase_unknown", 2);
    assert.deepEqual(found(first, "purchase_unknown").map((one) => one.what).sort(), [sale.session, sub.subscription].sort());
    for (const email of ["cy@example.com", "cleo@example.com"]) {
      assert.equal(shop.licensesOf(email).length, 1);
      await until("the mail", async () => (await shop.mailsTo(email)).length === 1);
    }
  });

  test("billing 15: a license without its purchase keeps its text, and the purchase comes back", async () => {
    const { subscription, session } = await shop.buy("pro", "dee@example.com");
    const { license } = await shop.success(session);
    await shop.settled();
    shop.sql("DELETE FROM purchase WHERE id = ?", subscription);
    const id = shop.licensesOf("dee@example.com")[0].id;
    await heals("license_orphan");
    assert.equal(shop.licensesOf("dee@example.com")[0].id, id);
    assert.equal((await shop.get("/v1/a", license)).status, 200);
  });

  test("billing 15: a license that nobody was sent is sent", async () => {
    await shop.buy("pro", "eve@example.com");
    const { id } = await shop.licenseOf("eve@example.com");
    await until("the mail", async () => (await shop.mailsTo("eve@example.com")).length === 1);
    await shop.settled();
    shop.sql("DELETE FROM mail_outbox WHERE license = ?", id);
    const outbox = () => shop.sql("SELECT state FROM mail_outbox WHERE license = ?", id).map((one) => one.state);
    assert.deepEqual(outbox(), []);
    const first = await heals("license_unmailed");
    assert.equal(found(first, "license_unmailed")[0].what, id);
    await until("the mail to leave", () => outbox().join() === "sent");
    // The provider knows it by its key, and has sent it before.
    assert.equal((await shop.mailsTo("eve@example.com")).length, 1);
  });

  test("billing 15: a refund and a dispute that nobody told of are mirrored", async () => {
    const refunded = await shop.buy("pro", "fay@example.com");
    const disputed = await shop.buy("pro", "gus@example.com");
    const forgotten = await shop.buy("pro", "ivo@example.com");
    for (const email of ["fay@example.com", "gus@example.com", "ivo@example.com"]) await shop.licenseOf(email);
    await shop.settled();
    // As books are that were lost, and made anew when the next invoice was paid.
    shop.sql("DELETE FROM purchase_payment WHERE purchase = ?", forgotten.subscription);
    await shop.deaf(true);
    const { data } = await shop.api("GET", "/v1/invoices", { subscription: refunded.subscription });
    const payments = await shop.api("GET", "/v1/invoice_payments", { invoice: data[0].id });
    await shop.api("POST", "/v1/refunds", { payment_intent: payments.data[0].payment.payment_intent });
    for (const one of [disputed, forgotten]) await shop.action("dispute", { subscription: one.subscription });
    await shop.deaf(false);
    const first = await heals("refund_missed");
    assert.equal(found(first, "refund_missed")[0].what, refunded.subscription);
    assert.deepEqual(found(first, "purchase_stale").map((one) => one.what).sort(), [disputed.subscription, forgotten.subscription].sort());
    assert.equal(shop.licensesOf("ivo@example.com")[0].status, "suspended");
    assert.equal(shop.licensesOf("fay@example.com")[0].status, "revoked");
    assert.equal(shop.licensesOf("gus@example.com")[0].status, "suspended");
  });

  test("billing 15: what Stripe does not know is told and left alone", async () => {
    const { subscription } = await shop.buy("pro", "hal@example.com");
    await shop.licenseOf("hal@example.com");
    await shop.settled();
    shop.sql("UPDATE purchase SET id = 'sub_gone' WHERE id = ?", subscription);
    shop.sql("UPDATE license SET subscription = 'sub_gone', origin = 'sub:sub_gone:si_1' WHERE subscription = ?", subscription);
    await shop.reconcile();
    const report = await shop.reconcile();
    assert.deepEqual(found(report, "purchase_not_at_stripe").map((one) => [one.what, one.healed]), [["sub_gone", false]]);
    assert.deepEqual([report.drift, report.healed], [1, 0], "told each time, healed never");
    const statuses = shop.licensesOf("hal@example.com").map((one) => one.status);
    assert.deepEqual(statuses, ["active", "active"], "the one that is lost, and the one that is right");
    // Twice in a row: the alarm.
    await until("the alarm", async () => (await shop.metric('pontage_reconcile_alarm{loop="walk"}'))['pontage_reconcile_alarm{loop="walk"}'] === 1, 20_000);
    shop.sql("DELETE FROM purchase WHERE id = 'sub_gone'");
    shop.sql("DELETE FROM license WHERE subscription = 'sub_gone'");
    assert.equal((await shop.reconcile()).drift, 0);
    await until("its end", async () => (await shop.metric('pontage_reconcile_alarm{loop="walk"}'))['pontage_reconcile_alarm{loop="walk"}'] === 0, 20_000);
  });

  test("billing 15: while Stripe does not answer nothing changes, and the command says so", async () => {
    await shop.settled();
    shop.sql("UPDATE purchase SET fetched_ms = 1, period_end_ms = 1"); // All of them are to be looked at.
    const books = () => JSON.stringify([shop.sql("SELECT id, status, expires_ms FROM license ORDER BY id"), shop.sql("SELECT id, status FROM purchase ORDER BY id")]);
    const before = books();
    for (const status of ["500", "503", "429"]) {
      await shop.action("faults", { fail_next: Array(60).fill(status).join(",") });
      const done = await shop.pontage(["reconcile"]);
      assert.equal(done.code, 3, status + done.stdout + done.stderr);
      const report = JSON.parse(done.stdout);
      assert.equal(report.complete, false);
      assert.ok(report.fault && done.stderr.includes(report.fault));
      assert.equal(books(), before, status);
    }
    await shop.action("faults", { fail_next: "" });
    const away = await shop.pontage(["reconcile"], { STRIPE_SECRET_KEY: "wrong" });
    assert.equal(away.code, 4, "the key is refused");
    assert.equal(books(), before);
    const back = await shop.reconcile();
    assert.equal(back.complete, true);
    assert.ok(back.loops[1].looked_at > 5);
    assert.equal((await shop.reconcile()).drift, 0);
  });

  test("prints a table on a terminal", async () => {
    const { text, code } = await onTerminal(["reconcile"], { cwd: shop.dir, env: shop.env });
    assert.equal(code, 0);
    assert.match(text, /^LOOP +LOOKED AT +DRIFT +HEALED/m);
    assert.match(text, /^walk +\d+ +0 +0/m);
  });
});

describe("alone", () => {
  let shop;
  before(async () => {
    shop = await startHouse({
      sections: '[console]\noperator_key = "file:operator.key"\n',
      plans: {
        pro: { price: "$29/month", form: { unit_amount: "2900", "recurring[interval]": "month" } },
        week: { price: "$9", more: "days = 7", form: { unit_amount: "1100" } },
        gone: { price: "$5/month", form: { unit_amount: "500", "recurring[interval]": "month", lookup_key: "other" } },
      },
    });
  });
  after(() => shop?.end());

  test("billing 15: works on an empty store, at ten questions a second at most", async () => {
    const buyers = Array.from({ length: 6 }, (_, i) => `alone${i}@example.com`);
    for (const email of buyers) await shop.buy("pro", email);
    await shop.action("faults", { rate_limit: "11" });
    const report = await shop.reconcile();
    await shop.action("faults", { rate_limit: "0" });
    assert.equal(report.complete, true);
    for (const email of buyers) assert.equal(shop.licensesOf(email).length, 1, email);
    assert.equal((await shop.reconcile()).drift, 0);
  });

  test("doctor says whether Stripe answers, what costs something else there, and what nobody can see", async () => {
    const doctor = async (env) => {
      const { checks } = JSON.parse((await shop.pontage(["doctor"], env)).stdout);
      return (what) => checks.find((one) => one.what === what);
    };
    const good = await doctor();
    assert.equal(good("stripe").level, "ok");
    assert.equal(good("mail").level, "ok");
    assert.equal(good("price of week").level, "warn");
    assert.equal(good("price of week").detail, "$9 here, $11 at Stripe");
    assert.equal(good("price of pro"), undefined);
    assert.deepEqual([good("webhook endpoint").level, good("webhook endpoint").detail.includes("2026-10-28.endive")], ["ok", true]);
    assert.match(good("receipts").advice, /Customer emails/);
    await shop.api("POST", `/v1/webhook_endpoints/${shop.hook.id}`, { disabled: "true", "enabled_events[0]": "invoice.paid" });
    assert.match((await doctor())("webhook endpoint").detail, /is disabled at Stripe, does not listen to \d+ events/);
    await shop.api("POST", `/v1/webhook_endpoints/${shop.hook.id}`, { disabled: "false", "enabled_events[0]": "*" });
    assert.equal((await doctor({ STRIPE_SECRET_KEY: "wrong" }))("stripe").level, "fail");
  });

  test("names prices that differ, with both amounts, and so does the start", async () => {
    const want = [
      { plan: "gone", ours: "$5/month", stripe: "none" },
      { plan: "week", ours: "$9", stripe: "$11" },
    ];
    const { prices, drift } = await shop.reconcile();
    assert.deepEqual(prices, want);
    assert.equal(drift, 0);
    await shop.start();
    const told = await until("both told", () => {
      const lines = shop.server.events("sales.price_differs");
      return lines.length === 2 ? lines : undefined;
    });
    assert.deepEqual(told.map(({ level, plan, ours, stripe }) => ({ level, plan, ours, stripe })), want.map((one) => ({ level: "warn", ...one })));
    assert.deepEqual(await shop.metric("pontage_prices_differ"), { pontage_prices_differ: 2 });
    // The operator's page has the last report.
    const key = fs.readFileSync(path.join(shop.dir, "operator.key"), "utf8").trim();
    const { data, ...one } = await (await fetch(`${shop.url}/admin/v1/drift`, { headers: { "x-admin-key": key } })).json();
    const { report, at } = data ?? one;
    assert.ok(Date.parse(at) > 0);
    assert.deepEqual([report.prices, report.loops.map((loop) => loop.loop)], [want, ["events", "rows", "walk"]]);
    assert.ok(report.recent.some((drift) => drift.class === "purchase_unknown" && drift.healed), "what was found before");
    await shop.stop();
  });

  test("a start while Stripe is away is a start, and prices are told when it is back", async () => {
    await shop.action("faults", { fail_next: Array(12).fill("503").join(",") });
    await shop.start();
    assert.equal((await shop.get("/v1/a")).status, 402);
    await until("the warning", () => shop.server.events("sales.prices_unknown").length > 0, 20_000);
    await shop.action("faults", { fail_next: "" });
    await shop.stop();
  });

  test("billing 15: a comparison that a stop breaks off is made at the next start, not when its lease has run out", async () => {
    // The prices and the events: both are asked for at the start.
    await shop.action("faults", { hang: "2" });
    await shop.start();
    await until("both wait for an answer", async () => (await shop.api("GET", "/_test/faults")).hang === 0);
    assert.equal(shop.rows("SELECT lease FROM reconcile_loop WHERE loop = 'events' AND lease_until_ms > 0")[0].lease.startsWith("rec_"), true);
    await shop.stop();
    await shop.start();
    await until("it is made", () => shop.server.events("sales.reconciled").some((one) => one.loop === "events"), 5_000);
    await shop.stop();
  });

  test("billing 15: a server that was away asks at its start for what it missed", async () => {
    await shop.action("faults", { drop: "1000" });
    await shop.buy("pro", "late@example.com");
    await shop.action("faults", { drop: "0" });
    await shop.start();
    const { status } = await shop.licenseOf("late@example.com", 20_000);
    assert.equal(status, "active");
    await until("the log", () => shop.server.events("sales.reconciled").some((one) => one.loop === "events" && one.drift > 0));
    assert.ok(shop.server.events("sales.drift").every((one) => one.class === "event_missed" && one.healed));
    assert.equal((await shop.reconcile()).drift, 0);
  });
});

describe("what a person should look at", () => {
  let shop;
  before(async () => {
    shop = await startHouse();
    await shop.start();
  });
  after(() => shop?.end());
  const alarms = async (kind) => Object.values(await shop.metric(`pontage_sales_alarms_total{kind="${kind}"}`))[0] ?? 0;

  test("a subscription whose price belongs to no plan opens nothing and raises an alarm", async () => {
    const product = await shop.api("POST", "/v1/products", { name: "other" });
    const price = await shop.api("POST", "/v1/prices", { product: product.id, currency: "usd", unit_amount: "100", "recurring[interval]": "month" });
    const { subscription } = await shop.pay((await shop.session(price.id, "ivy@example.com")).url);
    await until("the alarm", async () => (await alarms("no_plan")) > 0);
    assert.ok(shop.server.events("sales.alarm").some((one) => one.purchase === subscription && one.kind === "no_plan"));
    await shop.settled();
    assert.equal(shop.licensesOf("ivy@example.com").length, 0);
    assert.equal((await shop.reconcile()).drift, 0);
    assert.equal(shop.licensesOf("ivy@example.com").length, 0);
  });

  test("billing 16: two parallel first checkouts are one customer, two paid subscriptions of his raise an alarm", async () => {
    const urls = await Promise.all([shop.checkout("pro", "jo@example.com"), shop.checkout("pro", "jo@example.com")]);
    const { data } = await shop.api("GET", "/v1/customers", { email: "jo@example.com" });
    assert.equal(data.length, 1);
    const first = await shop.pay(urls[0]);
    await shop.licenseOf("jo@example.com");
    await shop.settled();
    assert.equal(await alarms("duplicate"), 0);
    const second = await shop.pay(urls[1]);
    await until("the alarm", async () => (await alarms("duplicate")) > 0);
    const told = shop.server.events("sales.alarm").find((one) => one.kind === "duplicate");
    assert.ok([first.subscription, second.subscription].includes(told.purchase));
    await shop.settled();
    assert.equal(shop.licensesOf("jo@example.com").length, 2, "both were paid for");
  });
});

describe("thin events", () => {
  let shop;
  before(async () => {
    shop = await startHouse();
    await shop.start();
  });
  after(() => shop?.end());
  const stored = () => shop.sql("SELECT id, type FROM stripe_event");

  test("billing 11: thin and snapshot twins of one change have one effect", async () => {
    await shop.action("faults", { thin: "both", shuffle: "5" });
    await shop.buy("pro", "kim@example.com");
    await shop.licenseOf("kim@example.com");
    await shop.settled();
    await pause(1_000);
    assert.equal(shop.licensesOf("kim@example.com").length, 1);
    assert.equal((await shop.mailsTo("kim@example.com")).length, 1);
    const ids = stored().map((one) => one.id);
    assert.equal(new Set(ids).size, ids.length);
    assert.ok(ids.every((id) => !id.startsWith("evt_thin")), "each change stands once, under its snapshot's name");
    const { events } = await shop.api("GET", "/_test/state");
    const beforeUs = 2 * Object.keys(shop.prices).length; // a product and a price for each plan
    assert.equal(ids.length, events - beforeUs);
  });

  test("billing 11: thin events alone do all that snapshots do", async () => {
    await shop.action("faults", { thin: "1", shuffle: "" });
    const bought = await shop.buy("pro", "lou@example.com");
    await shop.licenseOf("lou@example.com");
    const sale = await shop.buy("week", "mia@example.com");
    await shop.licenseOf("mia@example.com");
    await shop.settled();
    const { payment_intent } = await shop.api("GET", `/v1/checkout/sessions/${sale.session}`);
    await shop.api("POST", "/v1/refunds", { payment_intent });
    await until("the refund", () => shop.licensesOf("mia@example.com")[0].status === "revoked");
    const dispute = await shop.action("dispute", { subscription: bought.subscription });
    await until("the dispute", () => shop.licensesOf("lou@example.com")[0].status === "suspended");
    await shop.action("dispute", { dispute: dispute.id, close: "won" });
    await until("the end of the dispute", () => shop.licensesOf("lou@example.com")[0].status === "active");
    await shop.action("card", { subscription: bought.subscription, card: "decline" });
    await shop.action("advance", { seconds: String(32 * 86_400) });
    await until("past due", () => shop.licensesOf("lou@example.com")[0].status === "past_due", 20_000);
    await shop.settled();
    await until("the mail about it", async () => (await shop.mailsTo("lou@example.com")).length >= 2);
    const about = shop.sql("SELECT dedup_key FROM mail_outbox WHERE kind = 'payment_failed'");
    assert.equal(new Set(about.map((one) => one.dedup_key)).size, about.length);
    assert.ok(about.length > 0);
    assert.ok(shop.sql("SELECT payload FROM stripe_event").every((one) => one.payload === "" || JSON.parse(one.payload).object === "v2.core.event" || one.payload.includes('"object":"event"')));
  });
});
