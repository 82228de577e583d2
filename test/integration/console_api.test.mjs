// The operator's API: who may do what, what is asked twice and done once, money back, and the audit of it all.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import * as config from "../rig/src/config.mjs";
import { run, startPontage } from "../rig/src/pontage.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { openShop, until } from "../rig/src/shop.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kKeys = { READ_KEY: "r-Zo3dK0v8Qm1xW7uT", SUPPORT_KEY: "s-Ab9LqE2rT5yU8iO1", REFUND_KEY: "f-Pk4JhG6fD3sA0zXc" };
const kConsole = `
[console]
operator_key = "file:operator.key"
refunds_per_day = 8
refund_limit = "$150"
[[console.key]]
name = "viewer"
key = "env:READ_KEY"
[[console.key]]
name = "bot"
key = "env:SUPPORT_KEY"
scopes = ["support"]
[[console.key]]
name = "money"
key = "env:REFUND_KEY"
scopes = ["refund"]
`;

let sandbox, upstream, shop, api, operator;
before(async () => {
  sandbox = await startSandbox();
  upstream = await startUpstream();
  shop = await openShop({ sandbox, upstream: upstream.url, sections: kConsole, server: 'trusted_proxies = ["127.0.0.1/32"]' });
  api = shop.api;
  operator = fs.readFileSync(path.join(shop.dir, "operator.key"), "utf8").trim();
  await shop.start(kKeys);
});
after(async () => {
  await shop?.close();
  await upstream?.stop();
  await sandbox?.stop();
});

// A call of the API: {status, json, headers}.
async function admin(method, where, { body, key = operator, idem = crypto.randomUUID(), headers = {} } = {}) {
  const sent = { ...headers };
  if (key) sent["x-admin-key"] = key;
  if (method === "POST" && idem) sent["idempotency-key"] = idem;
  const answer = await fetch(`${shop.url}/admin/v1${where}`, {
    method,
    headers: sent,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, json: text ? JSON.parse(text) : undefined, headers: answer.headers };
}
const licensesOf = async (email) => (await admin("GET", `/licenses?email=${encodeURIComponent(email)}`)).json.data;
const statusOf = async (id) => (await admin("GET", `/licenses?license=${id}`)).json.data[0].status;
const call = (license) => shop.get("/v1/a", license);

async function buy(plan, email) {
  const said = await shop.buy(plan, email);
  const [{ id, customer, subscription }] = await licensesOf(email);
  return { ...said, id, customer, subscription };
}
async function refundsAtStripe(one) {
  const once = (await api("GET", `/v1/checkout/sessions/${one.session}`)).payment_intent;
  const intent = once ?? (await shop.paymentOf(one.session));
  return (await api("GET", "/v1/refunds", { payment_intent: intent })).data;
}

describe("who comes in", () => {
  test("nobody without the key, and nobody learns what there is", async () => {
    for (const where of ["", "/licenses", "/nothing"]) {
      for (const key of [null, "wrong-wrong-wrong-1"]) {
        const answer = await admin("GET", where, { key });
        assert.equal(answer.status, 401, `${where} ${key}`);
        assert.equal(answer.json.code, "unauthorized");
      }
    }
    assert.equal((await admin("GET", "")).status, 200);
    assert.equal((await admin("GET", "/nothing")).status, 404);
    assert.equal((await admin("POST", "/customers")).status, 405);
    assert.equal((await admin("GET", "/licenses/none")).status, 404);
  });

  test("who guesses is shut out for a while, and nobody else behind the same proxy", async () => {
    const from = (address, key) => admin("GET", "", { key, headers: { "x-forwarded-for": address } });
    for (let i = 0; i < 10; ++i) assert.equal((await from("192.0.2.7", `guess-number-${i}`)).status, 401);
    const late = await from("192.0.2.7", operator);
    assert.equal(late.status, 429);
    assert.ok(Number(late.headers.get("retry-after")) > 1);
    assert.equal((await from("192.0.2.8", operator)).status, 200);
  });

  test("a key does what its scopes say", async () => {
    const { READ_KEY, SUPPORT_KEY, REFUND_KEY } = kKeys;
    const status = async (method, where, key, body) => (await admin(method, where, { key, body })).status;
    for (const key of Object.values(kKeys)) assert.equal(await status("GET", "/licenses", key), 200);
    for (const [where, allowed] of Object.entries({
      "/licenses": [],
      "/licenses/none/revoke": [],
      "/licenses/none/reissue": [SUPPORT_KEY],
      "/licenses/none/extend": [SUPPORT_KEY],
      "/licenses/none/refund": [REFUND_KEY],
      "/events/none/rerun": [SUPPORT_KEY],
      "/outbox/none/retry": [SUPPORT_KEY],
    })) {
      for (const key of [READ_KEY, SUPPORT_KEY, REFUND_KEY]) {
        const want = allowed.includes(key) ? 404 : 403;
        assert.equal(await status("POST", where, key, { ...(where.endsWith("extend") && { days: 1 }), reason: "x" }), want, `${where} ${key}`);
      }
    }
  });

  test("says which member is not known, or wrong", async () => {
    for (const [where, body, pointer] of [
      ["/licenses", { plan: "pro", customer: "acme", colour: "red" }, "/colour"],
      ["/licenses", { customer: "acme" }, "/plan"],
      ["/licenses", { plan: "nope", customer: "acme" }, "/plan"],
      ["/licenses", { plan: "pro", customer: "acme", days: "3" }, "/days"],
      ["/licenses", { plan: "pro", customer: "acme", days: -1 }, "/days"],
      ["/licenses/x/extend", { days: 3 }, "/reason"],
      ["/licenses/x/refund", { amount: 5 }, "/reason"],
      ["/licenses/x/refund", { amount: 0, reason: "x" }, "/amount"],
      ["/licenses/x/refund", { amount: "much", reason: "x" }, "/amount"],
    ]) {
      const answer = await admin("POST", where, { body });
      assert.equal(answer.status, 400, `${where} ${JSON.stringify(body)} ${JSON.stringify(answer.json)}`);
      assert.equal(answer.json.pointer, pointer);
    }
    const keyless = await admin("POST", "/licenses", { body: { plan: "pro", customer: "acme" }, idem: "" });
    assert.equal(keyless.status, 400);
    assert.equal(keyless.json.pointer, "/idempotency-key");
    assert.equal((await admin("GET", "/licenses?colour=red")).json.pointer, "/colour");
    assert.equal((await admin("GET", "/licenses?limit=1000")).json.pointer, "/limit");
    assert.equal((await admin("GET", "/licenses?cursor=x")).json.pointer, "/cursor");
  });
});

describe("licenses by hand", () => {
  test("issue, extend, reissue, revoke: each once, however often it is asked", async () => {
    const body = { plan: "pro", customer: "acme", email: "Acme@Example.com", days: 10 };
    const idem = crypto.randomUUID();
    const asked = await Promise.all([1, 2, 3].map(() => admin("POST", "/licenses", { body, idem })));
    for (const one of asked) assert.equal(one.status, 200, JSON.stringify(one.json));
    assert.equal(new Set(asked.map((one) => one.json.license)).size, 1);
    const { id, license, status } = asked[0].json;
    assert.equal(status, "active");
    assert.equal((await call(license)).status, 200);
    assert.equal((await licensesOf("acme@example.com")).length, 1);
    const other = await admin("POST", "/licenses", { body: { ...body, days: 11 }, idem });
    assert.equal(other.status, 409);
    assert.equal(other.json.pointer, "/idempotency-key");

    const before = Date.parse((await licensesOf("acme@example.com"))[0].expires_at);
    const longer = await admin("POST", `/licenses/${id}/extend`, { body: { days: 5, reason: "we were down" } });
    assert.equal(longer.status, 200, JSON.stringify(longer.json));
    assert.equal(Date.parse(longer.json.expires_at) - before, 5 * 86_400_000);

    const anew = await admin("POST", `/licenses/${id}/reissue`, { body: { reason: "lost" } });
    assert.equal(anew.status, 200, JSON.stringify(anew.json));
    assert.notEqual(anew.json.license, license);
    await until("the old one stops", async () => (await call(license)).status === 401);
    assert.equal((await call(anew.json.license)).status, 200);

    const calm = await admin("POST", `/licenses/${id}/reissue`, { body: { reason: "new laptop", mail: false, overlap: "1h" } });
    assert.equal(calm.status, 200, JSON.stringify(calm.json));
    assert.ok(Date.parse(calm.json.old_until) - Date.now() > 3_500_000);
    await until("the newest is known", async () => (await call(calm.json.license)).status === 200);
    assert.equal((await call(anew.json.license)).status, 200, "for an hour");
    const bad = await admin("POST", `/licenses/${id}/reissue`, { body: { overlap: "a while" } });
    assert.deepEqual([bad.status, bad.json.pointer], [400, "/overlap"]);

    const gone = await admin("POST", `/licenses/${id}/revoke`, { body: { reason: "fraud" } });
    assert.equal(gone.status, 200);
    assert.equal(gone.json.status, "revoked");
    await until("it is shut", async () => (await call(calm.json.license)).status === 401);
    assert.equal((await call(anew.json.license)).status, 401);
    for (const verb of ["reissue", "extend"]) {
      assert.equal((await admin("POST", `/licenses/${id}/${verb}`, { body: { reason: "x", ...(verb === "extend" && { days: 1 }) } })).status, 409);
    }
    assert.equal((await admin("POST", `/licenses/${id}/refund`, { body: { reason: "x" } })).status, 409, "nothing was paid");

    const whole = (await admin("GET", `/licenses/${id}`)).json;
    assert.deepEqual(Object.keys(whole.usage), ["today", "month", "days", "routes"]);
    const verbs = whole.audit.map((row) => row.verb).reverse();
    assert.deepEqual(verbs, ["license.issue", "license.issue.done", "license.extend", "license.extend.done", "license.reissue", "license.reissue.done", "license.reissue", "license.reissue.done", "license.revoke"]);
    assert.ok(whole.audit.every((row) => row.actor === "operator" && row.request_id));
    assert.deepEqual(whole.mails.map((one) => one.kind).sort(), ["license", "reissue"]);
  });

  test("what the command line does is in the audit, too", async () => {
    const issued = await run(["license", "issue", "--plan", "pro", "--customer", "cli", "--config", shop.server.file, "--json"], {
      cwd: shop.dir,
      env: { ...shop.keys, ...kKeys, PONTAGE_EVM_KEY: config.evmKey("facilitator"), USER: "ann" },
    });
    assert.equal(issued.code, 0, issued.stderr);
    const { id } = JSON.parse(issued.stdout);
    const { audit } = (await admin("GET", `/licenses/${id}`)).json;
    assert.equal(audit.length, 1);
    assert.match(audit[0].actor, /^cli:/);
    assert.equal(audit[0].verb, "license.issue");
  });
});

describe("money back", () => {
  test("a part changes nothing, all of it revokes; each once at Stripe", async () => {
    const one = await buy("pro", "fay@example.com");
    const idem = crypto.randomUUID();
    const part = await admin("POST", `/licenses/${one.id}/refund`, { body: { amount: 500, reason: "slow" }, idem });
    assert.ok([200, 202].includes(part.status), JSON.stringify(part.json));
    assert.ok(["pending", "succeeded"].includes(part.json.state), JSON.stringify(part.json));
    await until("the refund", async () => (await admin("GET", `/refunds?license=${one.id}`)).json.data[0].state === "succeeded");
    const again = await admin("POST", `/licenses/${one.id}/refund`, { body: { amount: 500, reason: "slow" }, idem });
    assert.equal(again.status, 200);
    assert.equal(again.json.id, part.json.id);
    assert.equal(again.headers.get("idempotent-replayed"), "true");
    assert.equal((await admin("POST", `/licenses/${one.id}/refund`, { body: { amount: 600, reason: "slow" }, idem })).status, 409);
    assert.deepEqual((await refundsAtStripe(one)).map((refund) => refund.amount), [500]);
    assert.equal(await statusOf(one.id), "active");

    const most = await admin("POST", `/licenses/${one.id}/refund`, { body: { amount: "$25.00", reason: "x" } });
    assert.equal(most.status, 400, JSON.stringify(most.json));
    assert.equal(most.json.pointer, "/amount");
    assert.equal(most.json.expected, "at most $24.00");

    const rest = await admin("POST", `/licenses/${one.id}/refund`, { body: { reason: "goodbye" }, key: kKeys.REFUND_KEY });
    assert.ok([200, 202].includes(rest.status), JSON.stringify(rest.json));
    const where = rest.headers.get("location");
    assert.equal(where, `/admin/v1/commands/${rest.json.command}`);
    assert.equal((await admin("GET", where.slice("/admin/v1".length), { key: kKeys.REFUND_KEY })).status, 200, "whoever ordered it sees what becomes of it");
    await until("revoked", async () => (await statusOf(one.id)) === "revoked");
    await until("shut", async () => (await call(one.license)).status === 401);
    assert.deepEqual((await refundsAtStripe(one)).map((refund) => refund.amount).sort((a, b) => a - b), [500, 2400]);
    const who = (await admin("GET", `/customers/${one.customer}`)).json;
    assert.equal(who.email, "fay@example.com");
    assert.equal(who.invoices.length, 1);
    assert.equal(who.invoices[0].paid, 2900);
    assert.equal(who.subscriptions[0].id, one.subscription);
    assert.ok(who.subscriptions[0].period_end);
    assert.deepEqual(who.refunds.map((refund) => [refund.state, refund.actor]), [["succeeded", "key:money"], ["failed", "operator"], ["succeeded", "operator"]]);

    const out = await run(["explain", one.id, "--config", shop.server.file], { cwd: shop.dir, env: { ...shop.keys, ...kKeys } });
    assert.equal(out.code, 0, out.stderr);
    const [told] = JSON.parse(out.stdout).licenses;
    assert.deepEqual([told.status, told.purchase.id, told.invoices.length, told.refunds.length, told.orders.length], ["revoked", one.subscription, 1, 3, 3]);
    const times = told.history.map((line) => Date.parse(line.at));
    assert.deepEqual(times, times.toSorted((a, b) => a - b));
    const line = (what, detail) => assert.ok(told.history.some((at) => at.what === what && detail.test(at.detail)), `${what} ${detail}: ${out.stdout}`);
    line("invoice", /^\S+, \$29\.00, paid$/);
    line("license.issued", /^by stripe, status active, plan pro, /);
    line("mail", /^license to fay@example\.com, \w+ /);
    line("order", /^license\.refund cmd_\w+, by key:money, done /);
    line("refund", /^rfd_\w+, \$5\.00, succeeded \S+, by operator, reason: slow$/);
    line("license.changed", /^by stripe, status active -> revoked/);
  });

  test("with `cancel` the subscription ends, too, and is charged no more", async () => {
    const one = await buy("pro", "una@example.com");
    const done = await admin("POST", `/licenses/${one.id}/refund`, { body: { reason: "goodbye", cancel: true } });
    assert.ok([200, 202].includes(done.status), JSON.stringify(done.json));
    await until("revoked", async () => (await statusOf(one.id)) === "revoked");
    assert.equal((await api("GET", `/v1/subscriptions/${one.subscription}`)).status, "canceled");
    assert.deepEqual((await refundsAtStripe(one)).map((refund) => refund.amount), [2900]);
    await until("the refund", async () => (await admin("GET", `/refunds?license=${one.id}`)).json.data[0].state === "succeeded");
    await until("shut", async () => (await call(one.license)).status === 401);
  });

  test("that Stripe refuses says what was done all the same", async () => {
    const one = await buy("pro", "viv@example.com");
    await shop.action("dispute", { payment_intent: await shop.paymentOf(one.session) });
    const idem = crypto.randomUUID();
    const ask = () => admin("POST", `/licenses/${one.id}/refund`, { body: { reason: "goodbye", cancel: true }, idem });
    const done = await ask();
    assert.ok(done.status >= 400 && done.status < 500, JSON.stringify(done.json));
    assert.equal(done.headers.get("idempotent-replayed"), null);
    const again = await ask();
    assert.deepEqual([again.status, again.json, again.headers.get("idempotent-replayed")], [done.status, done.json, "true"]);
    assert.match(done.json.detail, /^the subscription has ended, the money was not given back: /);
    assert.equal((await api("GET", `/v1/subscriptions/${one.subscription}`)).status, "canceled");
    assert.deepEqual(await refundsAtStripe(one), []);
    assert.equal((await admin("GET", `/refunds?license=${one.id}`)).json.data[0].state, "failed");
  });

  test("what was bought once is given back whole", async () => {
    const one = await buy("week", "gil@example.com");
    const none = await admin("POST", `/licenses/${one.id}/refund`, { body: { reason: "goodbye", cancel: true } });
    assert.equal(none.status, 400, JSON.stringify(none.json));
    assert.equal(none.json.pointer, "/cancel");
    const done = await admin("POST", `/licenses/${one.id}/refund`, { body: { reason: "goodbye" } });
    assert.ok([200, 202].includes(done.status), JSON.stringify(done.json));
    await until("revoked", async () => (await statusOf(one.id)) === "revoked");
    assert.deepEqual((await refundsAtStripe(one)).map((refund) => refund.amount), [900]);
  });

  test("is seen though Stripe's events are lost", async () => {
    const one = await buy("week", "hal@example.com");
    await shop.action("faults", { drop: "100" });
    const done = await admin("POST", `/licenses/${one.id}/refund`, { body: { reason: "goodbye" } });
    assert.ok([200, 202].includes(done.status), JSON.stringify(done.json));
    await until("revoked", async () => (await statusOf(one.id)) === "revoked", 20_000);
    await shop.action("faults", { drop: "0" });
    await until("the refund", async () => (await admin("GET", `/refunds?license=${one.id}`)).json.data[0].state === "succeeded");
  });

  test("a server that dies between the order and its end: one refund", async () => {
    const one = await buy("pro", "ivo@example.com");
    const idem = crypto.randomUUID();
    const body = { reason: "goodbye" };
    for (const wait of [0, 30, 120, 400]) {
      const asked = admin("POST", `/licenses/${one.id}/refund`, { body, idem }).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, wait));
      await shop.server.kill();
      await asked;
      await shop.start(kKeys);
    }
    const done = await admin("POST", `/licenses/${one.id}/refund`, { body, idem });
    assert.ok([200, 202].includes(done.status), JSON.stringify(done.json));
    // What was taken by a process that died is due again when its lease is over.
    await until("revoked", async () => (await statusOf(one.id)) === "revoked", 30_000);
    assert.deepEqual((await refundsAtStripe(one)).map((refund) => refund.amount), [2900]);
    assert.equal((await admin("GET", `/refunds?license=${one.id}`)).json.data.length, 1);
  });

  test("no more than the limits of a day", async () => {
    const one = await buy("pro", "kim@example.com");
    const spent = (await admin("GET", "/refunds")).json.data.filter((refund) => refund.state !== "failed").length;
    let last;
    for (let i = spent; i < 8; ++i) {
      last = await admin("POST", `/licenses/${one.id}/refund`, { body: { amount: 1, reason: "bit by bit" } });
      assert.ok([200, 202].includes(last.status), JSON.stringify(last.json));
      await until("its end", async () => (await admin("GET", `/refunds?license=${one.id}`)).json.data[0].state === "succeeded");
    }
    last = await admin("POST", `/licenses/${one.id}/refund`, { body: { amount: 1, reason: "one more" } });
    assert.equal(last.status, 403, JSON.stringify(last.json));
  });
});

describe("the rest of the day", () => {
  test("what the operator revoked no event of Stripe's revives", async () => {
    const one = await buy("pro", "jo@example.com");
    assert.equal((await admin("POST", `/licenses/${one.id}/revoke`, { body: { reason: "fraud" } })).status, 200);
    const { data } = (await admin("GET", `/events?object=${one.subscription}`)).json;
    assert.ok(data.length > 0);
    const again = await admin("POST", `/events/${data[0].id}/rerun`, { body: {} });
    assert.equal(again.status, 200, JSON.stringify(again.json));
    await api("POST", `/v1/subscriptions/${one.subscription}`, { "metadata[x]": "y" });
    const did = (await admin("GET", `/audit?subject=${data[0].id}`)).json.data;
    assert.deepEqual(did.map((row) => row.verb), ["event.rerun.done", "event.rerun"]);
    await until("dealt with", async () => (await admin("GET", `/events/${data[0].id}`)).json.state === "done");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.equal(await statusOf(one.id), "revoked");
    assert.equal((await call(one.license)).status, 401);
  });

  test("an extension outlives what Stripe says of the period", async () => {
    const one = await buy("pro", "lea@example.com");
    const longer = await admin("POST", `/licenses/${one.id}/extend`, { body: { days: 30, reason: "sorry" } });
    assert.equal(longer.status, 200, JSON.stringify(longer.json));
    await api("POST", `/v1/subscriptions/${one.subscription}`, { "metadata[x]": "z" });
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    assert.equal((await licensesOf("lea@example.com"))[0].expires_at, longer.json.expires_at);
    await api("DELETE", `/v1/subscriptions/${one.subscription}`);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    assert.equal(await statusOf(one.id), "active", "given, whatever was paid");
  });

  test("lists in pages, newest first, of both rails", async () => {
    const all = async (where) => {
      const seen = [];
      for (let cursor = ""; cursor !== null; ) {
        const { status, json } = await admin("GET", `${where}limit=3${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
        assert.equal(status, 200, JSON.stringify(json));
        assert.ok(json.data.length <= 3);
        seen.push(...json.data.map((one) => one.id));
        cursor = json.next;
      }
      assert.equal(new Set(seen).size, seen.length);
      return seen;
    };
    const seen = await all("/customers?");
    assert.ok(seen.includes("acme") && seen.length >= 6);
    for (const i of [1, 2, 3, 4]) await admin("POST", "/licenses", { body: { plan: "pro", customer: `many-${i}`, email: `many-${i}@example.com`, mail: false } });
    assert.deepEqual(await all("/customers?q=many-&"), ["many-4", "many-3", "many-2", "many-1"]);
    assert.ok((await all("/refunds?")).length > 8);
    const { data } = (await admin("GET", "/customers?q=fay@example.com")).json;
    assert.equal(data.length, 1);
    for (const q of [data[0].id, data[0].license, "fay@"]) {
      assert.equal((await admin("GET", `/customers?q=${encodeURIComponent(q)}`)).json.data[0].id, data[0].id, q);
    }
    const payments = (await admin("GET", "/payments?rail=card")).json.data;
    assert.ok(payments.length >= 5);
    assert.ok(payments.every((one) => one.rail === "card" && one.amount.startsWith("$")));
    assert.deepEqual([...payments].sort((a, b) => b.at.localeCompare(a.at)).map((one) => one.at), payments.map((one) => one.at));
  });

  test("a customer is found by whatever somebody has in hand", async () => {
    const one = await buy("pro", "max@example.com");
    const idem = crypto.randomUUID();
    const issued = await admin("POST", "/licenses", { body: { plan: "pro", customer: "by hand" }, idem });
    const [invoice] = (await admin("GET", `/customers/${one.customer}`)).json.invoices;
    const [item] = (await api("GET", `/v1/subscriptions/${one.subscription}`)).items.data;
    const hands = { [one.license]: one, [one.session]: one, [one.subscription]: one, [item.id]: one, [invoice.id]: one };
    Object.assign(hands, { [invoice.number.toLowerCase()]: one, [await shop.paymentOf(one.session)]: one, [issued.json.license]: { customer: "by hand" } });
    const gave = (await admin("GET", "/refunds")).json.data.find((refund) => refund.state === "succeeded");
    assert.match(gave.stripe_refund, /^re_/);
    for (const name of [gave.id, gave.stripe_refund]) hands[name] = (await admin("GET", `/licenses/${gave.license}`)).json;
    for (const [q, { customer }] of Object.entries(hands)) {
      const { status, json } = await admin("GET", `/customers?q=${encodeURIComponent(q)}`);
      assert.deepEqual([status, json.data?.map((who) => who.id)], [200, [customer]], q);
    }
    assert.equal((await admin("GET", `/licenses?license=${one.license}`)).json.data[0].id, one.id);
    assert.equal((await admin("GET", `/customers?q=${"x".repeat(201)}`)).json.pointer, "/q");

    // On a page: the license is in no address that anybody is led to.
    const page = async (where, headers = {}) => fetch(shop.url + where, { redirect: "manual", headers });
    const login = await fetch(`${shop.url}/admin/login`, { method: "POST", redirect: "manual", body: new URLSearchParams({ key: operator }) });
    const cookie = login.headers.get("set-cookie").split(";")[0];
    const led = async (headers) => (await page(`/admin/customers?q=${one.license}`, headers)).headers.get("location");
    assert.equal(await led({ cookie }), `/admin/customers?q=${one.id}`);
    assert.equal(decodeURIComponent(await led()), `/admin/login?next=/admin/customers?q=${one.id}`);
    assert.equal((await page(`/admin/customers?q=${one.id}`, { cookie })).headers.get("location"), `/admin/customers/${one.customer}`);
    assert.ok(!shop.server.lines.some((line) => line.includes(one.license)));
  });

  test("a state that there is not is told, and is no empty list", async () => {
    for (const [where, one] of [["payments", "settled"], ["payments", "paid"], ["events", "done"], ["outbox", "sent"], ["outbox", "unreached"], ["commands", "done"]]) {
      assert.equal((await admin("GET", `/${where}?state=${one}`)).status, 200, `${where} ${one}`);
      const slip = await admin("GET", `/${where}?state=${one}x`);
      assert.equal(slip.status, 400, where);
      assert.equal(slip.json.pointer, "/state");
      assert.ok(slip.json.expected.includes(one), slip.json.expected);
    }
  });
  test("an event is shown without what is a person's", async () => {
    const { data } = (await admin("GET", "/events?type=customer.created")).json;
    const event = (await admin("GET", `/events/${(data[0] ?? (await admin("GET", "/events")).json.data[0]).id}`)).json;
    const text = JSON.stringify(event.payload);
    assert.ok(!text.includes("@"), text);
    assert.ok(text.includes("evt_"));
  });

  test("the audit holds, and shows what was tampered with", async () => {
    const good = (await admin("GET", "/audit")).json;
    assert.equal(good.chain.holds, true, JSON.stringify(good.chain));
    assert.equal(good.chain.hash, good.data[0].hash);
    const said = shop.server.events("console.audit");
    assert.ok(said.some((line) => good.data.some((row) => row.hash === line.hash)), "the hash is in the log");
    shop.change("UPDATE audit SET reason = 'nothing' WHERE seq = 3");
    const bad = (await admin("GET", "/audit")).json.chain;
    assert.equal(bad.holds, false);
    assert.equal(bad.broken_at, 3);
  });
});

describe("apart from the role sales, with a store of its own", () => {
  test("an order waits until somebody can do it, and is then answered as if nothing had been", async () => {
    const [selling, looking] = [0, 1].map(() => fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-")));
    assert.equal((await run(["init", "--dir", selling])).code, 0);
    const key = fs.readFileSync(path.join(selling, "operator.key"), "utf8").trim();
    const listen = '[server]\nlisten = "127.0.0.1:0"\n';
    const sells = () => startPontage(`${listen}[[plan]]\nname = "pro"\nprice = "$29/month"\n[license]\nsigning_key = "file:license.pem"\n`, { dir: selling, args: ["--role", "sales"] });
    let sales = await sells();
    const looks = await startPontage(`${listen}[console]\noperator_key = "env:X402_ADMIN_KEY"\nsales_store = "sqlite:${selling}/pontage.db"\n`, { dir: looking, env: { X402_ADMIN_KEY: key } });
    try {
      const issue = async (idem) => {
        const answer = await fetch(`${looks.url}/admin/v1/licenses`, {
          method: "POST",
          headers: { "x-admin-key": key, "idempotency-key": idem },
          body: JSON.stringify({ plan: "pro", customer: "acme" }),
        });
        return { status: answer.status, where: answer.headers.get("location"), json: await answer.json() };
      };
      assert.equal((await issue("a")).status, 200);
      await sales.kill();
      const waits = await issue("b");
      assert.equal(waits.status, 202, JSON.stringify(waits.json));
      const look = async () => (await fetch(looks.url + waits.where, { headers: { "x-admin-key": key } })).json();
      assert.equal((await look()).state, "requested");
      sales = await sells();
      await until("done", async () => (await look()).state === "done");
      const done = await issue("b");
      assert.equal(done.status, 200);
      assert.equal(done.json.command, waits.json.command);
      assert.equal(done.json.license, (await look()).license);
    } finally {
      await looks.kill();
      await sales.kill();
      for (const dir of [selling, looking]) fs.rmSync(dir, { recursive: true });
    }
  });
});

describe("a key that is none", () => {
  test("nothing starts with an operator's key that is missing, short or known to all", async () => {
    const at = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
    const file = path.join(at, "pontage.toml");
    fs.writeFileSync(file, '[server]\nlisten = "127.0.0.1:0"\n[console]\noperator_key = "env:X402_ADMIN_KEY"\n');
    for (const key of [undefined, "short", "changeme-changeme", "aaaaaaaaaaaaaaaaaaaaaaaa"]) {
      const done = await run(["serve", "--config", file, "--role", "console"], { cwd: at, env: { X402_ADMIN_KEY: key }, withinMs: 10_000 });
      assert.notEqual(done.code, 0, String(key));
      assert.equal(done.signal, null, `${key}: ${done.stderr}`);
      assert.match(done.stderr, /operator_key/);
    }
    fs.rmSync(at, { recursive: true });
  });
});
