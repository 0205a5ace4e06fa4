// Package domain says what can happen and what is decided about it: the facts that stand on the ledger, the aggregates
// folded from them (tenant, endpoint, delivery, API key), the routing decision, the retry schedule, and the Standard
// Webhooks signature.
//
// It is pure: it imports the standard library's value packages and oklog/ulid, and never does I/O, reads a clock, draws
// a random number, starts a goroutine or takes a context. What it needs of the world (the time, ids, jitter, sealed
// content) arrives inside a command. An aggregate is a value; Evolve folds one record into it and never fails; its
// decisions return the facts to append, or an *Error that names the fix.
package domain
