// The sandbox's double of Stripe with Stripe's own client at it, and what a buyer does there.
import assert from "node:assert/strict";
import Stripe from "stripe";
import { startSandbox } from "./sandbox.mjs";

export const kVersion = "2026-10-28.endive";

export const periodEnd = (subscription) => Math.max(...subscription.items.data.map((item) => item.current_period_end));
export const intentOf = (invoice) => invoice.payments.data[0].payment.payment_intent;

export async function openDouble() {
  const sandbox = await startSandbox(["--stripe-port", "0"]);
  function client(key = "sk_test_conformance", options = {}) {
    const { hostname, port } = new URL(sandbox.stripe);
    return new Stripe(key, {
      host: hostname,
      port,
      protocol: "http",
      apiVersion: kVersion,
      maxNetworkRetries: 0,
      telemetry: false,
      ...options,
    });
  }
  const stripe = client();

  async function act(name, params = {}) {
    const answer = await fetch(`${sandbox.stripe}/_test/${name}`, { method: "POST", body: new URLSearchParams(params) });
    const said = await answer.json();
    assert.equal(answer.status, 200, JSON.stringify(said));
    return said;
  }
  const advance = (seconds) => act("advance", { seconds });

  async function makePrice(params = {}) {
    const product = await stripe.products.create({ name: "Pro" });
    return stripe.prices.create({
      product: product.id,
      currency: "usd",
      unit_amount: 2900,
      recurring: { interval: "month" },
      ...params,
    });
  }

  // What a browser does with the hosted page.
  async function pay(session, outcome = "paid", fields = { email: "ann@buyer.example" }) {
    const page = await fetch(session.url);
    assert.equal(page.status, 200);
    assert.match(await page.text(), new RegExp(`name="outcome" value="${outcome}"`));
    return fetch(session.url, { method: "POST", redirect: "manual", body: new URLSearchParams({ outcome, ...fields }) });
  }

  async function subscribe({ outcome = "paid", session = {}, price } = {}) {
    const one = price ?? (await makePrice());
    const opened = await stripe.checkout.sessions.create({
      mode: "subscription",
      line_items: [{ price: one.id, quantity: 1 }],
      success_url: "https://shop.example/ok?sid={CHECKOUT_SESSION_ID}",
      ...session,
    });
    const answer = await pay(opened, outcome);
    assert.equal(answer.status, 303);
    assert.equal(answer.headers.get("location"), `https://shop.example/ok?sid=${opened.id}`);
    const done = await stripe.checkout.sessions.retrieve(opened.id, {
      expand: ["subscription", "line_items", "customer"],
    });
    return { price: one, session: done, subscription: done.subscription };
  }

  const whenOf = (subscription) => stripe.subscriptions.retrieve(subscription.id, { expand: ["latest_invoice.payments"] });

  // Goes to the end of the period and an hour on, when the invoice is collected.
  async function renew(subscription) {
    const { now } = await advance(0);
    await advance(periodEnd(subscription) - now + 3_600);
    return whenOf(subscription);
  }

  return { sandbox, stripe, client, act, advance, makePrice, pay, subscribe, whenOf, renew, stop: () => sandbox.stop() };
}
