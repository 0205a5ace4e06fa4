-- +goose Up
-- Where the checkpoint's record stands in its stream: a store may not be able to read from a position that is no
-- record's, and so none from just before a record.
ALTER TABLE checkpoint ADD COLUMN stream TEXT NOT NULL DEFAULT '';
ALTER TABLE checkpoint ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE checkpoint DROP COLUMN revision;
ALTER TABLE checkpoint DROP COLUMN stream;
