-- +goose Up
-- The health of endpoints as it was folded up to the one record of health_mark: what is held in memory is read from
-- here, and folded on from there.
CREATE TABLE endpoint_health (
  tenant      TEXT NOT NULL,
  endpoint_id TEXT NOT NULL,
  state       BLOB NOT NULL, -- domain.Health, encoded
  PRIMARY KEY (tenant, endpoint_id)
) WITHOUT ROWID;

-- One row.
CREATE TABLE health_mark (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  position INTEGER NOT NULL,
  record   TEXT    NOT NULL,
  stream   TEXT    NOT NULL,
  revision INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  fold     INTEGER NOT NULL, -- the version of the fold
  rest     BLOB    NOT NULL  -- healthRest as JSON: what is not one endpoint's
);

-- Folds of one endpoint as they were kept now and then: what its health was at a moment is folded on from the last one
-- before.
CREATE TABLE health_kept (
  tenant      TEXT    NOT NULL,
  endpoint_id TEXT    NOT NULL,
  position    INTEGER NOT NULL, -- of the last record that was folded
  latest      INTEGER NOT NULL, -- of the times of all records that were
  state       BLOB    NOT NULL, -- healthKept as JSON
  PRIMARY KEY (tenant, endpoint_id, position)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE health_kept;
DROP TABLE health_mark;
DROP TABLE endpoint_health;
