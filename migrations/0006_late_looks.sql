-- Payments that were given up after somebody was asked to settle them: whoever has seen one may send it again for as
-- long as it is good, so the chain is asked once more when it no longer is.
CREATE INDEX reservation_late ON reservation (look_ms) WHERE state = 'expired' AND look_ms > 0;
