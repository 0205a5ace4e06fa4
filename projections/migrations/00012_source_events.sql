-- +goose Up
-- What came from each source, added up while the events are written: a source may bring millions.
CREATE TABLE source_events (
  tenant    TEXT    NOT NULL,
  source_id TEXT    NOT NULL,
  count     INTEGER NOT NULL,
  last_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant, source_id)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE source_events;
