-- +goose Up
-- Where the record stands on the ledger that routed or scheduled a delivery: the order of an ordered endpoint. line is 1
-- for what stands in the line of one: it waits, or it is exhausted and others wait behind it.
ALTER TABLE deliveries ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN line INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deliveries_line ON deliveries (tenant, endpoint_id, replay, position, id) WHERE line = 1;

-- +goose Down
DROP INDEX deliveries_line;
ALTER TABLE deliveries DROP COLUMN line;
ALTER TABLE deliveries DROP COLUMN position;
