// A seller on the card rail: his plans at Stripe's double, the endpoint that it delivers to, a `pontage serve` with
// everything on it that can be killed and started again, and what a buyer does with a browser.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { freePort } from "./nginx.mjs";
import { run, sellerConfig, startPontage } from "./pontage.mjs";
import { ask, createDatabase, holdTable } from "./postgres.mjs";
import { until as rigUntil } from "./rig.mjs";

export const kVersion = "2026-10-28.endive";
const kMailHeaders = { authorization: "Bearer re_x", "user-agent": "test" };

export const kPlans = `
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

const kPrices = {
  pro: { unit_amount: "2900", "recurring[interval]": "month" },
  week: { unit_amount: "900" },
};

export const until = (label, ask, withinMs = 20_000) => rigUntil(ask, { withinMs, everyMs: 50, label });

// `Stripe-Signature` for a body.
export const sign = (body, secret, at = Math.floor(Date.now() / 1000)) =>
  `t=${at},v1=${crypto.createHmac("sha256", secret).update(`${at}.${body}`).digest("hex")}`;

export function event(type, object = { id: "x", object: "thing" }, more = {}) {
  const id = `evt_${crypto.randomBytes(8).toString("hex")}`;
  const created = Math.floor(Date.now() / 1000);
  return JSON.stringify({ id, object: "event", api_version: kVersion, created, livemode: false, type, data: { object }, ...more });
}

// The shop is closed until start(). Its books are a file of SQLite's; with PTG_TEST_STORE=postgresql in the environment a
// database of PostgreSQL's. `mail` and `sections` are TOML; {smtp} of the sandbox is for `mail`.
export async function openShop({ sandbox, upstream, routes = kPlans, mail, server = "", sections = "", license = "", grace = 3, rpc = sandbox.rpc, plans = kPrices, stripeBase = sandbox.stripe }) {
  const stripe = sandbox.stripe;
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
  assert.equal((await run(["init", "--dir", dir])).code, 0);
  const database = process.env.PTG_TEST_STORE === "postgresql" ? await createDatabase() : undefined;
  const store = database?.url ?? "sqlite:pontage.db";
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;

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
  const prices = {};
  for (const [plan, form] of Object.entries(plans)) {
    const product = await api("POST", "/v1/products", { name: plan });
    prices[plan] = (await api("POST", "/v1/prices", { product: product.id, currency: "usd", lookup_key: plan, ...form })).id;
  }
  const hook = await api("POST", "/v1/webhook_endpoints", { url: `${url}/webhooks/stripe`, "enabled_events[0]": "*", api_version: kVersion });
  const toml = sellerConfig({
    rpc,
    upstream,
    routes,
    store,
    server: `public_url = "${url}"\n${server}`,
    sections: `
[license]
issuer = "https://api.example.com"
signing_key = "file:license.pem"
grace_days = ${grace}
${license}
[stripe]
api_key = "env:STRIPE_SECRET_KEY"
webhook_secret = ["env:STRIPE_WEBHOOK_SECRET"]
api_base = "${stripeBase}"
[mail]
from = "Example <keys@example.com>"
${mail ?? `provider = "resend"\napi_key = "env:RESEND_API_KEY"\napi_base = "${sandbox.mailbox}"`}
${sections}
`,
  }).replace('listen = "127.0.0.1:0"', `listen = "127.0.0.1:${port}"`);
  const keys = { STRIPE_SECRET_KEY: "sk_test_x", STRIPE_WEBHOOK_SECRET: hook.secret, RESEND_API_KEY: "re_x" };

  const shop = {
    sandbox, dir, url, toml, keys, api, prices, server: undefined, secret: hook.secret, hook,
    action: (name, form = {}) => api("POST", `/_test/${name}`, form),
    async start(env = {}, args = []) {
      shop.server = await startPontage(toml, { dir, env: { ...keys, ...env }, args });
      return shop.server;
    },
    async close() {
      await shop.server?.kill();
      await database?.drop();
      fs.rmSync(dir, { recursive: true, force: true });
    },
    post: (where, json, base = url) =>
      fetch(base + where, { method: "POST", redirect: "manual", headers: { "content-type": "application/json" }, body: JSON.stringify(json) }),
    get: (where, license, base = url) => fetch(base + where, { headers: license ? { authorization: `Bearer ${license}` } : {} }),
    // `header` null: none.
    deliver: (body, header = sign(body, hook.secret), base = url) =>
      fetch(`${base}/webhooks/stripe`, { method: "POST", headers: header === null ? {} : { "stripe-signature": header }, body }),
    // What came to `email`, whichever way.
    async mailsTo(email) {
      const all = [];
      for (let page = { has_more: true }; page.has_more; all.push(...page.data)) {
        const after = all.length ? `&after=${all.at(-1).id}` : "";
        page = await (await fetch(`${sandbox.mailbox}/emails?limit=100${after}`, { headers: kMailHeaders })).json();
      }
      return all.filter((one) => one.to.includes(email));
    },
    mail: async (id) => (await fetch(`${sandbox.mailbox}/emails/${id}`, { headers: kMailHeaders })).json(),
    mailbox: async (knob, json) => {
      const answer = await fetch(`${sandbox.mailbox}/_test/${knob}`, { method: "POST", body: JSON.stringify(json) });
      assert.equal(answer.status, 200, await answer.clone().text());
    },
    // Opens a checkout; gives the hosted page's address.
    async checkout(plan, email) {
      const opened = await shop.post("/billing/checkout", { plan, email });
      assert.equal(opened.status, 200, await opened.clone().text());
      return (await opened.json()).url;
    },
    // Presses a button of the hosted page; gives the session's id.
    async press(page, outcome = "paid") {
      const paid = await fetch(page, { method: "POST", redirect: "manual", body: new URLSearchParams({ outcome }) });
      assert.equal(paid.status, 303, await paid.text());
      return new URL(paid.headers.get("location")).searchParams.get("session_id");
    },
    // What the success page says; undefined while the license is on its way.
    async bought(session) {
      const where = `${url}/billing/success?session_id=${session}`;
      const answer = await fetch(where, { headers: { accept: "application/json" } });
      if (answer.status !== 200) return undefined;
      const json = await answer.json();
      return json.state === "ready" ? { session, ...json } : undefined;
    },
    async buy(plan, email, outcome = "paid") {
      const session = await shop.press(await shop.checkout(plan, email), outcome);
      return until("the license", () => shop.bought(session));
    },
    subscriptionOf: async (session) => (await api("GET", `/v1/checkout/sessions/${session}`)).subscription,
    async paymentOf(session) {
      const subscription = await shop.subscriptionOf(session);
      const { data } = await api("GET", "/v1/invoices", { subscription, status: "paid" });
      const payments = await api("GET", "/v1/invoice_payments", { invoice: data[0].id });
      return payments.data[0].payment.payment_intent;
    },
    // Rows of the books.
    rows(sql, ...values) {
      if (database) return ask(database.url, sql, values);
      const books = new DatabaseSync(path.join(dir, "pontage.db"), { readOnly: true });
      try {
        return books.prepare(sql).all(...values).map((row) => ({ ...row }));
      } finally {
        books.close();
      }
    },
    // Changes them behind everybody's back.
    change(sql, ...values) {
      if (database) return ask(database.url, sql, values);
      const books = new DatabaseSync(path.join(dir, "pontage.db"));
      books.exec("PRAGMA busy_timeout = 5000");
      books.prepare(sql).run(...values);
      books.close();
    },
    // Nobody writes to a table, of SQLite's to none of them, until what this resolves to is called.
    async hold(table) {
      if (database) return holdTable(database.url, table);
      const books = new DatabaseSync(path.join(dir, "pontage.db"));
      books.exec("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE");
      return () => {
        books.exec("ROLLBACK");
        books.close();
      };
    },
  };
  return shop;
}
