-- Links that show a license once, by the digest of what stands in them; and the checkout sessions whose page has done so.
CREATE TABLE license_claim (
  digest TEXT NOT NULL PRIMARY KEY,
  license TEXT NOT NULL,
  -- 0: it waits
  claimed_ms BIGINT NOT NULL,
  expires_ms BIGINT NOT NULL
);
CREATE INDEX license_claim_expires ON license_claim (expires_ms);
