-- Plans that a license had before the one that it has now: a trial is of a buyer's first license of a plan.
CREATE TABLE license_had (
  license TEXT NOT NULL,
  plan TEXT NOT NULL,
  PRIMARY KEY (license, plan)
);
