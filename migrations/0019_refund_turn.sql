-- Who counts what went back today holds this row until the refund is written down, so that two who each see room for one
-- do not both take it. Its one row (id 1) is made by who comes first.
CREATE TABLE refund_turn (
  id BIGINT NOT NULL PRIMARY KEY,
  turn BIGINT NOT NULL
);
