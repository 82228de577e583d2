// A shop with everything it leans on, and a hand in its books.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import * as config from "./config.mjs";
import { run } from "./pontage.mjs";
import { startSandbox } from "./sandbox.mjs";
import { openShop, until } from "./shop.mjs";
import { startUpstream } from "./upstream.mjs";

const kPlans = {
  pro: { price: "$29/month", form: { unit_amount: "2900", "recurring[interval]": "month" } },
  team: { price: "$99/month", form: { unit_amount: "9900", "recurring[interval]": "month" } },
  week: { price: "$9", more: "days = 7", form: { unit_amount: "900" } },
};

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// `plans`: what each costs here (`price`, and `more` TOML) and at Stripe (`form`). `sections`: more TOML. The server is not
// started.
export async function startHouse({ plans = kPlans, sections } = {}) {
  const sandbox = await startSandbox();
  const upstream = await startUpstream();
  const tables = Object.entries(plans).map(([name, { price, more = "" }]) => `[[plan]]\nname = "${name}"\nprice = "${price}"\n${more}\n`);
  const names = Object.keys(plans).map((name) => JSON.stringify(name));
  const shop = await openShop({
    sandbox,
    upstream: upstream.url,
    routes: `${tables.join("")}[[route]]\nmatch = "GET /v1/*"\nupstream = "api"\nprice = "$0.001"\nplans = [${names.join(", ")}]\n`,
    plans: Object.fromEntries(Object.entries(plans).map(([name, { form }]) => [name, form])),
    sections,
  });
  fs.writeFileSync(path.join(shop.dir, "pontage.toml"), shop.toml);
  const { api, url } = shop;
  const env = { PONTAGE_EVM_KEY: config.evmKey("facilitator"), ...shop.keys };

  const house = {
    ...shop,
    env,
    get server() {
      return shop.server;
    },
    start: () => shop.start(),
    async stop() {
      await shop.server?.stop();
      shop.server = undefined;
    },
    async end() {
      await house.stop();
      await upstream.stop();
      await sandbox.stop();
      fs.rmSync(shop.dir, { recursive: true, force: true });
    },
    pontage: (args, more = {}) => run(args, { cwd: shop.dir, env: { ...env, ...more } }),

    // SQL on the store, for what no program would do to it.
    sql(text, ...values) {
      const db = new DatabaseSync(path.join(shop.dir, "pontage.db"));
      try {
        db.exec("PRAGMA busy_timeout = 5000");
        return db.prepare(text).all(...values).map((row) => ({ ...row }));
      } finally {
        db.close();
      }
    },
    // {name{labels}: number} of all whose line begins so.
    async metric(name) {
      const text = await (await fetch(`${shop.server.metricsUrl}/metrics`)).text();
      const lines = text.split("\n").filter((line) => line.startsWith(name));
      return Object.fromEntries(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
    },

    // A session as Stripe's own payment links open one, past our server.
    session: (price, email, recurring = true) =>
      api("POST", "/v1/checkout/sessions", {
        mode: recurring ? "subscription" : "payment",
        "line_items[0][price]": price,
        "line_items[0][quantity]": "1",
        success_url: `${url}/billing/success?session_id={CHECKOUT_SESSION_ID}`,
        ...(email ? { customer_email: email } : {}),
        ...(recurring ? {} : { "invoice_creation[enabled]": "true" }),
      }),
    // Pays on the hosted page and does not come back. Gives {session, subscription, customer}.
    async pay(page) {
      const session = await shop.press(page);
      const { subscription, customer } = await api("GET", `/v1/checkout/sessions/${session}`);
      return { session, subscription, customer };
    },
    async buy(plan, email) {
      if (shop.server) return house.pay(await shop.checkout(plan, email));
      return house.pay((await house.session(shop.prices[plan], email, plans[plan].price.includes("/"))).url);
    },
    // What the buyer's browser would show: {license, …}.
    success: (session) => until("the license", () => shop.bought(session)),
    licensesOf: (email) => house.sql("SELECT * FROM license WHERE email = ? ORDER BY created_ms", email),
    licenseOf: (email) => until(`the license of ${email}`, () => house.licensesOf(email)[0]),
    // Nothing is on its way any more: neither at Stripe nor in our inbox.
    settled: () =>
      until("all events dealt with", async () => {
        const { deliveries_waiting } = await api("GET", "/_test/state");
        return deliveries_waiting === 0 && house.sql("SELECT id FROM stripe_event WHERE state = 'new'").length === 0;
      }),
    // Whether Stripe knows where to send events; what happens meanwhile it never tells.
    deaf: (is) => api("POST", `/v1/webhook_endpoints/${shop.hook.id}`, { disabled: String(is) }),
    // The report of `pontage reconcile`, which must end with `code`.
    async reconcile(code = 0) {
      const done = await house.pontage(["reconcile"]);
      assert.equal(done.code, code, done.stderr + done.stdout);
      return JSON.parse(done.stdout);
    },
  };
  return house;
}
