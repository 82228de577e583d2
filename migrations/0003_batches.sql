-- The payments of a transaction that settles several at once, in the order of its calls. One that
-- settles a single payment names it in outgoing_transaction.purpose; a batch has '' there.
CREATE TABLE outgoing_member (
  outgoing TEXT NOT NULL,
  seq BIGINT NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (outgoing, seq)
);
CREATE INDEX outgoing_member_key ON outgoing_member (key);

-- Every signed version of a transaction whose fees were raised: one nonce, one call, and any of them
-- may be mined. outgoing_transaction has the latest, or the one that was mined.
CREATE TABLE outgoing_version (
  hash TEXT NOT NULL PRIMARY KEY,
  outgoing TEXT NOT NULL,
  raw BLOB NOT NULL,
  created_ms BIGINT NOT NULL
);
CREATE INDEX outgoing_version_of ON outgoing_version (outgoing);

-- What the signer's transactions of one minute cost at most, in gwei (rounded up): reserved when a
-- transaction is signed, the real cost once it is mined.
CREATE TABLE gas_spent (
  chain TEXT NOT NULL,
  signer TEXT NOT NULL,
  minute_ms BIGINT NOT NULL,
  gwei BIGINT NOT NULL,
  PRIMARY KEY (chain, signer, minute_ms)
);
-- That transaction's share of it.
ALTER TABLE outgoing_transaction ADD COLUMN gas_gwei BIGINT NOT NULL DEFAULT 0;
