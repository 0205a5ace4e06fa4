-- +goose Up
-- What producers posted and was refused, by minute, key and reason.
CREATE TABLE refusals (
  tenant     TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  id         TEXT    NOT NULL,
  key_id     TEXT    NOT NULL,
  reason     TEXT    NOT NULL,
  state      BLOB    NOT NULL, -- domain.Refusal as JSON
  PRIMARY KEY (tenant, created_at, id)
) WITHOUT ROWID;
CREATE INDEX refusals_key ON refusals (tenant, key_id);
CREATE INDEX refusals_reason ON refusals (tenant, reason);

-- +goose Down
DROP TABLE refusals;
