-- Who is logged in to the operator's pages. The id is the HMAC of what the cookie says.
CREATE TABLE console_session (
  id TEXT NOT NULL PRIMARY KEY,
  key_name TEXT NOT NULL,
  -- Of the operator key's value at the login: another value under the same name ends it.
  key_mark TEXT NOT NULL,
  seen_ms BIGINT NOT NULL,
  ends_ms BIGINT NOT NULL
);
