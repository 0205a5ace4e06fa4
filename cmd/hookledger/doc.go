// Command hookledger sends webhooks and keeps the evidence: one binary that is the server (serve), its client (event,
// endpoint, delivery and so on), a receiver to try it with (receive), a demonstration (demo) and a benchmark (bench).
//
// There is one file per command. This package picks the adapters, joins the rooms and starts the goroutines; the
// packages below it hold what several commands share. It must never decide what a room decides, read the data directory
// of a running server other than its admin key, print a secret except the one that an answer shows once, or write
// anything but data to stdout.
package main
