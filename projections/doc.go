// Package projections holds the read models: what is folded from the ledger so that it can be asked for quickly.
//
// Two followers read the ledger. The live one folds, as soon as a record is durable, what decides: the Directory
// (routing tables, endpoints, keys) and the Backlog (the deliveries that are due, at most a bounded head of each
// endpoint's). The other folds the history (events, deliveries, attempts) into SQLite, in batches: rows and checkpoint
// commit in one transaction. What the Backlog does not hold in memory it reads back from there.
//
// Everything here can be thrown away and folded anew, and comes out the same; that is why SQLite runs without sync. The
// package never appends to the ledger, never decides anything that the ledger does not say, and never skips a record:
// one that it can't fold stops the projection, and Status names it.
package projections
