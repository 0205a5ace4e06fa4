// Command serve runs the in-process EventStoreDB of package esdbtest on an address, so that any client, in whichever
// language, can be pointed at it:
//
//	go run ./ledger/eventstore/esdbtest/serve --listen 127.0.0.1:2113
//
// It prints one line, the connection string, once it answers, and ends on SIGINT or SIGTERM. What it holds is gone
// then: it must never be taken for a database.
//
// It can be a cluster, with TLS and users, and what a cluster does to its clients happens as often as it is told, at
// random from a seed that it prints:
//
//	serve --nodes 3 --leader-change-every 2s --restart-every 5s \
//	    --faults commit-then-unavailable=0.01,commit-then-cancel=0.01,drop-subscription=0.001 --seed 7
package main
