// The card rail from the price list to the call: checkout at Stripe's double, events in any order and number, the
// license on the success page and by mail, and what ends it.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import * as config from "../rig/src/config.mjs";
import { freePort } from "../rig/src/nginx.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = `
[[plan]]
name = "pro"
price = "$29/month"
[[plan]]
name = "week"
price = "$9"
days = 7
[[route]]
match = "GET /v1/*"
upstream = "api"
price = "$0.001"
plans = ["pro", "week"]
`;

let sandbox, upstream, server, dir, stripe, secret;

// A call of Stripe's API, as the double has it.
async function api(method, where, form = {}) {
  const body = new URLSearchParams(form);
  const answer = await fetch(stripe + where + (method === "GET" && [...body].length ? `?${body}` : ""), {
    method,
    headers: { authorization: "Bearer sk_test_x", "content-type": "application/x-www-form-urlencoded" },
    body: method === "GET" ? undefined : body,
  });
  const json = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(json));
  return json;
}
const action = (name, form = {}) => api("POST", `/_test/${name}`, form);

// A server that sells what kRoutes has, known to Stripe's double; `license` is more of that section.
async function openShop(license = "") {
  const port = await freePort();
  const hook = await api("POST", "/v1/webhook_endpoints", {
    url: `http://127.0.0.1:${port}/webhooks/stripe`,
    "enabled_events[0]": "*",
    api_version: "2026-10-28.endive",
  });
  const toml = sellerConfig({
    rpc: sandbox.rpc,
    upstream: upstream.url,
    routes: kRoutes,
    server: `public_url = "http://127.0.0.1:${port}"`,
    sections: `
[license]
issuer = "https://api.example.com"
signing_key = "file:license.pem"
grace_days = 3
${license}
[stripe]
api_key = "env:STRIPE_SECRET_KEY"
webhook_secret = ["env:STRIPE_WEBHOOK_SECRET"]
api_base = "${stripe}"
[mail]
provider = "resend"
api_key = "env:RESEND_API_KEY"
api_base = "${sandbox.mailbox}"
from = "Example <keys@example.com>"
`,
  }).replace('listen = "127.0.0.1:0"', `listen = "127.0.0.1:${port}"`);
  const opened = await startPontage(toml, {
    dir,
    env: { STRIPE_SECRET_KEY: "sk_test_x", STRIPE_WEBHOOK_SECRET: hook.secret, RESEND_API_KEY: "re_x" },
  });
  return { server: opened, secret: hook.secret };
}

before(async () => {
  sandbox = await startSandbox();
  stripe = sandbox.stripe;
  upstream = await startUpstream();
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
  assert.equal((await run(["init", "--dir", dir])).code, 0);
  for (const [plan, form] of Object.entries({
    pro: { unit_amount: "2900", "recurring[interval]": "month" },
    week: { unit_amount: "900" },
  })) {
    const product = await api("POST", "/v1/products", { name: plan });
    await api("POST", "/v1/prices", { product: product.id, currency: "usd", lookup_key: plan, ...form });
  }
  ({ server, secret } = await openShop());
});
after(async () => {
  await server?.stop();
  await upstream?.stop();
  await sandbox?.stop();
  if (dir) fs.rmSync(dir, { recursive: true, force: true });
});

async function until(what, ask, withinMs = 10_000) {
  const end = Date.now() + withinMs;
  for (;;) {
    const got = await ask();
    if (got) return got;
    assert.ok(Date.now() < end, `${what} within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
const post = (where, json) =>
  fetch(server.url + where, {
    method: "POST",
    redirect: "manual",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(json),
  });
const get = (where, license) => fetch(server.url + where, { headers: { authorization: `Bearer ${license}` } });
const mailsTo = async (email) => {
  const { data } = await (await fetch(`${sandbox.mailbox}/emails`, { headers: { authorization: "Bearer re_x", "user-agent": "test" } })).json();
  return data.filter((one) => one.to.includes(email));
};

// Buys `plan` as a person does; gives {session, license, plan, expires_at}.
async function buy(plan, email, outcome = "paid") {
  const opened = await post("/billing/checkout", { plan, email });
  assert.equal(opened.status, 200, await opened.clone().text());
  const { url } = await opened.json();
  const paid = await fetch(url, { method: "POST", redirect: "manual", body: new URLSearchParams({ outcome }) });
  assert.equal(paid.status, 303, await paid.text());
  const back = new URL(paid.headers.get("location"));
  const session = back.searchParams.get("session_id");
  assert.equal(back.origin, server.url);
  const said = await until("the license", async () => {
    const answer = await fetch(back, { headers: { accept: "application/json" } });
    assert.equal(answer.status, 200);
    const json = await answer.json();
    return json.state === "ready" ? json : undefined;
  });
  return { session, ...said };
}
const subscriptionOf = async (session) => (await api("GET", `/v1/checkout/sessions/${session}`)).subscription;

describe("buying a subscription", () => {
  test("gives a license on the page and by mail, which opens what asked for a payment", async () => {
    const unpaid = await fetch(`${server.url}/v1/a`);
    assert.equal(unpaid.status, 402);
    const { plans } = await unpaid.json();
    assert.equal(plans.find((one) => one.plan === "pro").checkout, `${server.url}/billing/checkout`);
    const { license, plan, expires_at, session } = await buy("pro", "ann@example.com");
    assert.equal(plan, "pro");
    assert.equal((await get("/v1/a", license)).status, 200);
    const subscription = await api("GET", `/v1/subscriptions/${await subscriptionOf(session)}`);
    const end = subscription.items.data[0].current_period_end;
    assert.equal(Date.parse(expires_at) / 1000, end + 3 * 86_400, "what was paid for, and the grace");
    const [mail, ...more] = await until("the mail", async () => {
      const all = await mailsTo("ann@example.com");
      return all.length > 0 ? all : undefined;
    });
    assert.equal(more.length, 0);
    const full = await (await fetch(`${sandbox.mailbox}/emails/${mail.id}`, { headers: { authorization: "Bearer re_x", "user-agent": "test" } })).json();
    assert.ok(full.text.split("\n").includes(license), "alone on a line");
    const page = await fetch(`${server.url}/billing/success?session_id=${session}`, { headers: { accept: "text/html" } });
    const html = await page.text();
    assert.ok(html.includes(license) && html.includes("curl") && html.includes("mcpServers"));
  });

  test("asked again, in any order and number of events, is one license and one mail", async () => {
    await action("faults", { duplicate: "3", shuffle: "7" });
    const { license, session } = await buy("pro", "bob@example.com");
    await action("faults", { duplicate: "1", shuffle: "" }).catch(() => {});
    const again = await Promise.all(
      Array.from({ length: 8 }, () =>
        fetch(`${server.url}/billing/success?session_id=${session}`, { headers: { accept: "application/json" } }).then((one) => one.json()),
      ),
    );
    for (const one of again) if (one.state === "ready") assert.equal(one.license, license);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    assert.equal((await mailsTo("bob@example.com")).length, 1);
  });

  test("two checkouts of one buyer are one customer at Stripe", async () => {
    const opened = await Promise.all(["pro", "week", "pro"].map((plan) => post("/billing/checkout", { plan, email: "Cy@Example.com " })));
    for (const one of opened) assert.equal(one.status, 200);
    const { data } = await api("GET", "/v1/customers", { email: "cy@example.com" });
    assert.equal(data.length, 1);
  });

  test("says what is wrong with a request", async () => {
    for (const [body, pointer] of [
      [{ plan: "nope" }, "/plan"],
      [{}, "/plan"],
      [{ plan: "pro", email: "no address" }, "/email"],
      [{ plan: 7 }, "/plan"],
    ]) {
      const answer = await post("/billing/checkout", body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal((await answer.json()).pointer, pointer);
    }
    const form = await fetch(`${server.url}/billing/checkout`, { method: "POST", redirect: "manual", body: new URLSearchParams({ plan: "pro" }) });
    assert.equal(form.status, 303);
    assert.ok(form.headers.get("location").startsWith(stripe));
    assert.equal((await fetch(`${server.url}/billing/success?session_id=../x`)).status, 400);
    assert.equal((await fetch(`${server.url}/billing/success?session_id=cs_test_none`)).status, 404);
  });
});

describe("buying once", () => {
  test("gives a license for the plan's days", async () => {
    const { license, expires_at } = await buy("week", "dee@example.com");
    assert.equal((await get("/v1/a", license)).status, 200);
    const days = (Date.parse(expires_at) - Date.now()) / 86_400_000;
    assert.ok(Math.abs(days - 10) < 0.1, `${days} days, the grace with them`);
  });
  test("what is not paid yet gives none, until it is", async () => {
    const { url } = await (await post("/billing/checkout", { plan: "week", email: "eve@example.com" })).json();
    const paid = await fetch(url, { method: "POST", redirect: "manual", body: new URLSearchParams({ outcome: "async" }) });
    const back = paid.headers.get("location");
    const ask = async () => (await fetch(back, { headers: { accept: "application/json" } })).json();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assert.deepEqual(await ask(), { state: "pending" });
    const session = new URL(back).searchParams.get("session_id");
    await action("async", { session, outcome: "succeeded" });
    await until("the license", async () => (await ask()).state === "ready");
  });
});

describe("what ends a license", () => {
  const refusedWith = (license, code) =>
    until(code, async () => {
      const answer = await get("/v1/a", license);
      return answer.status === 200 ? undefined : (await answer.json()).code === code;
    });
  const paymentOf = async (session) => {
    const subscription = await subscriptionOf(session);
    const { data } = await api("GET", "/v1/invoices", { subscription, status: "paid" });
    const payments = await api("GET", "/v1/invoice_payments", { invoice: data[0].id });
    return payments.data[0].payment.payment_intent;
  };

  test("a full refund revokes, a part of it changes nothing", async () => {
    const { license, session } = await buy("pro", "fay@example.com");
    const payment_intent = await paymentOf(session);
    await api("POST", "/v1/refunds", { payment_intent, amount: "500" });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    assert.equal((await get("/v1/a", license)).status, 200);
    await api("POST", "/v1/refunds", { payment_intent });
    await refusedWith(license, "license_revoked");
  });

  test("a dispute suspends, won restores", async () => {
    const { license, session } = await buy("pro", "gus@example.com");
    const subscription = await subscriptionOf(session);
    const dispute = await action("dispute", { subscription });
    await refusedWith(license, "license_suspended");
    await action("dispute", { dispute: dispute.id, close: "won" });
    await until("access again", async () => (await get("/v1/a", license)).status === 200);
  });

  test("cancelled now is over; paused is suspended, and comes back", async () => {
    const paused = await buy("pro", "hal@example.com");
    await action("pause", { subscription: await subscriptionOf(paused.session) });
    await refusedWith(paused.license, "license_suspended");
    await action("resume", { subscription: await subscriptionOf(paused.session) });
    await until("access again", async () => (await get("/v1/a", paused.license)).status === 200);
    const cancelled = await buy("pro", "ida@example.com");
    await api("DELETE", `/v1/subscriptions/${await subscriptionOf(cancelled.session)}`);
    await refusedWith(cancelled.license, "license_expired");
  });

  test("what the operator revoked no event revives", async () => {
    const { license, session } = await buy("pro", "jo@example.com");
    const out = await run(["license", "revoke", license, "--config", path.join(dir, "pontage.toml")], {
      cwd: dir,
      env: { PONTAGE_EVM_KEY: config.evmKey("facilitator"), STRIPE_SECRET_KEY: "x", STRIPE_WEBHOOK_SECRET: "x", RESEND_API_KEY: "x" },
    });
    assert.equal(out.code, 0, out.stderr);
    await refusedWith(license, "license_revoked");
    await api("POST", `/v1/subscriptions/${await subscriptionOf(session)}`, { "metadata[x]": "y" });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    assert.equal((await get("/v1/a", license)).status, 401);
  });
});

describe("the webhook", () => {
  const sign = (body, at = Math.floor(Date.now() / 1000), key = secret) =>
    `t=${at},v1=${crypto.createHmac("sha256", key).update(`${at}.${body}`).digest("hex")}`;
  const deliver = (body, header) =>
    fetch(`${server.url}/webhooks/stripe`, { method: "POST", headers: header === undefined ? {} : { "stripe-signature": header }, body });
  const event = (type, object = { id: "x", object: "thing" }) =>
    JSON.stringify({ id: `evt_${crypto.randomBytes(8).toString("hex")}`, object: "event", api_version: "2026-10-28.endive", created: Math.floor(Date.now() / 1000), livemode: false, type, data: { object } });

  test("believes what is signed now, and says the same about everything else", async () => {
    const body = event("some.future.type");
    const good = await deliver(body, sign(body));
    assert.equal(good.status, 200);
    const now = Math.floor(Date.now() / 1000);
    const bad = {
      "no header": undefined,
      "another secret": sign(body, now, "whsec_other"),
      "another body": sign(`${body} `),
      old: sign(body, now - 310),
      early: sign(body, now + 90),
      garbage: "v1=zz",
    };
    const said = new Set();
    for (const [what, header] of Object.entries(bad)) {
      const answer = await deliver(body, header);
      assert.equal(answer.status, 400, what);
      const { code, title, detail } = await answer.json();
      said.add(JSON.stringify([code, title, detail]));
    }
    assert.equal(said.size, 1);
  });
  test("refuses what is no event, and what is too long", async () => {
    for (const body of ["{}", "[]", "null", '{"object":"event"}', "{"]) {
      assert.equal((await deliver(body, sign(body))).status, 400, body);
    }
    const large = JSON.stringify({ pad: "x".repeat(1 << 20) });
    assert.equal((await deliver(large, sign(large))).status, 413);
  });
  test("takes one event once, of any number at once", async () => {
    const body = event("customer.subscription.updated", { id: "sub_none", object: "subscription" });
    const answers = await Promise.all(Array.from({ length: 32 }, () => deliver(body, sign(body))));
    assert.ok(answers.every((one) => one.status === 200));
  });
});

describe("a buyer who comes back", () => {
  test("reaches his invoices with the license, and nobody else's", async () => {
    const { license } = await buy("pro", "kim@example.com");
    const answer = await post("/billing/portal", { license });
    assert.equal(answer.status, 200, await answer.clone().text());
    assert.ok((await answer.json()).url.startsWith(stripe));
    const form = await fetch(`${server.url}/billing/portal`, { method: "POST", redirect: "manual", body: new URLSearchParams({ license }) });
    assert.equal(form.status, 303);
    const bad = await post("/billing/portal", { license: `${license}x` });
    assert.ok(bad.status >= 400 && bad.status < 500);
    assert.equal((await bad.json()).pointer, "/license");
  });
  test("is sent his license again, and nobody learns who has one", async () => {
    const { license } = await buy("pro", "lou@example.com");
    const bodies = new Set();
    for (const email of ["lou@example.com", "nobody@example.com", "not an address", ""]) {
      const answer = await post("/billing/resend", { email });
      assert.equal(answer.status, 200);
      bodies.add(await answer.text());
    }
    assert.equal(bodies.size, 1);
    await until("both mails", async () => (await mailsTo("lou@example.com")).length === 2);
    assert.ok(license);
  });
  test("sees what there is to buy, as a page and as JSON", async () => {
    const json = await (await fetch(`${server.url}/billing`, { headers: { accept: "application/json" } })).json();
    assert.deepEqual(json.plans.map((one) => [one.plan, one.price]), [["pro", "$29/month"], ["week", "$9"]]);
    const page = await fetch(`${server.url}/billing`, { headers: { accept: "text/html" } });
    assert.match(page.headers.get("content-security-policy"), /default-src 'none'/);
    assert.match(await page.text(), /\$29\/month/);
  });
});

// Last: it moves the clock of the double, and so what everybody else has paid for.
describe("a renewal", () => {
  test("each paid period has its invoice and the file of it, on the page and by mail; the license stays", async () => {
    const { license, session, invoice_url, invoice_pdf } = await buy("pro", "ivy@example.com");
    assert.ok(invoice_url.startsWith(stripe) && invoice_pdf.startsWith(stripe));
    const first = await until("the mail", async () => (await mailsTo("ivy@example.com"))[0]);
    const textOf = async ({ id }) => (await (await fetch(`${sandbox.mailbox}/emails/${id}`, { headers: { authorization: "Bearer re_x", "user-agent": "test" } })).json()).text;
    assert.ok((await textOf(first)).includes(invoice_pdf));
    await action("advance", { seconds: String(32 * 86_400) });
    const receipt = await until("the mail of the renewal", async () => (await mailsTo("ivy@example.com")).find((one) => one.id !== first.id), 20_000);
    const invoices = await api("GET", "/v1/invoices", { subscription: await subscriptionOf(session), status: "paid" });
    assert.equal(invoices.data.length, 2);
    const text = await textOf(receipt);
    assert.ok(text.includes(invoices.data[0].invoice_pdf) && !text.includes(license));
    const page = await (await fetch(`${server.url}/billing/success?session_id=${session}`, { headers: { accept: "text/html" } })).text();
    assert.ok(page.includes(invoices.data[0].invoice_pdf) && page.includes(license));
  });
});

describe("a shop whose licenses are claimed", () => {
  let shop;
  before(async () => {
    await server.stop(); // one store, one writer
    server = undefined;
    shop = (await openShop('delivery = "claim"')).server;
  });
  after(() => shop?.stop());
  const claim = (fields, accept = "application/json") =>
    fetch(`${shop.url}/billing/claim`, {
      method: "POST",
      headers: { "content-type": "application/json", accept },
      body: JSON.stringify(fields),
    });

  test("mails and shows a link, which shows the license once", async () => {
    const opened = await fetch(`${shop.url}/billing/checkout`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ plan: "pro", email: "joy@example.com" }),
    });
    const paid = await fetch((await opened.json()).url, { method: "POST", redirect: "manual", body: new URLSearchParams({ outcome: "paid" }) });
    const back = paid.headers.get("location");
    const said = await until("the license", async () => {
      const json = await (await fetch(back, { headers: { accept: "application/json" } })).json();
      return json.state === "ready" ? json : undefined;
    });
    assert.equal(said.license, undefined);
    const mail = await until("the mail", async () => (await mailsTo("joy@example.com"))[0]);
    const { text } = await (await fetch(`${sandbox.mailbox}/emails/${mail.id}`, { headers: { authorization: "Bearer re_x", "user-agent": "test" } })).json();
    assert.ok(!/^eyJ/m.test(text), "no license in the mail");
    const link = new URL(/http\S+\/billing\/claim\?token=\S+/.exec(text)[0]);
    const token = link.searchParams.get("token");

    // What follows links, opens nothing: a button has to be pressed.
    for (const url of [link, said.claim_url]) {
      const page = await fetch(url, { headers: { accept: "text/html" } });
      assert.equal(page.status, 200);
      assert.match(await page.text(), /<form method="post" action="\/billing\/claim">/);
    }
    const { license } = await (await claim({ token })).json();
    assert.equal((await fetch(`${shop.url}/v1/a`, { headers: { authorization: `Bearer ${license}` } })).status, 200);
    const again = await claim({ token });
    assert.equal(again.status, 404);
    assert.equal((await again.json()).pointer, "/token");

    const session_id = new URL(back).searchParams.get("session_id");
    const both = await Promise.all([claim({ session_id }), claim({ session_id })]);
    assert.deepEqual(both.map((one) => one.status).sort(), [200, 404]);
    const shown = await both.find((one) => one.status === 200).json();
    assert.equal(shown.license, license);
    assert.equal((await claim({})).status, 400);
    assert.equal((await claim({ token: "clm_x" })).status, 404);
  });
});
