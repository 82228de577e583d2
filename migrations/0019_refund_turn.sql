-- Who counts what went back today holds this row until the refund is written down, so that two who each see room for one
-- do not both take it.
CREATE TABLE refund_turn (
  turn BIGINT NOT NULL
);
INSERT INTO refund_turn (turn) VALUES (0);
