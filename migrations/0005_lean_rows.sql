-- When a payment was answered, settled and (at the first attempt) delivered; 0: not, or by a version that wrote
-- reservation_event for it. These are lines of its history: what every sale goes through stands in the
-- row that is written anyway, and reservation_event has what is out of the ordinary.
ALTER TABLE reservation ADD COLUMN answered_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE reservation ADD COLUMN settled_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE reservation ADD COLUMN delivered_ms BIGINT NOT NULL DEFAULT 0;

-- No question went along it: payers are compared in lower case.
DROP INDEX reservation_payer;

-- Asked only for what is finished: what is under way need not be in it.
DROP INDEX pending_settlement_state;
CREATE INDEX pending_settlement_finished ON pending_settlement (updated_ms) WHERE state <> 'sent';
