// Package ledgercopy copies a ledger from one store to another, over the port alone, so that it moves either way
// between any two stores: every record with its id, revision and times, in the one global order.
//
// It has one append in flight, because only that keeps the order on a store that orders appends by their arrival, and
// puts neighbours of one stream into one append. What stands at the target already is compared, record by record, with
// the source, so a copy that was interrupted goes on where it was; and at the end the target is read from its first
// record on and its digest compared with the source's.
//
// This package must never write to the source, write a record to the target that the source has not, write over or
// behind anything that is not a copy of the source's beginning, or call a copy good that it has not read back.
package ledgercopy
