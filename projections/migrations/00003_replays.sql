-- +goose Up
-- Which replay scheduled a delivery; empty: it was routed. Deliveries of replays wait in queues of their own.
ALTER TABLE deliveries ADD COLUMN replay TEXT NOT NULL DEFAULT '';
DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (tenant, endpoint_id, replay, due_at, id) WHERE due_at > 0;
CREATE INDEX deliveries_replay ON deliveries (tenant, replay) WHERE replay <> '';
CREATE INDEX deliveries_replay_status ON deliveries (tenant, replay, status) WHERE replay <> '' AND status <> 'succeeded';

CREATE TABLE replays (
  tenant     TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  id         TEXT    NOT NULL,
  status     TEXT    NOT NULL,
  ended      INTEGER NOT NULL, -- 1: nothing more will happen
  state      BLOB    NOT NULL, -- domain.Replay as JSON: what folding its stream gives
  PRIMARY KEY (tenant, created_at, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX replays_id ON replays (tenant, id);
CREATE INDEX replays_status ON replays (tenant, status);
CREATE INDEX replays_open ON replays (tenant, id) WHERE ended = 0;

-- +goose Down
DROP TABLE replays;
DROP INDEX deliveries_replay_status;
DROP INDEX deliveries_replay;
DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (tenant, endpoint_id, due_at, id) WHERE due_at > 0;
ALTER TABLE deliveries DROP COLUMN replay;
