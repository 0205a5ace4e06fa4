-- +goose Up
-- What filters of the lists look for among the many that are as usual. Each but the first is partial: an attempt that
-- succeeds at once, as nearly all do, enters none of them. An index ends in its table's key, and so gives its order.
CREATE INDEX events_timestamp ON events (tenant, timestamp, id);
CREATE INDEX deliveries_error ON deliveries (tenant, last_error) WHERE last_error <> '';
CREATE INDEX deliveries_retried ON deliveries (tenant) WHERE attempts > 1;
CREATE INDEX attempts_trigger ON attempts (tenant, trigger) WHERE trigger <> 'initial';
CREATE INDEX attempts_slow ON attempts (tenant) WHERE duration_us >= 1000000;

-- +goose Down
DROP INDEX attempts_slow;
DROP INDEX attempts_trigger;
DROP INDEX deliveries_retried;
DROP INDEX deliveries_error;
DROP INDEX events_timestamp;
