-- What people ordered of this store, and the proof of it.

-- A verb of the operator: written in the transaction of its audit row, done by whoever has the keys for it. Its key
-- makes it one thing however often it is asked for.
CREATE TABLE command (
  id TEXT NOT NULL PRIMARY KEY,
  -- 'license.issue', 'license.refund', 'event.rerun', …
  verb TEXT NOT NULL,
  subject TEXT NOT NULL,
  -- JSON: what it was asked with
  payload TEXT NOT NULL,
  actor TEXT NOT NULL,
  request_id TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  -- of the verb and what was asked: another question under the same key is refused
  digest TEXT NOT NULL,
  -- 'requested', 'pending' (begun; somebody outside has the last word), 'done', 'failed', 'parked' (for people)
  state TEXT NOT NULL CHECK (state IN ('requested', 'pending', 'done', 'failed', 'parked')),
  -- JSON: what came of it, or the error
  outcome TEXT NOT NULL,
  -- A license as text, for the one who asked; taken away a day later.
  secret TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  -- When it is due; of one that somebody works on: when he is held for dead.
  next_ms BIGINT NOT NULL,
  last_error TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  updated_ms BIGINT NOT NULL,
  UNIQUE (actor, idempotency_key)
);
CREATE INDEX command_due ON command (next_ms, id) WHERE state IN ('requested', 'pending');
CREATE INDEX command_created ON command (created_ms, id);
CREATE INDEX command_subject ON command (subject, created_ms);
CREATE INDEX command_secret ON command (updated_ms) WHERE secret <> '';

-- Money that goes back because somebody here said so. Stripe has the last word on each.
CREATE TABLE refund (
  -- also Stripe's idempotency key, as 'refund:' || id
  id TEXT NOT NULL PRIMARY KEY,
  command TEXT NOT NULL,
  license TEXT NOT NULL,
  purchase TEXT NOT NULL,
  -- What it is taken from and how much, once decided; the same in every try.
  payment_intent TEXT NOT NULL,
  currency TEXT NOT NULL,
  -- in the smallest unit; 0: not decided yet
  amount BIGINT NOT NULL,
  -- 1: all that was left of the payment
  whole BIGINT NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('requested', 'pending', 'succeeded', 'failed')),
  stripe_refund TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  updated_ms BIGINT NOT NULL
);
-- One at a time of each license: the second would not know what the first left.
CREATE UNIQUE INDEX refund_open ON refund (license) WHERE state IN ('requested', 'pending');
CREATE INDEX refund_license ON refund (license, created_ms);
CREATE INDEX refund_created ON refund (created_ms);
CREATE INDEX refund_stripe ON refund (stripe_refund) WHERE stripe_refund <> '';

-- What Stripe asked for and got for our purchases, as it was when we looked last.
CREATE TABLE invoice (
  -- Stripe's, or of a one-off without one its session's
  id TEXT NOT NULL PRIMARY KEY,
  purchase TEXT NOT NULL,
  customer TEXT NOT NULL,
  number TEXT NOT NULL,
  status TEXT NOT NULL,
  currency TEXT NOT NULL,
  due BIGINT NOT NULL,
  paid BIGINT NOT NULL,
  url TEXT NOT NULL,
  created_ms BIGINT NOT NULL
);
CREATE INDEX invoice_customer ON invoice (customer, created_ms);
CREATE INDEX invoice_purchase ON invoice (purchase, created_ms);
CREATE INDEX invoice_created ON invoice (created_ms, id);

-- Who changed what, each row bound to all before it. Never changed, never taken away.
CREATE TABLE audit (
  seq BIGINT NOT NULL PRIMARY KEY,
  at_ms BIGINT NOT NULL,
  actor TEXT NOT NULL,
  verb TEXT NOT NULL,
  subject TEXT NOT NULL,
  -- JSON, or nothing
  before TEXT NOT NULL,
  after TEXT NOT NULL,
  reason TEXT NOT NULL,
  request_id TEXT NOT NULL,
  prev_hash TEXT NOT NULL,
  hash TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, seq);

-- Until when a license stands by the operator's word, whatever was paid; 0: it does not.
ALTER TABLE license ADD COLUMN extended_ms BIGINT NOT NULL DEFAULT 0;
-- Questions of people.
CREATE INDEX license_created ON license (created_ms, id);
