// Package simulation runs the whole product, from its API to its receivers, through days of faults in moments: the
// clock is synthetic (testing/synctest), the disk and the network are in memory, and what happens when comes from one
// seed. Processes are killed, lose power with part of what was not synced, and are restarted; receivers fail in every
// way they know; people retry, cancel, disable, enable, rotate, replay and remove. At each request, at each answer to a
// person, and once all is healed, the ledger must keep what the product promises.
//
// A seed fixes what happens to the world and when. It does not fix how goroutines take their turns.
//
//	go test ./cmd/hookledger/simulation                       HOOKLEDGER_SEEDS=5000, or 501-1000, for more
//	HOOKLEDGER_SEED=7 go test -v ./cmd/hookledger/simulation  that one; -count=50 for as many ways to take turns
//
// It is all tests, and part of no binary. It never reaches a real network, disk or clock, but for SQLite's files, and
// its witness, which says what breaks a promise, never asks the rooms that it judges: who is to get an event, who may
// be sent something and which keys sign follow from the ledger's records and from what people did.
package simulation
