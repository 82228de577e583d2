-- Where the audit ends: without it rows could be taken from its end, and the rest would hold.
CREATE TABLE audit_head (
  seq BIGINT NOT NULL,
  hash TEXT NOT NULL
);
INSERT INTO audit_head (seq, hash)
  SELECT COALESCE(MAX(seq), 0), COALESCE((SELECT hash FROM audit ORDER BY seq DESC LIMIT 1), '') FROM audit;
