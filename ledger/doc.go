// Package ledger is the append-only record of everything: the port that a store fulfils (Store), the canonical encoding
// of records (AppendHeader, AppendBody, Decode; types.go has the table of all records), Execute, which turns a decision
// into an append, Follow, which reads on and on, and Found, which begins a ledger.
//
// Stores stand in the packages below it; storetest is the port's contract as code. The port has no delete, no update
// and no truncate, and must never get one. This package never decides anything: decisions are domain's.
package ledger
