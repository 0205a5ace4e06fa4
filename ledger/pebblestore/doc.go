// Package pebblestore is the embedded ledger.Store, on cockroachdb/pebble.
//
// An append is one value, under the position of its first record, and one index entry, from its stream and first
// revision to its position. One goroutine puts appends in order: it gives them gap-free positions, checks their
// expected revisions and writes them to Pebble in groups. A second one waits for the syncs, in the same order, moves
// the durable mark and answers the callers; meanwhile the next group fills. Reads end at the durable mark, because
// Pebble shows a batch before it is synced.
//
// The crash assumptions: a completed fsync is kept; whatever was written since may be kept or lost in any part. A
// failed sync or commit is never repeated: the store has then failed for good, and only opening it anew tells what was
// kept.
//
// This package must never answer an append before its sync, show a record beyond the durable mark, repeat a failed
// sync, change a directory that it does not fully understand, or end the process.
package pebblestore
