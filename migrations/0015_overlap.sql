-- A license that was reissued calmly: until when the text before the newest is good, too. 0: it ended at once.
ALTER TABLE license ADD COLUMN old_until_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE license_feed ADD COLUMN old_until_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE entitlement ADD COLUMN old_until_ms BIGINT NOT NULL DEFAULT 0;
