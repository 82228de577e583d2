// What the double tells its webhook endpoints, as Stripe's own client reads it: signatures, snapshot and thin events, and
// what its knobs do to a delivery.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, beforeEach, describe, test } from "node:test";
import { kVersion, openDouble, periodEnd } from "./lib/stripe_double.mjs";

let double, sandbox, stripe, act, advance, subscribe, receiver;
before(async () => {
  double = await openDouble();
  ({ sandbox, stripe, act, advance, subscribe } = double);
  receiver = await startReceiver();
});
after(async () => {
  await receiver?.stop();
  await double?.stop();
});

// A webhook endpoint that keeps what it is sent, raw, and answers with `status`.
async function startReceiver() {
  const self = { got: [], status: 200 };
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    self.got.push({ body: Buffer.concat(chunks).toString(), signature: request.headers["stripe-signature"] });
    response.writeHead(self.status).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  self.url = `http://127.0.0.1:${server.address().port}/webhooks/stripe`;
  self.stop = () => new Promise((resolve) => server.close(resolve).closeAllConnections());
  // Waits until `enough(events)`, whatever order they come in.
  self.until = async (enough, what) => {
    for (const end = Date.now() + 15_000; Date.now() < end; ) {
      if (enough(self.got)) return self.got;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.fail(`${what}: only ${self.got.length} came: ${self.got.map((one) => JSON.parse(one.body).type)}`);
  };
  return self;
}

describe("events", () => {
  let endpoint;
  before(async () => {
    endpoint = await stripe.webhookEndpoints.create({
      url: receiver.url,
      enabled_events: ["*"],
      api_version: kVersion,
    });
  });
  after(async () => {
    const gone = await stripe.webhookEndpoints.del(endpoint.id);
    assert.equal(gone.deleted, true);
  });
  beforeEach(async () => {
    await act("faults", { reset: "true" });
    // What earlier tests left under way.
    await settled();
    receiver.got.length = 0;
    receiver.status = 200;
  });

  async function settled() {
    for (const end = Date.now() + 15_000; Date.now() < end; ) {
      const state = await (await fetch(`${sandbox.stripe}/_test/state`)).json();
      if (state.deliveries_waiting === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const verify = ({ body, signature }, secret = endpoint.secret) => stripe.webhooks.constructEvent(body, signature, secret);
  const typesOf = (got) => got.map((one) => JSON.parse(one.body).type);
  // In the order in which it happens.
  const kBurst = [
    "customer.created",
    "invoice.created",
    "customer.subscription.created",
    "invoice.finalized",
    "payment_intent.created",
    "payment_intent.succeeded",
    "charge.succeeded",
    "invoice_payment.paid",
    "invoice.paid",
    "invoice.payment_succeeded",
    "customer.subscription.updated",
    "checkout.session.completed",
  ];

  test("a purchase sends its burst, signed, in the endpoint's version", async () => {
    const { session, subscription } = await subscribe();
    const got = await receiver.until((all) => kBurst.every((type) => typesOf(all).includes(type)), "the burst");
    for (const one of got) {
      const event = verify(one);
      assert.equal(event.object, "event");
      assert.equal(event.api_version, kVersion);
      assert.equal(event.livemode, false);
      assert.throws(() => verify(one, "whsec_other"), { type: "StripeSignatureVerificationError" });
      const fetched = await stripe.events.retrieve(event.id);
      assert.equal(fetched.type, event.type);
    }
    const events = got.map((one) => JSON.parse(one.body));
    const completed = events.find((event) => event.type === "checkout.session.completed");
    assert.equal(completed.data.object.id, session.id);
    assert.equal(completed.data.object.subscription, subscription.id);
    const updated = events.find((event) => event.type === "customer.subscription.updated");
    assert.equal(updated.data.object.status, "active");
    assert.equal(updated.data.previous_attributes.status, "incomplete");
    const made = events.find((event) => event.type === "price.created");
    assert.match(made.request.id, /^req_/);
  });

  test("a failing endpoint is asked again, and what is undelivered can be listed", async () => {
    receiver.status = 500;
    const since = (await advance(0)).now;
    const { id } = await stripe.customers.create({ email: "retry@acme.example" });
    await receiver.until((all) => all.length >= 1, "the first try");
    const missed = await stripe.events.list({
      created: { gte: since },
      types: ["customer.created"],
      delivery_success: false,
      limit: 100,
    });
    assert.equal(missed.data[0].data.object.id, id);
    receiver.status = 200;
    const got = await receiver.until((all) => all.length >= 2, "the second try");
    assert.equal(verify(got[1]).id, verify(got[0]).id);
    await settled();
    const left = await stripe.events.list({ created: { gte: since }, delivery_success: false });
    assert.deepEqual(left.data, []);
  });

  test("duplicates, another order, dropped ones and a redelivery", async () => {
    await act("faults", { duplicate: 1, shuffle: 42 });
    await subscribe();
    const got = await receiver.until(
      (all) => kBurst.every((type) => typesOf(all).filter((other) => other === type).length >= 2),
      "each twice",
    );
    const first = (type) => typesOf(got).indexOf(type);
    const order = kBurst.map(first);
    assert.notDeepEqual(order, order.toSorted((a, b) => a - b));
    await act("faults", { reset: "true", drop: 1 });
    await settled();
    receiver.got.length = 0;
    const { id } = await stripe.customers.create({ email: "dropped@acme.example" });
    await settled();
    assert.deepEqual(receiver.got, []);
    const [missed] = (await stripe.events.list({ type: "customer.created", delivery_success: false })).data;
    assert.equal(missed.data.object.id, id);
    await act(`events/${missed.id}/redeliver`);
    await receiver.until((all) => all.length === 1, "the redelivery");
  });

  test("while a secret is rolled both verify", async () => {
    const rolled = await act("faults", { rotate_secret: 600 });
    const fresh = rolled.endpoints.find((one) => one.id === endpoint.id).secret;
    await stripe.customers.create({ email: "rolled@acme.example" });
    const [one] = await receiver.until((all) => all.length >= 1, "the event");
    assert.equal(verify(one).id, verify(one, fresh).id);
    endpoint.secret = fresh;
  });

  test("thin events", async () => {
    await act("faults", { thin: "1" });
    const { id } = await stripe.customers.create({ email: "thin@acme.example" });
    const [one] = await receiver.until((all) => all.length >= 1, "the thin event");
    const notification = await stripe.parseEventNotification(one.body, one.signature, endpoint.secret);
    assert.equal(notification.type, "v1.customer.created");
    assert.equal(notification.related_object.id, id);
    assert.equal((await notification.fetchRelatedObject()).email, "thin@acme.example");
    assert.equal((await notification.fetchEvent()).id, notification.id);
    assert.equal((await stripe.events.retrieve(JSON.parse(one.body).snapshot_event)).data.object.id, id);
  });

  test("old shapes for those who ask for them", async () => {
    const old = await stripe.webhookEndpoints.create({
      url: `${receiver.url}/old`,
      enabled_events: ["customer.subscription.created", "invoice.paid"],
      api_version: "2024-09-30.acacia",
    });
    await stripe.webhookEndpoints.update(endpoint.id, { disabled: true });
    const { subscription } = await subscribe();
    const got = await receiver.until((all) => all.length >= 2, "the two");
    const events = got.map((one) => verify(one, old.secret));
    assert.ok(events.every((event) => event.api_version === "2024-09-30.acacia"));
    const created = events.find((event) => event.type === "customer.subscription.created").data.object;
    assert.equal(created.current_period_end, periodEnd(subscription));
    assert.equal("current_period_end" in created.items.data[0], false);
    const paid = events.find((event) => event.type === "invoice.paid").data.object;
    assert.equal(paid.subscription, subscription.id);
    assert.equal(paid.paid, true);
    assert.match(paid.payment_intent, /^pi_/);
    await stripe.webhookEndpoints.del(old.id);
    await stripe.webhookEndpoints.update(endpoint.id, { disabled: false });
  });
});
