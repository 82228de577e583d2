-- Licenses, as their issuer knows them. Only the role `sales` and the command line write here; a gateway reads what
-- became of them from `license_feed`, in one process from the table, apart from it as a signed document.
CREATE TABLE license (
  id TEXT NOT NULL PRIMARY KEY,
  -- What it was issued for, once: 'sub:sub_…:si_…', 'session:cs_…' or 'operator:lic_…'.
  origin TEXT NOT NULL UNIQUE,
  customer TEXT NOT NULL,
  email TEXT NOT NULL,
  plan TEXT NOT NULL,
  products TEXT NOT NULL,
  tier TEXT NOT NULL,
  monthly BIGINT NOT NULL,
  rpm BIGINT NOT NULL,
  subscription TEXT NOT NULL,
  generation BIGINT NOT NULL,
  status TEXT NOT NULL,
  -- The operator's word stands above anything a payment provider says later.
  revoked_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  paid_through_ms BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL,
  -- The token can be written again from these: iat and exp as they were signed.
  issued_ms BIGINT NOT NULL,
  signed_until_ms BIGINT NOT NULL,
  created_ms BIGINT NOT NULL,
  updated_ms BIGINT NOT NULL
);
CREATE INDEX license_customer ON license (customer, created_ms);
CREATE INDEX license_email ON license (email, created_ms);
CREATE INDEX license_subscription ON license (subscription) WHERE subscription <> '';

-- Each change of what a gateway needs to know of a license, in one order, each bound to all before it.
CREATE TABLE license_feed (
  seq BIGINT NOT NULL PRIMARY KEY,
  license TEXT NOT NULL,
  status TEXT NOT NULL,
  expires_ms BIGINT NOT NULL,
  plan TEXT NOT NULL,
  generation BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  hash TEXT NOT NULL
);
CREATE INDEX license_feed_license ON license_feed (license, seq);

-- What licenses have used of their plan's limits in one period; gateways take their share in blocks.
CREATE TABLE license_quota (
  license TEXT NOT NULL,
  -- 'month:2026-11', 'minute:29917000'
  period TEXT NOT NULL,
  used BIGINT NOT NULL,
  ends_ms BIGINT NOT NULL,
  PRIMARY KEY (license, period)
);
CREATE INDEX license_quota_ends ON license_quota (ends_ms);

-- Calls that licenses opened, by day and route; added to in batches.
CREATE TABLE license_usage (
  license TEXT NOT NULL,
  day TEXT NOT NULL,
  route TEXT NOT NULL,
  calls BIGINT NOT NULL,
  PRIMARY KEY (license, day, route)
);

-- What a gateway that lives apart from the issuer has of his feed: the last word on each license, and how far it came.
CREATE TABLE entitlement (
  license TEXT NOT NULL PRIMARY KEY,
  seq BIGINT NOT NULL,
  status TEXT NOT NULL,
  expires_ms BIGINT NOT NULL,
  plan TEXT NOT NULL,
  generation BIGINT NOT NULL
);
CREATE INDEX entitlement_seq ON entitlement (seq);
CREATE TABLE entitlement_head (
  issuer TEXT NOT NULL PRIMARY KEY,
  seq BIGINT NOT NULL,
  hash TEXT NOT NULL,
  as_of_ms BIGINT NOT NULL
);
