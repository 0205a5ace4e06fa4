-- +goose Up
-- The last record of each tenant that the rows hold: a plan that is fixed there cites no other tenant's.
CREATE TABLE heads (
  tenant      TEXT    PRIMARY KEY,
  position    INTEGER NOT NULL,
  record      TEXT    NOT NULL,
  stream      TEXT    NOT NULL,
  revision    INTEGER NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE heads;
