-- The rows of the history. Times are integer microseconds since 1970, 0 where there is none. Tables are clustered in the
-- order of their lists: events by tenant and time of creation, deliveries and attempts by tenant and id, whose first part
-- is that time. An index ends in that key by itself, and so gives the same order below its own columns.

-- +goose Up
CREATE TABLE events (
  tenant         TEXT    NOT NULL,
  created_at     INTEGER NOT NULL,
  id             TEXT    NOT NULL,
  event          TEXT    NOT NULL,
  schema_version INTEGER NOT NULL,
  timestamp      INTEGER NOT NULL,
  source         TEXT    NOT NULL,
  sequence       TEXT, -- decimal: up to 64 bits without a sign
  size           INTEGER NOT NULL,
  deliveries     INTEGER NOT NULL,
  position       INTEGER NOT NULL,
  PRIMARY KEY (tenant, created_at, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_id ON events (tenant, id);
CREATE INDEX events_event ON events (tenant, event);

CREATE TABLE deliveries (
  tenant       TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  id           TEXT    NOT NULL,
  event_id     TEXT    NOT NULL,
  event        TEXT    NOT NULL,
  endpoint_id  TEXT    NOT NULL,
  status       TEXT    NOT NULL,
  attempts     INTEGER NOT NULL,
  due_at       INTEGER NOT NULL, -- of the next attempt; 0: it waits for none
  updated_at   INTEGER NOT NULL,
  completed_at INTEGER NOT NULL,
  last_code    INTEGER NOT NULL,
  last_error   TEXT    NOT NULL,
  revision     INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX deliveries_endpoint ON deliveries (tenant, endpoint_id);
CREATE INDEX deliveries_event ON deliveries (tenant, event_id);
-- What waits, by when it is due; a delivery that is routed and ended within one transaction never enters it.
CREATE INDEX deliveries_due ON deliveries (tenant, endpoint_id, due_at, id) WHERE due_at > 0;
-- Nearly all deliveries succeed; the others must be found among them.
CREATE INDEX deliveries_status ON deliveries (tenant, status) WHERE status <> 'succeeded';
CREATE INDEX deliveries_code ON deliveries (tenant, last_code) WHERE last_error <> '';

CREATE TABLE attempts (
  tenant      TEXT    NOT NULL,
  started_at  INTEGER NOT NULL,
  id          TEXT    NOT NULL,
  delivery_id TEXT    NOT NULL,
  event_id    TEXT    NOT NULL,
  endpoint_id TEXT    NOT NULL,
  n           INTEGER NOT NULL,
  trigger     TEXT    NOT NULL,
  forced      INTEGER NOT NULL,
  status      TEXT    NOT NULL,
  code        INTEGER NOT NULL,
  error_code  TEXT    NOT NULL,
  duration_us INTEGER NOT NULL,
  remote_addr TEXT    NOT NULL,
  late        INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX attempts_endpoint ON attempts (tenant, endpoint_id);
CREATE INDEX attempts_delivery ON attempts (tenant, delivery_id);
CREATE INDEX attempts_status ON attempts (tenant, status) WHERE status <> 'succeeded';
CREATE INDEX attempts_error ON attempts (tenant, error_code) WHERE error_code <> '';
CREATE INDEX attempts_code ON attempts (tenant, code) WHERE error_code <> '';

-- The records of the configuration, whole, so that what is in memory is folded from them by the same code.
CREATE TABLE config_records (
  position INTEGER PRIMARY KEY,
  header   BLOB NOT NULL,
  body     BLOB NOT NULL
);

-- One row: the last record that was folded, and the version of the fold.
CREATE TABLE checkpoint (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  position    INTEGER NOT NULL,
  record      TEXT    NOT NULL,
  recorded_at INTEGER NOT NULL,
  fold        INTEGER NOT NULL
);

-- +goose Down
DROP TABLE checkpoint;
DROP TABLE config_records;
DROP TABLE attempts;
DROP TABLE deliveries;
DROP TABLE events;
