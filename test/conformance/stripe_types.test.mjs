// billing 18: what the sandbox's double answers and sends has the types of Stripe's own client, under tsc --strict.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { typeCheck } from "./lib/tsc.mjs";

const kDay = 86_400;
let sandbox, dir;
before(async () => {
  sandbox = await startSandbox();
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
});
after(async () => {
  await sandbox?.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function api(method, where, body) {
  const headers = { authorization: "Bearer sk_test_1", ...(body && { "content-type": "application/x-www-form-urlencoded" }) };
  const answer = await fetch(sandbox.stripe + where, { method, headers, body });
  const json = await answer.json();
  assert.equal(answer.status, 200, `${method} ${where}: ${JSON.stringify(json)}`);
  return json;
}

// Goes through everything that can become of a purchase, and keeps what the double said on the way.
async function collect() {
  const values = [];
  const put = (type, json) => values.push({ name: `${type} ${json.id}`, type: `Stripe.${type}`, json });
  const seen = new Set();
  // One event of each type.
  const events = async () => {
    for (let cursor = ""; ; ) {
      const page = await api("GET", `/v1/events?limit=100${cursor}`);
      for (const event of page.data) {
        if (seen.has(event.type)) continue;
        seen.add(event.type);
        put("Event", event);
      }
      if (!page.has_more) return;
      cursor = `&starting_after=${page.data.at(-1).id}`;
    }
  };
  const price = await api("POST", "/v1/prices", "currency=usd&unit_amount=2900&recurring[interval]=month&product_data[name]=Pro");
  const once = await api("POST", "/v1/prices", "currency=usd&unit_amount=2900&product_data[name]=Pro");
  put("Price", price);
  put("Price", once);
  put("Product", await api("GET", `/v1/products/${price.product}`));
  const customer = await api("POST", "/v1/customers", "email=a@b.c&address[country]=DE");
  put("Customer", customer);
  const open = (one, mode, more = "") => api("POST", "/v1/checkout/sessions", `mode=${mode}&line_items[0][price]=${one.id}&line_items[0][quantity]=1&success_url=https://x.example/{CHECKOUT_SESSION_ID}${more}`);
  const pay = (session, outcome) => {
    const body = new URLSearchParams({ outcome, email: "a@b.c", name: "Ann", tax_id: "DE123456789", business_name: "ACME" });
    return fetch(`${sandbox.stripe}/checkout/pay/${session.id}`, { method: "POST", redirect: "manual", body });
  };
  const sessionOf = async (session, more = "") => {
    const json = await api("GET", `/v1/checkout/sessions/${session.id}${more}`);
    put("Checkout.Session", json);
    return json;
  };
  const trial = await open(price, "subscription", "&automatic_tax[enabled]=true&tax_id_collection[enabled]=true&allow_promotion_codes=true&subscription_data[trial_period_days]=7&metadata[a]=b");
  put("Checkout.Session", trial);
  await pay(trial, "paid");
  await sessionOf(trial, "?expand[]=line_items");
  const renewing = await open(price, "subscription");
  await pay(renewing, "decline_renewal");
  const { subscription } = await sessionOf(renewing, "?expand[]=subscription&expand[]=customer");
  const bought = await open(once, "payment", "&invoice_creation[enabled]=true&customer_creation=always");
  await pay(bought, "paid");
  await sessionOf(bought);
  const declined = await open(price, "subscription");
  await pay(declined, "decline");
  await pay(declined, "3ds_fail");
  await pay(await open(price, "subscription"), "async");

  const dearer = await api("POST", "/v1/prices", "currency=usd&unit_amount=5900&recurring[interval]=month&product_data[name]=Pro");
  const change = async (body) => put("Subscription", await api("POST", `/v1/subscriptions/${subscription.id}`, body));
  await change(`items[0][id]=${subscription.items.data[0].id}&items[0][price]=${dearer.id}&proration_behavior=always_invoice`);
  await change("cancel_at_period_end=true");
  await change("cancel_at_period_end=false&pause_collection[behavior]=void");
  await change("pause_collection=");
  let quantity = 1;
  const openInvoice = async ({ id, items }, price) => {
    const body = `items[0][id]=${items.data[0].id}&items[0][price]=${price.id}&items[0][quantity]=${++quantity}&proration_behavior=always_invoice&payment_behavior=default_incomplete`;
    const changed = await api("POST", `/v1/subscriptions/${id}`, body);
    put("Subscription", changed);
    return changed.latest_invoice;
  };
  await api("POST", "/_test/pause", `subscription=${subscription.id}`);
  put("Subscription", await api("GET", `/v1/subscriptions/${subscription.id}`));
  await api("POST", "/_test/resume", `subscription=${subscription.id}`);
  await api("POST", "/_test/card", `subscription=${subscription.id}&card=paid`);
  const collectedByHand = await openInvoice(subscription, dearer);
  put("Invoice", await api("POST", `/v1/invoices/${collectedByHand}/pay`, ""));
  const voided = await openInvoice(subscription, dearer);
  put("Invoice", await api("POST", `/v1/invoices/${voided}/mark_uncollectible`, ""));
  put("Invoice", await api("POST", `/v1/invoices/${voided}/void`, ""));
  await api("POST", "/_test/card", `subscription=${subscription.id}&card=decline_renewal`);
  await events();
  for (const days of [3, 28, 3]) {
    await api("POST", `/_test/advance?seconds=${days * kDay}`);
    await events();
  }
  const all = async (type, where) => {
    const { data } = await api("GET", where);
    assert.ok(data.length > 0, where);
    for (const one of data) put(type, one);
    return data;
  };
  await all("Subscription", "/v1/subscriptions?status=all&limit=100");
  await all("Invoice", "/v1/invoices?limit=100&expand[]=data.payments");
  await all("InvoicePayment", "/v1/invoice_payments?limit=100");
  await all("PaymentIntent", "/v1/payment_intents?limit=100");
  const charges = (await all("Charge", "/v1/charges?limit=100")).filter((one) => one.status === "succeeded");
  put("Refund", await api("POST", "/v1/refunds", `amount=5&reason=duplicate&charge=${charges[0].id}`));
  put("Charge", await api("GET", `/v1/charges/${charges[0].id}?expand[]=refunds`));
  const dispute = await api("POST", "/_test/dispute", `charge=${charges[1].id}`);
  put("Dispute", dispute);
  put("Dispute", await api("POST", "/_test/dispute", `close=won&dispute=${dispute.id}`));
  put("PaymentMethod", await api("GET", `/v1/payment_methods/${charges[0].payment_method}`));
  put("BillingPortal.Configuration", (await api("GET", "/v1/billing_portal/configurations")).data[0]);
  put("BillingPortal.Configuration", await api("POST", "/v1/billing_portal/configurations", `features[subscription_update][enabled]=true&features[subscription_update][products][0][product]=${price.product}&features[subscription_update][products][0][prices][]=${price.id}`));
  put("BillingPortal.Session", await api("POST", "/v1/billing_portal/sessions", `customer=${customer.id}`));
  put("BillingPortal.Session", await api("POST", "/v1/billing_portal/sessions", `customer=${subscription.customer}&flow_data[type]=subscription_cancel&flow_data[subscription_cancel][subscription]=${subscription.id}`));
  put("WebhookEndpoint", await api("POST", "/v1/webhook_endpoints", "url=https://x.example&enabled_events[]=*&api_version=2026-10-28.endive"));
  put("DeletedCustomer", await api("DELETE", `/v1/customers/${customer.id}`));
  await events();
  return { values, seen };
}

test("billing 18: answers and events have the types of Stripe's client, strictly", { timeout: 200_000 }, async () => {
  const { values, seen } = await collect();
  for (const type of ["checkout.session.completed", "customer.subscription.created", "customer.subscription.updated", "customer.subscription.paused", "invoice.paid", "invoice.payment_failed", "refund.created", "charge.dispute.created", "invoice_payment.paid"]) {
    assert.ok(seen.has(type), `no ${type} among ${[...seen]}`);
  }
  assert.equal(await typeCheck(values, dir), "");
});

test("the compiler would say so", { timeout: 100_000 }, async () => {
  const complaint = async (type, json) => typeCheck([{ name: "one", type, json }], dir);
  assert.match(await complaint("Stripe.CustomerCreateParams", { email: "a@b.c", tenant: "x" }), /one: .*"tenant"' does not exist/);
  assert.match(await complaint("Stripe.BillingPortal.SessionCreateParams", { customer: 7 }), /one: .*not assignable/);
  assert.equal(await complaint("Stripe.CustomerCreateParams", { email: "a@b.c" }), "");
});
