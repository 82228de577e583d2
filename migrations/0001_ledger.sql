-- One text for SQLite and PostgreSQL (there, BLOB is a domain over bytea). Times are milliseconds
-- since 1970, dollars are millionths, token amounts are 78 decimal digits, ids are made by us.

CREATE TABLE reservation (
  id TEXT NOT NULL PRIMARY KEY,
  once_key BLOB NOT NULL,
  request_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  route TEXT NOT NULL,
  method TEXT NOT NULL,
  resource TEXT NOT NULL,
  request_digest BLOB NOT NULL,
  rail TEXT NOT NULL,
  protocol BIGINT NOT NULL,
  scheme TEXT NOT NULL,
  network TEXT NOT NULL,
  asset TEXT NOT NULL,
  payer TEXT NOT NULL,
  pay_to TEXT NOT NULL,
  nonce TEXT NOT NULL,
  amount TEXT NOT NULL,
  price_micros BIGINT NOT NULL,
  payload TEXT NOT NULL,
  requirement TEXT NOT NULL,
  valid_before_ms BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'voided', 'expired', 'in_doubt')),
  stage TEXT NOT NULL CHECK (stage IN ('reserved', 'answered')),
  delivery TEXT NOT NULL CHECK (delivery IN ('none', 'pending', 'delivered', 'owed', 'broken', 'redeeming', 'redeemed')),
  upstream_status BIGINT NOT NULL,
  tx_hash TEXT NOT NULL,
  receipt TEXT NOT NULL,
  failure TEXT NOT NULL,
  node TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  updated_ms BIGINT NOT NULL,
  -- What the delivery was before it became 'redeeming', and the one attempt that made it so.
  redeemed_from TEXT NOT NULL,
  redeemed_by TEXT NOT NULL,
  -- When the sweeper looks at an open row again (0: its node is working on it), and how often it has.
  look_ms BIGINT NOT NULL,
  looks BIGINT NOT NULL
);

-- The replay guard: of any number of concurrent callers exactly one inserts, and after a void the
-- payment may come again.
CREATE UNIQUE INDEX reservation_once ON reservation (once_key) WHERE state <> 'voided';
-- The sweeper reads only what is open.
CREATE INDEX reservation_open ON reservation (look_ms) WHERE state IN ('held', 'in_doubt');
CREATE INDEX reservation_delivering ON reservation (node) WHERE delivery IN ('pending', 'redeeming');
CREATE INDEX reservation_due ON reservation (updated_ms) WHERE delivery IN ('owed', 'broken');
-- Questions of people.
CREATE INDEX reservation_request ON reservation (request_id);
CREATE INDEX reservation_tx ON reservation (tx_hash) WHERE tx_hash <> '';
CREATE INDEX reservation_payer ON reservation (payer, created_ms);
CREATE INDEX reservation_created ON reservation (created_ms);

CREATE TABLE reservation_event (
  reservation TEXT NOT NULL,
  seq BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  what TEXT NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (reservation, seq)
);

-- The answer that replay = "answer" gives again.
CREATE TABLE stored_answer (
  reservation TEXT NOT NULL PRIMARY KEY,
  status BIGINT NOT NULL,
  head TEXT NOT NULL,
  body BLOB NOT NULL
);

-- What others must be told, written in the transaction in which it became true.
CREATE TABLE outbox (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  key TEXT NOT NULL UNIQUE,
  payload TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  next_ms BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  done_ms BIGINT
);
CREATE INDEX outbox_due ON outbox (next_ms) WHERE done_ms IS NULL;

-- Processes that said they live.
CREATE TABLE node (
  id TEXT NOT NULL PRIMARY KEY,
  heartbeat_ms BIGINT NOT NULL
);
