// Package storetest is the contract of ledger.Store as code: every store passes Run.
//
// It takes nothing for granted that the contract does not promise. Positions are opaque and ordered, not dense; the
// store may hold other records, and others may append to it meanwhile. It never sleeps and never fails because
// something took long.
package storetest
