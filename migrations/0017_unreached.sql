-- Mails that came back, or were not sent since one before them had: whose license was in one is somebody to look after.
CREATE INDEX mail_outbox_back ON mail_outbox (created_ms, id) WHERE state IN ('suppressed', 'bounced');
