// Package agenfleet polls AgenFleet's API and turns what it reads into events: agent.status_changed where an agent's
// status differs from the reading before, agent.budget_alert and agent.budget_exhausted where its usage has crossed a
// budget, each once for an agent and a period. Costs are read as snapshots.
//
// Each reading with something new in it is a record in the source's poll stream, with the events that follow from it
// byte for byte; they are posted behind it and before the next record. The stream's expected revision is the lease: of
// two pollers one appends, and the other decides again on what is there. What was decided is thus decided once, and
// posted by whoever comes by, under ids that derive from what was decided; a restart folds the stream and goes on.
//
// What is decided is pure: readings and times come in, facts come out. The package must never make a status of a poll
// that failed, add tokens and money, exhaust a month on an estimate, keep state in a place other than the ledger, or
// put a login, a token or a password into a record, an error or a log.
package agenfleet
