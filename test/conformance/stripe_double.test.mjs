// The sandbox's double of Stripe, driven by Stripe's own client: what it sends is understood, and what comes
// back (objects, lists, errors) it reads without complaint.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { intentOf, openDouble, periodEnd } from "./lib/stripe_double.mjs";

const kDay = 86_400;

let double, stripe, client, act, advance, makePrice, pay, subscribe, whenOf, renew;
before(async () => {
  double = await openDouble();
  ({ stripe, client, act, advance, makePrice, pay, subscribe, whenOf, renew } = double);
});
after(async () => {
  await double?.stop();
});

describe("buying", () => {
  test("a subscription, with every field where the captured requests put it", async () => {
    const customer = await stripe.customers.create(
      { email: "ann@acme.example", name: "ACME", metadata: { tenant_id: "acme" } },
      { idempotencyKey: "cus:acme" },
    );
    assert.equal(customer.object, "customer");
    const { session, subscription, price } = await subscribe({
      session: {
        customer: customer.id,
        client_reference_id: "acme",
        cancel_url: "https://shop.example/no",
        metadata: { tenant_id: "acme", plan: "pro" },
        subscription_data: { metadata: { tenant_id: "acme", plan: "pro" } },
        allow_promotion_codes: true,
        automatic_tax: { enabled: true },
        tax_id_collection: { enabled: true },
        customer_update: { address: "auto", name: "auto" },
      },
    });
    assert.equal(session.object, "checkout.session");
    assert.equal(session.status, "complete");
    assert.equal(session.payment_status, "paid");
    assert.equal(session.payment_intent, null);
    assert.equal(session.client_reference_id, "acme");
    assert.equal(session.customer.id, customer.id);
    assert.equal(session.customer_details.email, "ann@acme.example");
    assert.equal(session.line_items.data[0].price.id, price.id);
    assert.deepEqual({ ...subscription.metadata }, { tenant_id: "acme", plan: "pro" });
    assert.equal(subscription.status, "active");
    assert.equal("current_period_end" in subscription, false);

    const { latest_invoice: invoice } = await whenOf(subscription);
    assert.equal(invoice.parent.type, "subscription_details");
    assert.equal(invoice.parent.subscription_details.subscription, subscription.id);
    for (const gone of ["subscription", "payment_intent", "charge", "paid"]) assert.equal(gone in invoice, false);
    assert.equal(invoice.lines.data[0].period.end, periodEnd(subscription));
    const intent = await stripe.paymentIntents.retrieve(intentOf(invoice), { expand: ["latest_charge"] });
    assert.equal(intent.status, "succeeded");
    assert.equal(intent.latest_charge.paid, true);
    const payments = await stripe.invoicePayments.list({ invoice: invoice.id });
    assert.equal(payments.data[0].payment.payment_intent, intent.id);
    const pdf = await fetch(invoice.invoice_pdf);
    assert.equal(pdf.headers.get("content-type"), "application/pdf");
    assert.match(Buffer.from(await pdf.arrayBuffer()).toString("latin1"), /^%PDF-1\.4/);
    // The client turns decimals into numbers of its own.
    assert.equal(`${subscription.items.data[0].price.unit_amount_decimal}`, "2900");
  });

  test("a payment once, with an invoice", async () => {
    const price = await makePrice({ recurring: undefined });
    const opened = await stripe.checkout.sessions.create({
      mode: "payment",
      line_items: [{ price: price.id, quantity: 2 }],
      success_url: "https://shop.example/ok",
      invoice_creation: { enabled: true },
      customer_email: "once@buyer.example",
    });
    assert.equal((await pay(opened, "paid", {})).status, 303);
    const done = await stripe.checkout.sessions.retrieve(opened.id, { expand: ["invoice", "payment_intent"] });
    assert.equal(done.payment_status, "paid");
    assert.equal(done.payment_intent.amount_received, 5800);
    assert.equal(done.invoice.status, "paid");
    assert.equal(done.customer_details.email, "once@buyer.example");
  });

  test("what cannot be paid stays open, and what is ended cannot be paid", async () => {
    const price = await makePrice();
    const opened = await stripe.checkout.sessions.create({
      mode: "subscription",
      line_items: [{ price: price.id, quantity: 1 }],
      success_url: "https://shop.example/ok",
    });
    assert.equal((await pay(opened, "3ds_fail")).status, 402);
    assert.equal((await stripe.checkout.sessions.retrieve(opened.id)).status, "open");
    const ended = await stripe.checkout.sessions.expire(opened.id);
    assert.equal(ended.status, "expired");
    assert.equal((await fetch(opened.url, { method: "POST" })).status, 410);
    assert.deepEqual(
      (await stripe.checkout.sessions.listLineItems(opened.id)).data.map((item) => item.description),
      ["Pro"],
    );
  });

  test("endive took payment_method_types away", async () => {
    const price = await makePrice();
    await assert.rejects(
      stripe.checkout.sessions.create({
        mode: "subscription",
        line_items: [{ price: price.id, quantity: 1 }],
        success_url: "https://shop.example/ok",
        payment_method_types: ["card"],
      }),
      { type: "StripeInvalidRequestError", code: "parameter_unknown", param: "payment_method_types[0]" },
    );
  });
});

describe("time", () => {
  test("a renewal is paid an hour after its period began", async () => {
    const { subscription } = await subscribe();
    const { now } = await advance(0);
    await advance(periodEnd(subscription) - now);
    const begun = await whenOf(subscription);
    assert.equal(begun.status, "active");
    assert.ok(periodEnd(begun) > periodEnd(subscription));
    assert.equal(begun.latest_invoice.status, "draft");
    await advance(3_600);
    const paid = await whenOf(subscription);
    assert.equal(paid.latest_invoice.status, "paid");
    assert.equal(paid.latest_invoice.billing_reason, "subscription_cycle");
  });

  test("a renewal that fails is past due with the new period, and paid at the portal", async () => {
    const { subscription } = await subscribe({ outcome: "decline_renewal" });
    const late = await renew(subscription);
    assert.equal(late.status, "past_due");
    assert.ok(periodEnd(late) > periodEnd(subscription));
    assert.equal(late.latest_invoice.status, "open");
    const portal = await stripe.billingPortal.sessions.create({
      customer: subscription.customer,
      return_url: "https://shop.example/me",
    });
    const body = new URLSearchParams({ action: "pay_invoice", invoice: late.latest_invoice.id });
    const answer = await fetch(portal.url, { method: "POST", redirect: "manual", body });
    assert.equal(answer.status, 303);
    assert.equal((await whenOf(subscription)).status, "active");
  });

  test("after the last retry it is canceled", async () => {
    const { subscription } = await subscribe({ outcome: "decline_renewal" });
    await renew(subscription);
    await advance(15 * kDay);
    const over = await whenOf(subscription);
    assert.equal(over.status, "canceled");
    assert.equal(over.cancellation_details.reason, "payment_failed");
  });

  test("a trial begins without money", async () => {
    const { session, subscription } = await subscribe({ session: { subscription_data: { trial_period_days: 7 } } });
    assert.equal(session.payment_status, "no_payment_required");
    assert.equal(subscription.status, "trialing");
    const { now } = await advance(0);
    await advance(subscription.trial_end - now + 3_600);
    const paid = await whenOf(subscription);
    assert.equal(paid.status, "active");
    assert.equal(paid.latest_invoice.amount_paid, 2900);
  });

  test("canceling, now and later, and changing the plan", async () => {
    const { subscription } = await subscribe();
    const marked = await stripe.subscriptions.update(subscription.id, { cancel_at_period_end: true });
    assert.equal(marked.cancel_at, periodEnd(subscription));
    const kept = await stripe.subscriptions.update(subscription.id, { cancel_at_period_end: false });
    assert.equal(kept.cancel_at, null);
    const dearer = await makePrice({ unit_amount: 5900 });
    const item = subscription.items.data[0].id;
    const changed = await stripe.subscriptions.update(subscription.id, {
      items: [{ id: item, price: dearer.id }],
      proration_behavior: "always_invoice",
    });
    assert.equal(changed.items.data[0].id, item);
    assert.equal(changed.items.data[0].price.id, dearer.id);
    const listed = await stripe.subscriptionItems.list({ subscription: subscription.id });
    assert.deepEqual(listed.data.map((one) => one.id), [item]);
    await assert.rejects(stripe.subscriptionItems.list({ subscription: "sub_none" }), { code: "resource_missing", param: "subscription" });
    const { latest_invoice: invoice } = await whenOf(subscription);
    assert.equal(invoice.billing_reason, "subscription_update");
    assert.equal(invoice.lines.data[0].parent.subscription_item_details.proration, true);
    const over = await stripe.subscriptions.cancel(subscription.id);
    assert.equal(over.status, "canceled");
    await assert.rejects(stripe.subscriptions.cancel(subscription.id), { code: "resource_missing", statusCode: 404 });
  });
});

describe("money back", () => {
  test("a refund in parts", async () => {
    const { subscription } = await subscribe();
    const intent = intentOf((await whenOf(subscription)).latest_invoice);
    const part = await stripe.refunds.create(
      { payment_intent: intent, amount: 500, reason: "requested_by_customer", metadata: { actor: "ann" } },
      { idempotencyKey: `refund:${subscription.id}` },
    );
    assert.equal(part.object, "refund");
    assert.equal(part.status, "succeeded");
    await stripe.refunds.create({ payment_intent: intent });
    const charge = await stripe.charges.retrieve(part.charge, { expand: ["refunds"] });
    assert.equal(charge.refunded, true);
    assert.deepEqual(charge.refunds.data.map((refund) => refund.amount), [2400, 500]);
    await assert.rejects(stripe.refunds.create({ payment_intent: intent }), { code: "charge_already_refunded" });
    assert.equal((await stripe.refunds.list({ payment_intent: intent })).data.length, 2);
  });

  test("a dispute, won", async () => {
    const { subscription } = await subscribe();
    const opened = await act("dispute", { subscription: subscription.id });
    assert.equal((await stripe.disputes.retrieve(opened.id)).status, "needs_response");
    await act("dispute", { dispute: opened.id, close: "won" });
    const [closed] = (await stripe.disputes.list({ payment_intent: opened.payment_intent })).data;
    assert.equal(closed.status, "won");
  });
});

describe("the client's own errors and habits", () => {
  test("idempotency", async () => {
    const idempotencyKey = `key-${Math.random()}`;
    const first = await stripe.customers.create({ email: "idem@acme.example" }, { idempotencyKey });
    const again = await stripe.customers.create({ email: "idem@acme.example" }, { idempotencyKey });
    assert.equal(again.id, first.id);
    assert.equal(again.lastResponse.headers["idempotent-replayed"], "true");
    await assert.rejects(stripe.customers.create({ email: "other@acme.example" }, { idempotencyKey }), {
      type: "StripeIdempotencyError",
    });
    assert.equal((await stripe.customers.list({ email: "idem@acme.example" })).data.length, 1);
  });

  test("errors have their types", async () => {
    await assert.rejects(client("sk_live_0").customers.list(), { type: "StripeAuthenticationError", statusCode: 401 });
    await assert.rejects(stripe.customers.retrieve("cus_none"), {
      type: "StripeInvalidRequestError",
      code: "resource_missing",
      param: "id",
      message: "No such customer: 'cus_none'",
    });
    await assert.rejects(stripe.customers.create({ nonsense: "x" }), { code: "parameter_unknown", param: "nonsense" });
    await act("faults", { fail_next: "429,500" });
    await assert.rejects(stripe.customers.list(), { type: "StripeRateLimitError", code: "rate_limit" });
    await assert.rejects(stripe.customers.list(), { type: "StripeAPIError", statusCode: 500 });
  });

  test("its retries use one key, so nothing is done twice", async () => {
    // Worked on, and the connection breaks before the answer.
    await act("faults", { hang_up: 1 });
    const patient = client("sk_test_patient", { maxNetworkRetries: 4 });
    const made = await patient.customers.create({ email: "patient@acme.example" });
    assert.equal((await stripe.customers.list({ email: "patient@acme.example" })).data[0].id, made.id);
    assert.equal((await stripe.customers.list({ email: "patient@acme.example" })).data.length, 1);
  });

  test("its pages follow one another", async () => {
    const email = "pages@acme.example";
    const made = [];
    for (let i = 0; i < 7; ++i) made.push((await stripe.customers.create({ email })).id);
    const seen = [];
    for await (const customer of stripe.customers.list({ email, limit: 3 })) seen.push(customer.id);
    assert.deepEqual(seen, made.toReversed());
    const back = await stripe.customers.list({ email, limit: 3, ending_before: made[0] }).autoPagingToArray({ limit: 10 });
    assert.deepEqual(back.map((customer) => customer.id), made.slice(1));
  });

  test("prices by lookup key, portal configurations, endpoints", async () => {
    const key = `pro-${Math.random()}`;
    const price = await makePrice({ lookup_key: key });
    const found = await stripe.prices.list({ lookup_keys: [key], active: true, expand: ["data.product"] });
    assert.equal(found.data[0].id, price.id);
    assert.equal(found.data[0].product.name, "Pro");
    const configuration = await stripe.billingPortal.configurations.create({
      features: {
        invoice_history: { enabled: true },
        subscription_cancel: { enabled: true, mode: "at_period_end" },
        subscription_update: {
          enabled: true,
          default_allowed_updates: ["price"],
          products: [{ product: price.product, prices: [price.id] }],
        },
      },
      metadata: { made_by: "pontage" },
    });
    assert.equal(configuration.features.subscription_update.products[0].prices[0], price.id);
    const list = await stripe.billingPortal.configurations.list({ active: true });
    assert.ok(list.data.some((one) => one.id === configuration.id));
  });
});

describe("invoices by hand", () => {
  const declined = async (act) => assert.rejects(act, { type: "StripeCardError", statusCode: 402, code: "card_declined", decline_code: "generic_decline" });
  async function pastDue() {
    const bought = await subscribe({ outcome: "decline_renewal" });
    const due = await renew(bought.subscription);
    assert.equal(due.status, "past_due");
    return due;
  }

  test("are paid, also after a declined attempt", async () => {
    const due = await pastDue();
    await declined(() => stripe.invoices.pay(due.latest_invoice.id));
    const failures = await stripe.events.list({ type: "invoice.payment_failed", limit: 2 });
    assert.deepEqual(failures.data.map((one) => one.data.object.id), [due.latest_invoice.id, due.latest_invoice.id]);
    await act("card", { subscription: due.id, card: "paid" });
    const paid = await stripe.invoices.pay(due.latest_invoice.id, { expand: ["payments"] });
    assert.equal(paid.status, "paid");
    assert.equal(paid.payments.data[0].status, "paid");
    assert.equal((await whenOf(due)).status, "active");
  });

  test("are voided, given up and finalized", async () => {
    const one = await pastDue();
    assert.equal((await stripe.invoices.markUncollectible(one.latest_invoice.id)).status, "uncollectible");
    assert.equal((await stripe.invoices.voidInvoice(one.latest_invoice.id)).status, "void");
    assert.equal((await whenOf(one)).status, "active");
    await act("card", { subscription: one.id, card: "paid" });
    await stripe.subscriptions.update(one.id, { pause_collection: { behavior: "keep_as_draft" } });
    const held = await renew(one);
    assert.equal(held.latest_invoice.status, "draft");
    assert.equal((await stripe.invoices.finalizeInvoice(held.latest_invoice.id)).status, "open");
    assert.equal((await stripe.invoices.pay(held.latest_invoice.id)).status, "paid");
  });

  test("pay for a subscription that was made without a page", async () => {
    const { subscription, session } = await subscribe();
    const made = await stripe.subscriptions.create({
      customer: session.customer.id,
      items: [{ price: (await makePrice()).id }],
      payment_behavior: "default_incomplete",
      metadata: { plan: "pro" },
      expand: ["latest_invoice"],
    });
    assert.equal(made.status, "incomplete");
    await stripe.invoices.pay(made.latest_invoice.id, { payment_method: subscription.default_payment_method });
    assert.equal((await whenOf(made)).status, "active");
  });

  test("a change that cannot be paid is refused whole", async () => {
    const { subscription } = await subscribe();
    const dearer = await makePrice({ unit_amount: 5900 });
    await act("card", { subscription: subscription.id, card: "decline" });
    await declined(() => stripe.subscriptions.update(subscription.id, {
      items: [{ id: subscription.items.data[0].id, price: dearer.id }],
      proration_behavior: "always_invoice",
      payment_behavior: "error_if_incomplete",
    }));
    assert.equal((await whenOf(subscription)).items.data[0].price.unit_amount, 2900);
  });
});
