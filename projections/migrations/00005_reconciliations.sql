-- +goose Up
CREATE TABLE reconciliations (
  tenant      TEXT    NOT NULL,
  created_at  INTEGER NOT NULL,
  id          TEXT    NOT NULL,
  position    INTEGER NOT NULL,
  period_from INTEGER NOT NULL,
  period_to   INTEGER NOT NULL,
  state       BLOB    NOT NULL, -- domain.Reconciliation as JSON
  PRIMARY KEY (tenant, created_at, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX reconciliations_id ON reconciliations (tenant, id);
CREATE INDEX reconciliations_period ON reconciliations (tenant, period_from, period_to, position);

-- A producer's own numbers, in their order: decimals without leading zeros are, by length and then by text.
CREATE INDEX events_sequence ON events (tenant, source, length(sequence), sequence) WHERE sequence IS NOT NULL;

-- +goose Down
DROP INDEX events_sequence;
DROP TABLE reconciliations;
