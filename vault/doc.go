// Package vault keeps the only secrets that can change: the data keys that content on the ledger is sealed under, and
// the secrets that sign requests. Both are wrapped with AES-256-GCM under a key derived from the master key, in a small
// Pebble of the vault's own.
//
// A key is durable before its id is given out, so that no record ever needs a key that a crash took away. Destroying a
// key erases all content under it, wherever it was copied, and leaves a tombstone, so that "erased" and "never known"
// stay two answers.
//
// The vault must never write a subject, a key or the master key in the clear, never print one, and never go on under a
// master key or a ledger that is not its own.
package vault
