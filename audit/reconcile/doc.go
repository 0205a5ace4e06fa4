// Package reconcile says what a period's budget events come to: how many there are for each agent, endpoint, type and
// day, what became of them, and which amounts they state; and it holds that against a source of truth: billing's own
// file, the costs that AgenFleet's API showed, or the list of webhook-ids that a receiver has.
//
// Amounts are exact decimals. spent is a running total: for each agent, period, period's start, unit and currency the
// highest counts once, the last of several that are as high, and totals of two events are never added.
//
// A report is a pure function of the ledger up to one position, its rules and the file it is given: computed again it
// has the same digest. Events are read one after the other; what is kept in memory grows with the groups, the running
// totals, the file and what is found wrong. The package must never add tokens to money or one currency to another, use
// floating point, or look behind the position.
package reconcile
