// What Stripe's deliveries may be: late, twins, at once, while nothing can be written, and nonsense; and what a
// failed renewal may give: nothing. The numbers are those of the checklist in docs/internals/testing.md.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import Stripe from "stripe";
import { event, kPlans, openShop, sign, until } from "../rig/src/shop.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

let upstream, sandbox, shop;
before(async () => {
  upstream = await startUpstream();
  sandbox = await startSandbox();
  shop = await openShop({ sandbox, upstream: upstream.url });
  await shop.start();
});
after(async () => {
  await shop?.close();
  await sandbox?.stop();
  await upstream?.stop();
});

const rowOf = (id) => shop.rows("SELECT state, attempts, last_error FROM stripe_event WHERE id = ?", id)[0];
const idOf = (body) => JSON.parse(body).id;
const licensesOf = (subscription) => shop.rows("SELECT id, status, expires_ms FROM license WHERE subscription = ?", subscription);
const ended = (body) => until("its end", () => rowOf(idOf(body))?.state === "done", 70_000);
// Events of Stripe's own about an object, as they were sent, newest first.
const eventsOf = async (type, id) => (await shop.api("GET", "/v1/events", { type, limit: "100" })).data.filter((one) => one.data.object.id === id);
const again = async (one, change = {}) => {
  const body = event(one.type, { ...one.data.object, ...change });
  assert.equal((await shop.deliver(body)).status, 200);
  await ended(body);
};

describe("billing 3: what Stripe's own client signs", () => {
  test("is believed: a hundred bodies, with letters, lines and escapes of all kinds", async () => {
    const stripe = new Stripe("sk_test_x");
    const letters = ["a", "ü", "€", "🙂", "\r\n", "\u0000", "\u2028", "\\", '"', "\t", " ", "+", "%0a", "."];
    for (let i = 0; i < 100; ++i) {
      const text = Array.from({ length: i }, () => letters[Math.floor(Math.random() * letters.length)]).join("");
      const payload = event("some.future.type", { id: "x", object: "thing", text, [`k${i}`]: i }) + (i % 2 ? "\r\n" : "");
      const header = stripe.webhooks.generateTestHeaderString({ payload, secret: shop.secret });
      assert.equal((await shop.deliver(payload, header)).status, 200, payload);
      assert.equal((await shop.deliver(`${payload} `, header)).status, 400);
    }
  });
});

describe("billing 6: what comes late changes nothing", () => {
  test("created (incomplete) behind updated (active) leaves active", async () => {
    const { license, session } = await shop.buy("pro", "ann@example.com");
    const subscription = await shop.subscriptionOf(session);
    const [created] = await eventsOf("customer.subscription.created", subscription);
    await again(created, { status: "incomplete" });
    assert.deepEqual(licensesOf(subscription).map((one) => one.status), ["active"]);
    assert.equal((await shop.get("/v1/a", license)).status, 200);
  });
  test("created, days after deleted, leaves canceled", async () => {
    const { license, session } = await shop.buy("pro", "bob@example.com");
    const subscription = await shop.subscriptionOf(session);
    await shop.api("DELETE", `/v1/subscriptions/${subscription}`);
    await until("ended", async () => (await shop.get("/v1/a", license)).status === 401);
    const [created] = await eventsOf("customer.subscription.created", subscription);
    await again(created, { status: "active" });
    assert.deepEqual(licensesOf(subscription).map((one) => one.status), ["expired"]);
    assert.equal((await shop.get("/v1/a", license)).status, 401);
  });
});

describe("billing 8: one event from 32 clients at once", () => {
  test("has one effect, and all hear 200", async () => {
    // Nobody but these clients tells of the purchase.
    await shop.action("faults", { drop: "1000" });
    const session = await shop.press(await shop.checkout("pro", "cy@example.com"));
    const subscription = await shop.subscriptionOf(session);
    const [updated] = await eventsOf("customer.subscription.updated", subscription);
    await shop.action("faults", { reset: "true" });
    const body = JSON.stringify(updated);
    const answers = await Promise.all(Array.from({ length: 32 }, () => shop.deliver(body)));
    assert.deepEqual([...new Set(answers.map((one) => one.status))], [200]);
    await until("done", () => rowOf(updated.id)?.state === "done");
    assert.equal(rowOf(updated.id).attempts, 1);
    assert.equal(licensesOf(subscription).length, 1);
    await until("the mail", async () => (await shop.mailsTo("cy@example.com")).length > 0);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assert.equal((await shop.mailsTo("cy@example.com")).length, 1);
  });
});

describe("billing 9: when something of ours or of Stripe's is not there", () => {
  test("an event that cannot be written is 503, not acknowledged, and takes effect when Stripe comes again", async () => {
    const page = await shop.checkout("pro", "dee@example.com");
    const body = event("some.future.type");
    let session;
    const release = await shop.hold("stripe_event");
    try {
      const refused = await shop.deliver(body);
      assert.equal(refused.status, 503, await refused.clone().text());
      assert.ok(Number(refused.headers.get("retry-after")) > 0);
      session = await shop.press(page);
      await new Promise((resolve) => setTimeout(resolve, 3_000));
    } finally {
      await release();
    }
    assert.equal(rowOf(idOf(body)), undefined, "nothing was acknowledged, nothing is there");
    const subscription = await shop.subscriptionOf(session);
    await until("Stripe came again", () => licensesOf(subscription).length === 1, 30_000);
    assert.equal((await shop.deliver(body)).status, 200);
    assert.ok(rowOf(idOf(body)));
  });
  test("what was acknowledged and then fails is tried again by us, and not by Stripe", async () => {
    // Nobody else is to meet the fault.
    await until("all is quiet", async () => {
      const { deliveries_waiting } = await (await fetch(`${sandbox.stripe}/_test/state`)).json();
      return deliveries_waiting === 0 && shop.rows("SELECT count(*) AS n FROM stripe_event WHERE state = 'new'")[0].n === 0;
    }, 70_000);
    await shop.action("faults", { drop: "1000" });
    const session = await shop.press(await shop.checkout("pro", "eve@example.com"));
    const subscription = await shop.subscriptionOf(session);
    const [updated] = await eventsOf("customer.subscription.updated", subscription);
    // Not to be tried again by whoever asked, so that the event has failed.
    await shop.action("faults", { reset: "true", fail_next: "404" });
    assert.equal((await shop.deliver(JSON.stringify(updated))).status, 200);
    await until("a try that failed", () => rowOf(updated.id)?.last_error);
    assert.equal(licensesOf(subscription).length, 0);
    await until("done", () => rowOf(updated.id)?.state === "done", 60_000);
    assert.ok(rowOf(updated.id).attempts > 1);
    assert.equal(licensesOf(subscription).length, 1);
  });
});

describe("billing 16: two first checkouts at once", () => {
  test("make one customer at Stripe; who then pays for both is told of", async () => {
    const pages = await Promise.all(Array.from({ length: 6 }, () => shop.checkout("pro", "fay@example.com")));
    assert.equal(new Set(pages).size, pages.length);
    assert.equal((await shop.api("GET", "/v1/customers", { email: "fay@example.com" })).data.length, 1);
    for (const page of pages.slice(0, 2)) {
      const session = await shop.press(page);
      await until("the license", () => shop.bought(session));
    }
    await until("an alarm", () => shop.server.events("sales.alarm").some((one) => /twice/.test(one.detail)));
  });
});

describe("what is no event of Stripe's", () => {
  const deliver = async (body, header) => (await shop.deliver(body, header)).status;
  const now = () => Math.floor(Date.now() / 1000);

  test("replayed or from the future is refused, in the same words", async () => {
    const body = event("invoice.paid", { id: "in_old", object: "invoice" });
    for (const at of [now() - 301, now() - 86_400, now() + 90, now() + 86_400, 0]) {
      assert.equal(await deliver(body, sign(body, shop.secret, at)), 400, `${at - now()}`);
    }
    assert.equal(rowOf(idOf(body)), undefined);
    // Within the five minutes a delivery may be repeated: it is the same event.
    const header = sign(body, shop.secret, now() - 200);
    assert.deepEqual([await deliver(body, header), await deliver(body, header)], [200, 200]);
    assert.equal(shop.rows("SELECT count(*) AS n FROM stripe_event WHERE id = ?", idOf(body))[0].n, 1);
  });

  test("garbage is refused, and what is no event", async () => {
    for (const body of ["", " ", "x", "{", "[]", "null", "7", '"event"', "{}", '{"object":"event"}', '{"object":"event","id":"","type":"a","created":1,"data":{"object":{}}}',
      '{"object":"event","id":"evt_1","id":"evt_2","type":"a","created":1,"data":{"object":{}}}', event("a", []), event("a", "sub_1"), event("a\u0000b"), event(7), `${"[".repeat(100)}`]) {
      assert.equal(await deliver(body), 400, body.slice(0, 80));
    }
  });

  test("an id and a type are an event; one that matters and does not say what it is about is not lost", async () => {
    const id = () => `evt_small${Math.random().toString(16).slice(2)}`;
    for (const body of [event("a", null), JSON.stringify({ id: id(), object: "event", type: "foo.bar", data: {} })]) {
      assert.equal(await deliver(body), 200, body);
      assert.equal(rowOf(idOf(body)).state, "ignored");
    }
    const small = JSON.stringify({ id: id(), object: "event", type: "invoice.paid" });
    assert.equal(await deliver(small), 200);
    await until("a try that failed", () => rowOf(idOf(small)).last_error);
    assert.match(rowOf(idOf(small)).last_error, /does not say what it is about/);
  });

  test("ten megabytes are refused at once", async () => {
    const body = event("invoice.paid", { id: "in_big", object: "invoice", pad: "x".repeat(10 << 20) });
    assert.equal(await deliver(body), 413);
    assert.equal(rowOf(idOf(body)), undefined);
    assert.equal(await deliver(event("x.y")), 200, "and the next one is heard");
  });

  test("an unknown type is kept and means nothing", async () => {
    const body = event("customer.subscription.teleported", { id: "sub_1", object: "subscription", status: "beamed" });
    assert.equal(await deliver(body), 200);
    assert.equal(rowOf(idOf(body)).state, "ignored");
  });

  test("a session that ran out and a warning of Radar's are kept and change nothing", async () => {
    const expired = event("checkout.session.expired", { id: "cs_1", object: "checkout.session", mode: "subscription", status: "expired" });
    const warning = event("radar.early_fraud_warning.created", { id: "issfr_1", object: "radar.early_fraud_warning", charge: "ch_1", actionable: true });
    for (const body of [expired, warning]) {
      assert.equal(await deliver(body), 200);
      assert.equal(rowOf(idOf(body)).state, "ignored");
    }
  });

  test("another version, unknown words and members do not matter: Stripe is asked", async () => {
    const { session } = await shop.buy("pro", "gus@example.com");
    const subscription = await shop.subscriptionOf(session);
    for (const api_version of ["2016-07-06", "2031-01-01.kumquat", "", null]) {
      const body = event("customer.subscription.updated", { id: subscription, object: "subscription", status: "beamed", later: { added: [1] } }, { api_version, later: true });
      assert.equal(await deliver(body), 200);
      await ended(body);
    }
    assert.deepEqual(licensesOf(subscription).map((one) => one.status), ["active"]);
    const told = shop.server.events("sales.event_version");
    assert.ok(told.some((one) => one.version === "2016-07-06"), "and the operator hears of it");
  });

  test("hostile names stay names", async () => {
    const bodies = ["sub_1/../../v1/balance", "../../../etc/passwd", "sub_1?expand[]=customer", "sub_1%2f..", "sub_\r\nX: y", "'; DROP TABLE license; --", "s".repeat(20_000), "\u202e\u0007"].flatMap((id) => [
      event("customer.subscription.updated", { id, object: "subscription" }),
      event("checkout.session.completed", { id: `cs_${id}`, object: "checkout.session" }),
      event("refund.created", { id: "re_1", object: "refund", payment_intent: id, amount: 1, status: "succeeded", currency: "usd" }),
      event("invoice.paid", { id, object: id }),
    ]);
    for (const body of bodies) assert.equal(await deliver(body), 200, body.slice(0, 200));
    await until("each was tried", () => bodies.every((body) => rowOf(idOf(body)).state === "done" || rowOf(idOf(body)).attempts > 0), 60_000);
    for (const body of bodies) assert.ok(["new", "done"].includes(rowOf(idOf(body)).state), "none is lost");
    assert.ok(shop.rows("SELECT count(*) AS n FROM license")[0].n > 0);
    await shop.buy("pro", "hal@example.com"); // the others are not held up
  });

  test("what can never be dealt with is parked for a person, and not lost", async () => {
    const body = event("invoice.paid", { id: "in_odd", object: "invoice", lines: "none" });
    assert.equal(await deliver(body), 200);
    await until("a try that failed", () => rowOf(idOf(body)).last_error);
    shop.change("UPDATE stripe_event SET attempts = 79, next_ms = 0 WHERE id = ?", idOf(body));
    await until("parked", () => rowOf(idOf(body)).state === "parked");
    const metrics = await (await fetch(`${shop.server.metricsUrl}/metrics`)).text();
    assert.match(metrics, /^pontage_stripe_events_parked [1-9]/m);
  });
});

describe("billing 11: a thin event and its snapshot twin", () => {
  test("are one event and one effect", async () => {
    await shop.action("faults", { reset: "true", thin: "both" });
    const { session } = await shop.buy("pro", "ida@example.com");
    await shop.action("faults", { reset: "true" });
    const subscription = await shop.subscriptionOf(session);
    const [created] = await eventsOf("customer.subscription.created", subscription);
    await until("done", () => rowOf(created.id)?.state === "done");
    const rows = shop.rows("SELECT id FROM stripe_event WHERE type = 'customer.subscription.created' AND object_id = ?", subscription);
    assert.equal(rows.length, 1);
    assert.equal(licensesOf(subscription).length, 1);
    await until("the mail", async () => (await shop.mailsTo("ida@example.com")).length > 0);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assert.equal((await shop.mailsTo("ida@example.com")).length, 1);
  });
  test("a thin one alone is enough", async () => {
    await shop.action("faults", { reset: "true", thin: "1" });
    const { license } = await shop.buy("pro", "jo@example.com");
    await shop.action("faults", { reset: "true" });
    assert.equal((await shop.get("/v1/a", license)).status, 200);
  });
});

describe("billing 10: payloads of Stripe's older versions", () => {
  test("mean the same", async () => {
    await shop.action("faults", { reset: "true", api_version: "2024-09-30.acacia" });
    const { license, session } = await shop.buy("pro", "kim@example.com");
    await shop.api("POST", "/v1/refunds", { payment_intent: await shop.paymentOf(session) });
    await until("revoked", async () => (await shop.get("/v1/a", license)).status === 401);
    await shop.action("faults", { reset: "true" });
    await until("no event is left", () => shop.rows("SELECT id FROM stripe_event WHERE state = 'new' AND api_version = '2024-09-30.acacia'").length === 0, 70_000);
    assert.equal(licensesOf(await shop.subscriptionOf(session)).length, 1);
  });
});

const kSmallAndLarge = `
[[product]]
name = "small"
price = "$0.001"
[[product]]
name = "large"
price = "$0.01"
[[plan]]
name = "pro"
product = ["small"]
price = "$29/month"
limits = { monthly = 5 }
[[plan]]
name = "team"
product = ["small", "large"]
price = "$99/month"
limits = { monthly = 500 }
[[route]]
match = "GET /small/*"
upstream = "api"
product = "small"
plans = ["pro", "team"]
[[route]]
match = "GET /large/*"
upstream = "api"
product = "large"
plans = ["team"]
`;
const kTwoPrices = { pro: { unit_amount: "2900", "recurring[interval]": "month" }, team: { unit_amount: "9900", "recurring[interval]": "month" } };

describe("billing 12: another plan, bought at the portal", () => {
  test("changes plan, limits and what it opens, with the same text", async () => {
    const own = await startSandbox();
    const its = await openShop({ sandbox: own, upstream: upstream.url, routes: kSmallAndLarge, plans: kTwoPrices });
    try {
      await its.start();
      const { license, session } = await its.buy("pro", "ann@example.com");
      assert.equal((await its.get("/small/a", license)).status, 200);
      assert.equal((await its.get("/large/a", license)).status, 403);
      const subscription = await its.api("GET", `/v1/subscriptions/${await its.subscriptionOf(session)}`);
      const { data } = await its.api("GET", "/v1/prices", { "lookup_keys[0]": "team" });
      await its.api("POST", `/v1/subscriptions/${subscription.id}`, { "items[0][id]": subscription.items.data[0].id, "items[0][price]": data[0].id, proration_behavior: "always_invoice" });
      // Once through the double's delivery, the worker's look and the gateway's.
      await until("the larger plan", async () => (await its.get("/large/a", license)).status === 200, 5_000);
      const [row] = its.rows("SELECT plan, monthly FROM license");
      assert.deepEqual(row, { plan: "team", monthly: 500 });
      assert.match((await its.get("/small/a", license)).headers.get("ratelimit-policy"), /q=500/);
      assert.deepEqual({ ...(await its.api("GET", `/v1/subscriptions/${subscription.id}`)).metadata }, { ...subscription.metadata });
    } finally {
      await its.close();
      await own.stop();
    }
  });
});

describe("a larger plan that is not paid for", () => {
  test("opens nothing more until it is", { timeout: 60_000 }, async () => {
    const own = await startSandbox();
    const its = await openShop({ sandbox: own, upstream: upstream.url, routes: kSmallAndLarge, plans: kTwoPrices });
    try {
      await its.start();
      const { license, session } = await its.buy("pro", "ann@example.com");
      const id = await its.subscriptionOf(session);
      await its.action("advance", { seconds: String(10 * 86_400) });
      await its.action("card", { subscription: id, card: "decline" });
      const [item] = (await its.api("GET", `/v1/subscriptions/${id}`)).items.data;
      const [team] = (await its.api("GET", "/v1/prices", { "lookup_keys[0]": "team" })).data;
      const changed = await its.api("POST", `/v1/subscriptions/${id}`, { "items[0][id]": item.id, "items[0][price]": team.id, proration_behavior: "always_invoice" });
      assert.equal(changed.status, "past_due");
      await until("heard of", () => its.rows("SELECT status FROM license")[0].status === "past_due");
      assert.equal(its.rows("SELECT plan FROM license")[0].plan, "pro");
      assert.equal((await its.get("/small/a", license)).status, 200);
      assert.equal((await its.get("/large/a", license)).status, 403);

      await its.action("card", { subscription: id, card: "paid" });
      await its.api("POST", `/v1/invoices/${changed.latest_invoice}/pay`, {});
      await until("the larger plan", async () => (await its.get("/large/a", license)).status === 200, 5_000);
      assert.deepEqual(its.rows("SELECT plan, status FROM license").map((row) => ({ ...row })), [{ plan: "team", status: "active" }]);
    } finally {
      await its.close();
      await own.stop();
    }
  });
});

describe("an item of a subscription that is exchanged for another", () => {
  test("goes on with the same text, and ends as its subscription does", { timeout: 60_000 }, async () => {
    const own = await startSandbox();
    const its = await openShop({ sandbox: own, upstream: upstream.url, routes: kSmallAndLarge, plans: kTwoPrices });
    try {
      await its.start();
      const { license, session } = await its.buy("team", "ann@example.com");
      const id = await its.subscriptionOf(session);
      const [item] = (await its.api("GET", `/v1/subscriptions/${id}`)).items.data;
      const [pro] = (await its.api("GET", "/v1/prices", { "lookup_keys[0]": "pro" })).data;
      await its.api("POST", `/v1/subscriptions/${id}`, { "items[0][id]": item.id, "items[0][deleted]": "true", "items[1][price]": pro.id, proration_behavior: "always_invoice" });
      await until("the smaller plan", async () => (await its.get("/large/a", license)).status === 403, 5_000);
      assert.equal((await its.get("/small/a", license)).status, 200);
      const books = () => its.rows("SELECT plan, status FROM license ORDER BY plan").map((row) => `${row.plan} ${row.status}`);
      assert.deepEqual(books(), ["pro active"]);
      const [team] = (await its.api("GET", "/v1/prices", { "lookup_keys[0]": "team" })).data;
      const both = await its.api("POST", `/v1/subscriptions/${id}`, { "items[0][price]": team.id, proration_behavior: "always_invoice" });
      await until("the second license", () => books().join() === "pro active,team active");
      await its.api("POST", `/v1/subscriptions/${id}`, { "items[0][id]": both.items.data.at(-1).id, "items[0][deleted]": "true", proration_behavior: "always_invoice" });
      await until("its end", () => books().join() === "pro active,team expired");
      const subjects = async () => (await its.mailsTo("ann@example.com")).map((mail) => mail.subject);
      await until("what is told of it", async () => (await subjects()).some((one) => /^Plan team of .+ removed$/.test(one)));
      assert.equal((await its.get("/small/a", license)).status, 200);
      await its.api("DELETE", `/v1/subscriptions/${id}`);
      await until("the end", async () => (await its.get("/small/a", license)).status === 401, 5_000);
    } finally {
      await its.close();
      await own.stop();
    }
  });
});

describe("billing 13: a renewal that fails", () => {
  // Its year ends, and the grace behind it, some seconds from now: everything before is over at Stripe.
  test("gives no free day", { timeout: 120_000 }, async () => {
    const own = await startSandbox();
    const kLeft = 14; // seconds
    let grace = 3;
    let begin;
    for (; ; ++grace) {
      const end = new Date(Date.now() + kLeft * 1000 - grace * 86_400_000);
      begin = new Date(end);
      begin.setUTCFullYear(end.getUTCFullYear() - 1);
      if (begin.getUTCDate() === end.getUTCDate()) break;
    }
    const routes = kPlans.replace("$29/month", "$290/year");
    const its = await openShop({ sandbox: own, upstream: upstream.url, routes, grace, plans: { pro: { unit_amount: "29000", "recurring[interval]": "year" }, week: { unit_amount: "900" } } });
    try {
      const { now } = await its.action("advance", { seconds: "0" });
      await its.action("advance", { seconds: String(Math.floor(begin / 1000) - now) });
      await its.start();
      const { license, session, expires_at } = await its.buy("pro", "ann@example.com", "decline_renewal");
      const subscription = await its.subscriptionOf(session);
      const over = Date.parse(expires_at);
      assert.ok(Math.abs(over - Date.now() - kLeft * 1000) < 10_000, `${over - Date.now()} ms are left`);
      const stateOf = async () => (await its.api("GET", `/v1/subscriptions/${subscription}`)).status;
      const end = (await its.api("GET", `/v1/subscriptions/${subscription}`)).items.data[0].current_period_end;
      const goOn = async (to) => its.action("advance", { seconds: String(to - (await its.action("advance", { seconds: "0" })).now) });
      // The period has moved on, its invoice is a draft, the subscription active.
      await goOn(end + 600);
      const moved = await its.api("GET", `/v1/subscriptions/${subscription}`);
      assert.ok(moved.items.data[0].current_period_end > end);
      assert.equal(moved.status, "active");
      // An hour later it was asked for, and declined.
      await goOn(end + 7_200);
      assert.equal(await stateOf(), "past_due");
      await until("heard of", () => its.rows("SELECT status FROM license")[0].status === "past_due");
      const [row] = its.rows("SELECT expires_ms, paid_through_ms FROM license");
      assert.deepEqual([row.expires_ms, row.paid_through_ms], [over, end * 1000], "nothing was extended");
      assert.ok(Date.now() < over - 500, "the machine was too slow for this test");
      assert.equal((await its.get("/v1/a", license)).status, 200, "within the grace");
      await new Promise((resolve) => setTimeout(resolve, over - Date.now() + 50));
      const refused = await its.get("/v1/a", license);
      assert.equal(refused.status, 401);
      assert.equal((await refused.json()).code, "license_expired");
      // Paid in the end, it goes on with the same text.
      await its.action("card", { subscription, card: "paid" });
      await goOn(end + 5 * 86_400);
      assert.equal(await stateOf(), "active");
      await until("access again", async () => (await its.get("/v1/a", license)).status === 200);
    } finally {
      await its.close();
      await own.stop();
    }
  });
});

describe("a plan with days that are free", () => {
  let own, trials;
  before(async () => {
    own = await startSandbox();
    trials = await openShop({ sandbox: own, upstream: upstream.url, routes: kPlans.replace('"$29/month"', '"$29/month"\ntrial_days = 14') });
    await trials.start();
  });
  after(async () => {
    await trials?.close();
    await own?.stop();
  });
  const statusOf = async (subscription) => (await trials.api("GET", `/v1/subscriptions/${subscription}`)).status;

  test("gives them to each buyer once, by whichever spelling of his address", async () => {
    const seen = [];
    for (const email of ["tri@example.com", "tri@example.com", " Tri@Example.COM"]) {
      const { session } = await trials.buy("pro", email);
      const subscription = await trials.subscriptionOf(session);
      seen.push(await statusOf(subscription));
      await trials.api("DELETE", `/v1/subscriptions/${subscription}`);
      await until("its end", () => trials.rows("SELECT status FROM license WHERE subscription = ?", subscription)[0]?.status === "expired");
    }
    assert.deepEqual(seen, ["trialing", "active", "active"]);
    // Also as another customer of Stripe's.
    const [{ id }] = (await trials.api("GET", "/v1/customers", { email: "tri@example.com" })).data;
    await trials.api("DELETE", `/v1/customers/${id}`);
    assert.equal(await statusOf(await trials.subscriptionOf((await trials.buy("pro", "tri@example.com")).session)), "active");
    assert.equal(await statusOf(await trials.subscriptionOf((await trials.buy("pro", "uwe@example.com")).session)), "trialing");
  });

  test("are told of, where one has them again who named no address before he paid", async () => {
    await trials.buy("pro", "vic@example.com");
    const opened = await (await trials.post("/billing/checkout", { plan: "pro" })).json();
    const paid = await fetch(opened.url, { method: "POST", redirect: "manual", body: new URLSearchParams({ outcome: "paid", email: "vic@example.com" }) });
    const session = new URL(paid.headers.get("location")).searchParams.get("session_id");
    await until("the license", () => trials.bought(session));
    const subscription = await trials.subscriptionOf(session);
    assert.equal(await statusOf(subscription), "trialing");
    await until("an alarm", () => trials.server.events("sales.alarm").some((one) => one.kind === "trial" && one.detail.includes(subscription)));
  });
});
