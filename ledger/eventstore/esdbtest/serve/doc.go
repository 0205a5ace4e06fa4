// Command serve runs the in-process EventStoreDB of package esdbtest on an address, so that any client, in whichever
// language, can be pointed at it:
//
//	go run ./ledger/eventstore/esdbtest/serve --listen 127.0.0.1:2113
//
// It prints one line, the connection string, once it answers, and ends on SIGINT or SIGTERM. What it holds is gone
// then: it must never be taken for a database.
package main
