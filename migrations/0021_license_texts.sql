-- When a license would have ended as it was paid for when it was extended: what ends earlier after all takes the days along.
ALTER TABLE license ADD COLUMN extended_end_ms BIGINT NOT NULL DEFAULT 0;
-- A link shows the text that it was made for: none that replaced it.
ALTER TABLE license_claim ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;
UPDATE license_claim SET generation = COALESCE((SELECT l.generation FROM license AS l WHERE l.id = license_claim.license), 0);
-- Which text of its license a mail brings; 0: none, or not known.
ALTER TABLE mail_outbox ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;
