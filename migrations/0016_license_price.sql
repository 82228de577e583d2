-- The price at Stripe under which a license was last known to be its plan's: it stays so when the plan gets another price.
-- Empty: not sold there, or not looked at since.
ALTER TABLE license ADD COLUMN price TEXT NOT NULL DEFAULT '';
