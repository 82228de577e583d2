-- A chain may throw its last blocks out again. Which block a transaction was mined in, and how it
-- stands there: '' (nobody looks), 'watched', 'moved' (in another block than before, and what it did
-- there is not read yet), 'gone' (thrown out; it is sent again), 'final'.
ALTER TABLE outgoing_transaction ADD COLUMN block_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE outgoing_transaction ADD COLUMN watch TEXT NOT NULL DEFAULT ''
  CHECK (watch IN ('', 'watched', 'moved', 'gone', 'final'));
CREATE INDEX outgoing_transaction_watch ON outgoing_transaction (chain, signer, block)
  WHERE watch IN ('watched', 'moved');

-- What became of a payment on the chain after it was settled; the key is the once-key in hex.
CREATE TABLE settlement_event (
  key TEXT NOT NULL,
  seq BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  what TEXT NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (key, seq)
);
CREATE INDEX settlement_event_lost ON settlement_event (at_ms) WHERE what = 'lost';

-- The hash of the chain's first block: another one is another chain.
ALTER TABLE signer_nonce ADD COLUMN first_block TEXT NOT NULL DEFAULT '';
