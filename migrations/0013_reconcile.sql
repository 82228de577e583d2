-- The loops that compare our books with Stripe's: when each is due, and what it said last.
CREATE TABLE reconcile_loop (
  -- 'events', 'rows' or 'walk'
  loop TEXT NOT NULL PRIMARY KEY,
  -- Of 'events': what Stripe wrote before this has been taken in.
  watermark_ms BIGINT NOT NULL,
  lease TEXT NOT NULL,
  lease_until_ms BIGINT NOT NULL,
  due_ms BIGINT NOT NULL,
  ended_ms BIGINT NOT NULL,
  -- How many times in a row it has found something.
  drifted BIGINT NOT NULL,
  -- JSON; empty: it has not run yet
  report TEXT NOT NULL
);

-- What differed, each thing once: when it did for the first and for the last time.
CREATE TABLE drift (
  class TEXT NOT NULL,
  what TEXT NOT NULL,
  detail TEXT NOT NULL,
  healed BIGINT NOT NULL,
  times BIGINT NOT NULL,
  first_ms BIGINT NOT NULL,
  last_ms BIGINT NOT NULL,
  PRIMARY KEY (class, what)
);
CREATE INDEX drift_last ON drift (last_ms);
