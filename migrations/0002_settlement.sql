-- Transactions of our own signers, stored before they are broadcast.
CREATE TABLE outgoing_transaction (
  id TEXT NOT NULL PRIMARY KEY,
  chain TEXT NOT NULL,
  signer TEXT NOT NULL,
  nonce BIGINT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  raw BLOB NOT NULL,
  purpose TEXT NOT NULL,
  reservation TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('signed', 'broadcast', 'mined', 'replaced', 'failed')),
  created_ms BIGINT NOT NULL,
  updated_ms BIGINT NOT NULL,
  block BIGINT,
  receipt_status BIGINT
);
-- One nonce is one transaction, but for those that took another's place.
CREATE UNIQUE INDEX outgoing_transaction_nonce ON outgoing_transaction (chain, signer, nonce)
  WHERE state <> 'replaced';
CREATE INDEX outgoing_transaction_open ON outgoing_transaction (chain, signer, nonce)
  WHERE state IN ('signed', 'broadcast');
CREATE INDEX outgoing_transaction_purpose ON outgoing_transaction (purpose);

CREATE TABLE signer_nonce (
  chain TEXT NOT NULL,
  signer TEXT NOT NULL,
  next_nonce BIGINT NOT NULL,
  PRIMARY KEY (chain, signer)
);

-- Settlements whose end the facilitator has not told its caller yet; the key is the once-key in hex.
CREATE TABLE pending_settlement (
  key TEXT NOT NULL PRIMARY KEY,
  tx_hash TEXT NOT NULL,
  result TEXT NOT NULL,
  state TEXT NOT NULL,
  updated_ms BIGINT NOT NULL
);
CREATE INDEX pending_settlement_state ON pending_settlement (state, updated_ms);
