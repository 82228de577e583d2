-- What Stripe told us: each event once, kept before it is acknowledged. An event is a hint; what is done about it is
-- decided by what Stripe says then.
CREATE TABLE stripe_event (
  id TEXT NOT NULL PRIMARY KEY,
  type TEXT NOT NULL,
  object_kind TEXT NOT NULL,
  object_id TEXT NOT NULL,
  api_version TEXT NOT NULL,
  source TEXT NOT NULL,
  payload TEXT NOT NULL,
  -- 'new', 'done', 'ignored', or 'parked': tried too often, for people
  state TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  next_ms BIGINT NOT NULL,
  last_error TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  received_ms BIGINT NOT NULL,
  done_ms BIGINT
);
CREATE INDEX stripe_event_due ON stripe_event (next_ms) WHERE state = 'new';
CREATE INDEX stripe_event_received ON stripe_event (received_ms);

-- Whatever can give licenses: a subscription, or a checkout session that sold something once. Who works on one holds
-- its lease, so that what Stripe said to one of two is not overwritten by what it said to the other before.
CREATE TABLE purchase (
  id TEXT NOT NULL PRIMARY KEY,
  customer TEXT NOT NULL,
  email TEXT NOT NULL,
  status TEXT NOT NULL,
  plan TEXT NOT NULL,
  paid_through_ms BIGINT NOT NULL,
  period_end_ms BIGINT NOT NULL,
  cancel_at_ms BIGINT NOT NULL,
  invoice_url TEXT NOT NULL,
  invoice_pdf TEXT NOT NULL,
  alarm TEXT NOT NULL,
  lease TEXT NOT NULL,
  lease_until_ms BIGINT NOT NULL,
  fetched_ms BIGINT NOT NULL,
  created_ms BIGINT NOT NULL
);
CREATE INDEX purchase_customer ON purchase (customer);
CREATE INDEX purchase_fetched ON purchase (fetched_ms);

-- Which purchase a payment was for: refunds and disputes name the payment.
CREATE TABLE purchase_payment (
  payment_intent TEXT NOT NULL PRIMARY KEY,
  purchase TEXT NOT NULL,
  -- 1: a dispute about it was told of; it is looked at again whenever the purchase is
  disputed BIGINT NOT NULL
);
CREATE INDEX purchase_payment_disputed ON purchase_payment (purchase) WHERE disputed = 1;

-- One customer at Stripe for each address, however many checkouts are open.
CREATE TABLE buyer (
  email TEXT NOT NULL PRIMARY KEY,
  customer TEXT NOT NULL,
  created_ms BIGINT NOT NULL
);
CREATE INDEX buyer_customer ON buyer (customer);
