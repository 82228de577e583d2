-- Keys that sign licenses, as their issuer knows them. The private halves are files; here is what others need, and when.
CREATE TABLE signing_key (
  -- RFC 7638 thumbprint, and the 32 bytes in base64url.
  kid TEXT NOT NULL PRIMARY KEY,
  public_key TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  -- It is published before, and signs from then on until the next one's time has come.
  signs_from_ms BIGINT NOT NULL,
  -- Announced once another one signs: the longest end of what it signed. It is only ever moved further off.
  not_after_ms BIGINT,
  -- Where it became known to others: its own signed word that it is not to be believed any more. Empty: not.
  revocation TEXT NOT NULL,
  revoked_ms BIGINT
);

-- What a gateway that lives apart from the issuer has of his keys.
CREATE TABLE issuer_key (
  issuer TEXT NOT NULL,
  kid TEXT NOT NULL,
  public_key TEXT NOT NULL,
  not_after_ms BIGINT,
  -- Once revoked, never believed again, whatever a later set says.
  revoked BOOLEAN NOT NULL,
  PRIMARY KEY (issuer, kid)
);
