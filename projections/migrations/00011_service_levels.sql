-- +goose Up
-- When a delivery succeeded for the first time; 0: it has not. A retry that somebody forces later changes nothing of it.
ALTER TABLE deliveries ADD COLUMN succeeded_at INTEGER NOT NULL DEFAULT 0;

-- How long routed deliveries took from the event's receipt to their first success: how many of each month (of the
-- receipt, UTC: years times 12 plus months from 0), endpoint and type took as long as each bucket of fixed bounds says. It
-- is what the rows of deliveries say, added up while they are written, so that no question has to read them all.
CREATE TABLE service_levels (
  tenant      TEXT    NOT NULL,
  month       INTEGER NOT NULL,
  endpoint_id TEXT    NOT NULL,
  event       TEXT    NOT NULL,
  bucket      INTEGER NOT NULL,
  count       INTEGER NOT NULL,
  PRIMARY KEY (tenant, month, endpoint_id, event, bucket)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE service_levels;
ALTER TABLE deliveries DROP COLUMN succeeded_at;
