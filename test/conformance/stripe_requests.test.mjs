// billing 4 and 18: what Pontage asks of Stripe is what Stripe's own client would ask, field by field, and has nothing
// in it that Stripe's published API does not know. Pontage talks to the sandbox's double through a door that keeps
// what passes; each kind of call is then made again by the client, to a door that keeps it as well.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import Stripe from "stripe";
import { run } from "../rig/src/pontage.mjs";
import { kVersion, openShop, until } from "../rig/src/shop.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";
import { typeCheck } from "./lib/tsc.mjs";

// Each call that Pontage makes: how the client makes it, and the type of its parameters.
const kCalls = {
  "POST /v1/customers": [(s, p) => s.customers.create(p), "Stripe.CustomerCreateParams"],
  "GET /v1/customers": [(s, p) => s.customers.list(p), "Stripe.CustomerListParams"],
  "GET /v1/customers/:id": [(s, p, id) => s.customers.retrieve(id, p), "Stripe.CustomerRetrieveParams"],
  "POST /v1/products": [(s, p) => s.products.create(p), "Stripe.ProductCreateParams"],
  "GET /v1/products": [(s, p) => s.products.list(p), "Stripe.ProductListParams"],
  "POST /v1/prices": [(s, p) => s.prices.create(p), "Stripe.PriceCreateParams"],
  "GET /v1/prices": [(s, p) => s.prices.list(p), "Stripe.PriceListParams"],
  "GET /v1/prices/:id": [(s, p, id) => s.prices.retrieve(id, p), "Stripe.PriceRetrieveParams"],
  "POST /v1/checkout/sessions": [(s, p) => s.checkout.sessions.create(p), "Stripe.Checkout.SessionCreateParams"],
  "GET /v1/checkout/sessions": [(s, p) => s.checkout.sessions.list(p), "Stripe.Checkout.SessionListParams"],
  "GET /v1/checkout/sessions/:id": [(s, p, id) => s.checkout.sessions.retrieve(id, p), "Stripe.Checkout.SessionRetrieveParams"],
  "POST /v1/billing_portal/sessions": [(s, p) => s.billingPortal.sessions.create(p), "Stripe.BillingPortal.SessionCreateParams"],
  "POST /v1/billing_portal/configurations": [(s, p) => s.billingPortal.configurations.create(p), "Stripe.BillingPortal.ConfigurationCreateParams"],
  "POST /v1/billing_portal/configurations/:id": [(s, p, id) => s.billingPortal.configurations.update(id, p), "Stripe.BillingPortal.ConfigurationUpdateParams"],
  "GET /v1/billing_portal/configurations": [(s, p) => s.billingPortal.configurations.list(p), "Stripe.BillingPortal.ConfigurationListParams"],
  "POST /v1/webhook_endpoints": [(s, p) => s.webhookEndpoints.create(p), "Stripe.WebhookEndpointCreateParams"],
  "POST /v1/webhook_endpoints/:id": [(s, p, id) => s.webhookEndpoints.update(id, p), "Stripe.WebhookEndpointUpdateParams"],
  "GET /v1/webhook_endpoints": [(s, p) => s.webhookEndpoints.list(p), "Stripe.WebhookEndpointListParams"],
  "GET /v1/subscriptions": [(s, p) => s.subscriptions.list(p), "Stripe.SubscriptionListParams"],
  "GET /v1/subscriptions/:id": [(s, p, id) => s.subscriptions.retrieve(id, p), "Stripe.SubscriptionRetrieveParams"],
  "POST /v1/subscriptions/:id": [(s, p, id) => s.subscriptions.update(id, p), "Stripe.SubscriptionUpdateParams"],
  "DELETE /v1/subscriptions/:id": [(s, p, id) => s.subscriptions.cancel(id, p), "Stripe.SubscriptionCancelParams"],
  "GET /v1/subscription_items": [(s, p) => s.subscriptionItems.list(p), "Stripe.SubscriptionItemListParams"],
  "GET /v1/invoices": [(s, p) => s.invoices.list(p), "Stripe.InvoiceListParams"],
  "GET /v1/invoices/:id": [(s, p, id) => s.invoices.retrieve(id, p), "Stripe.InvoiceRetrieveParams"],
  "GET /v1/invoices/:id/lines": [(s, p, id) => s.invoices.listLineItems(id, p), "Stripe.InvoiceListLineItemsParams"],
  "GET /v1/invoice_payments/:id": [(s, p, id) => s.invoicePayments.retrieve(id, p), "Stripe.InvoicePaymentRetrieveParams"],
  "GET /v1/charges/:id": [(s, p, id) => s.charges.retrieve(id, p), "Stripe.ChargeRetrieveParams"],
  "GET /v1/invoice_payments": [(s, p) => s.invoicePayments.list(p), "Stripe.InvoicePaymentListParams"],
  "GET /v1/refunds": [(s, p) => s.refunds.list(p), "Stripe.RefundListParams"],
  "GET /v1/refunds/:id": [(s, p, id) => s.refunds.retrieve(id, p), "Stripe.RefundRetrieveParams"],
  "POST /v1/refunds": [(s, p) => s.refunds.create(p), "Stripe.RefundCreateParams"],
  "GET /v1/disputes": [(s, p) => s.disputes.list(p), "Stripe.DisputeListParams"],
  "GET /v1/disputes/:id": [(s, p, id) => s.disputes.retrieve(id, p), "Stripe.DisputeRetrieveParams"],
  "GET /v1/events": [(s, p) => s.events.list(p), "Stripe.EventListParams"],
};
// Those that selling cannot do without.
const kUsual = ["POST /v1/customers", "POST /v1/checkout/sessions", "GET /v1/checkout/sessions/:id", "GET /v1/subscriptions/:id", "GET /v1/invoices", "GET /v1/invoice_payments",
  "GET /v1/refunds", "GET /v1/disputes", "POST /v1/billing_portal/sessions", "POST /v1/products", "POST /v1/prices", "POST /v1/webhook_endpoints", "POST /v1/billing_portal/configurations", "GET /v1/prices",
  "GET /v1/billing_portal/configurations", "POST /v1/billing_portal/configurations/:id", "POST /v1/webhook_endpoints/:id"];

// A door that keeps each request, and passes it on to `to` if there is one.
async function startDoor(to) {
  const calls = [];
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const [where, query = ""] = request.url.split("?");
    calls.push({ method: request.method, path: where, query, body: body.toString(), headers: request.headers });
    if (!to) return void response.setHeader("content-type", "application/json").end('{"id":"x_1","object":"list","data":[],"has_more":false}');
    const { host, connection, ...headers } = request.headers;
    const answer = await fetch(to + request.url, { method: request.method, headers, body: body.length ? body : undefined });
    response.statusCode = answer.status;
    for (const [name, value] of answer.headers) if (!["content-length", "connection", "keep-alive", "transfer-encoding"].includes(name)) response.setHeader(name, value);
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { calls, url: `http://127.0.0.1:${server.address().port}`, port: server.address().port, stop: () => new Promise((resolve) => server.close(resolve).closeAllConnections()) };
}

const kindOf = ({ method, path: where }) => `${method} ${where.replace(/\/[a-z]+_[A-Za-z0-9_]*[A-Z0-9][A-Za-z0-9_]*/g, "/:id")}`;
const idOf = ({ path: where }) => where.split("/").find((part) => /^[a-z]+_\w*[A-Z0-9]/.test(part));
const formOf = (call) => [...new URLSearchParams(call.method === "GET" || call.method === "DELETE" ? call.query : call.body)];
const sorted = (form) => form.map(([name, value]) => `${name}=${value}`).sort();

// Parameters as code writes them, out of a form.
function paramsOf(form) {
  const root = {};
  for (const [name, text] of form) {
    const keys = name.split(/\[|\]\[|\]/).filter((key) => key !== "");
    const free = keys.includes("metadata");
    const value = !free && /^(true|false|-?\d{1,15})$/.test(text) ? JSON.parse(text) : text;
    let at = root;
    keys.forEach((key, i) => {
      if (i === keys.length - 1) at[key] = value;
      else at = at[key] ??= /^\d+$/.test(keys[i + 1]) ? [] : {};
    });
  }
  return root;
}

let sandbox, upstream, door, client, dir, stripe;
before(async () => {
  sandbox = await startSandbox();
  upstream = await startUpstream();
  door = await startDoor(sandbox.stripe);
  client = await startDoor();
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
  stripe = new Stripe("sk_test_x", { host: "127.0.0.1", port: client.port, protocol: "http", apiVersion: kVersion, maxNetworkRetries: 0, telemetry: false });
});
after(async () => {
  await door?.stop();
  await client?.stop();
  await upstream?.stop();
  await sandbox?.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

// Everything that selling and setting up asks.
async function sell() {
  const shop = await openShop({ sandbox, upstream: upstream.url, stripeBase: door.url });
  try {
    await shop.start();
    const { license, session } = await shop.buy("pro", "ann+1@example.com");
    await shop.buy("week", "bob@example.com");
    assert.equal((await shop.post("/billing/portal", { license })).status, 200);
    // Of a payment that the books do not know Stripe is asked what it was for.
    await until("every event is dealt with", async () => {
      const { deliveries_waiting } = await (await fetch(`${sandbox.stripe}/_test/state`)).json();
      return deliveries_waiting === 0 && shop.rows("SELECT count(*) AS n FROM stripe_event WHERE state = 'new'")[0].n === 0;
    });
    const books = new DatabaseSync(path.join(shop.dir, "pontage.db"), { timeout: 5_000 });
    books.exec("DELETE FROM purchase_payment");
    books.close();
    await shop.api("POST", "/v1/refunds", { payment_intent: await shop.paymentOf(session), amount: "5" });
    await until("it was asked", () => door.calls.some((call) => kindOf(call) === "GET /v1/invoice_payments"));
    await shop.action("dispute", { subscription: await shop.subscriptionOf(session) });
    await until("suspended", async () => (await shop.get("/v1/a", license)).status === 401);
    // A thin event, of which everything has to be asked.
    await shop.action("faults", { thin: "1" });
    const other = await shop.buy("pro", "cy@example.com");
    await shop.api("POST", "/v1/refunds", { payment_intent: await shop.paymentOf(other.session) });
    await until("revoked", async () => (await shop.get("/v1/a", other.license)).status === 401);
    // Setting up anew, for plans that Stripe does not know.
    fs.writeFileSync(path.join(dir, "pontage.toml"), fs.readFileSync(path.join(shop.dir, "pontage.toml"), "utf8").replaceAll('"pro"', '"gold"').replaceAll('"week"', '"fortnight"').replace(shop.url, "https://other.example"));
    for (const name of ["license.pem", "jwks.json", "facilitator.key"]) {
      if (fs.existsSync(path.join(shop.dir, name))) fs.copyFileSync(path.join(shop.dir, name), path.join(dir, name));
    }
    for (let i = 0; i < 3; ++i) {
      if (i === 2) {
        // Another price list, and an endpoint that somebody made deaf.
        const file = path.join(dir, "pontage.toml");
        fs.writeFileSync(file, fs.readFileSync(file, "utf8").replaceAll('"gold"', '"silver"'));
        const { data } = await shop.api("GET", "/v1/webhook_endpoints", { limit: "100" });
        const { id } = data.find((one) => one.url.startsWith("https://other.example"));
        await shop.api("POST", `/v1/webhook_endpoints/${id}`, { "enabled_events[0]": "invoice.paid" });
      }
      const done = await run(["stripe", "setup", "--config", path.join(dir, "pontage.toml")], { cwd: dir, env: { ...shop.keys, PONTAGE_EVM_KEY: `0x${"11".repeat(32)}` } });
      assert.equal(done.code, 0, done.stdout + done.stderr);
    }
  } finally {
    await shop.close();
  }
}

test("billing 4: requests are those of Stripe's client, field by field, and of its types", { timeout: 200_000 }, async () => {
  await sell();
  const seen = new Map();
  const typed = [];
  for (const call of door.calls) {
    const kind = kindOf(call);
    const form = formOf(call);
    const known = kCalls[kind];
    assert.ok(known, `a call that this test does not know: ${kind} ${call.path}`);
    assert.equal(call.headers["stripe-version"], kVersion, kind);
    assert.match(call.headers.authorization, /^Bearer sk_test_/);
    if (call.method === "POST") assert.ok(call.headers["idempotency-key"], kind);
    else assert.equal(call.headers["idempotency-key"], undefined, kind);
    // One of each shape.
    const shape = `${kind} ${form.map(([name]) => name).sort()}`;
    if (seen.has(shape)) continue;
    seen.set(shape, kind);
    const params = paramsOf(form);
    client.calls.length = 0;
    await known[0](stripe, params, idOf(call));
    const [theirs] = client.calls;
    assert.equal(call.path, theirs.path);
    assert.equal(call.method, theirs.method);
    assert.deepEqual(sorted(form), sorted(formOf(theirs)), kind);
    // Version and type of what is sent are those of the client, too.
    assert.equal(theirs.headers["stripe-version"], kVersion);
    if (call.body) assert.equal(call.headers["content-type"], theirs.headers["content-type"]);
    typed.push({ name: shape, type: known[1], json: params });
  }
  for (const kind of kUsual) assert.ok([...seen.values()].includes(kind), `nobody asked ${kind}; there were ${[...new Set(seen.values())]}`);
  assert.equal(await typeCheck(typed, dir), "", "what Stripe's published API does not know");
});
