-- Mails, written in the transaction in which their reason became true, and what became of them. A row stays for good:
-- its key is why nobody is written to twice about one thing.
CREATE TABLE mail_outbox (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  dedup_key TEXT NOT NULL UNIQUE,
  license TEXT NOT NULL,
  -- The address in lower case, as mail_suppressed has it.
  recipient TEXT NOT NULL,
  -- JSON. Taken away once the mail has left: there may be a license in it.
  payload TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'sending', 'parked', 'sent', 'dead', 'suppressed', 'bounced')),
  attempts BIGINT NOT NULL,
  -- Attempts since the last certain end of which nobody knows whether they sent it.
  doubts BIGINT NOT NULL,
  -- When it is due. Of one that is being sent: when its sender is held for dead, as lease_until_ms has it, too.
  next_ms BIGINT NOT NULL,
  lease_until_ms BIGINT NOT NULL,
  -- The key under which it left together with others; '-': it leaves alone; '': it may do either.
  batch TEXT NOT NULL,
  provider TEXT NOT NULL,
  provider_id TEXT NOT NULL,
  last_error TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  updated_ms BIGINT NOT NULL
);
CREATE INDEX mail_outbox_due ON mail_outbox (next_ms, id) WHERE state IN ('queued', 'sending', 'parked');
CREATE INDEX mail_outbox_dead ON mail_outbox (created_ms) WHERE state = 'dead';
-- Questions of people.
CREATE INDEX mail_outbox_created ON mail_outbox (created_ms, id);
CREATE INDEX mail_outbox_license ON mail_outbox (license, created_ms) WHERE license <> '';
CREATE INDEX mail_outbox_provider_id ON mail_outbox (provider_id) WHERE provider_id <> '';

-- Addresses that nobody writes to again: they do not exist, or somebody there does not want our mails.
CREATE TABLE mail_suppressed (
  address TEXT NOT NULL PRIMARY KEY,
  reason TEXT NOT NULL,
  at_ms BIGINT NOT NULL
);
