// Package esdbtest is an EventStoreDB 23.10.8 for Go tests, in one process: the gRPC services of a real node over
// loopback, in memory, ready in a millisecond. The client of the program under test is pointed at it and notices no
// difference:
//
//	node := esdbtest.Start(t)
//	config, err := esdb.ParseConnectionString(node.ConnectionString())
//
// It was written from recordings of a real server: what is appended with which expected revision, what a repeated
// append is answered, in which order a subscription's messages come, where a checkpoint stands, when a slow subscriber
// is dropped. The package's own tests hold the recorded answers.
//
// # What there is
//
//   - appends with every expected revision, their idempotency by event ids, the 1 MiB limit, batch appends;
//   - reads of a stream and of $all, both ways, with filters, links resolved;
//   - stream metadata ($maxCount, $maxAge, $tb, $acl), soft deletes, tombstones, and a scavenge (Server.Scavenge);
//   - subscriptions to a stream and to $all, checkpoints, caught-up messages, dropped when too slow;
//   - persistent subscriptions: strategies, retries, parking and replay, timeouts, checkpoints;
//   - a Cluster of nodes with gossip, elections, followers that say not-leader, leaders that are killed or frozen;
//   - TLS with a CA of the test's own, users, their certificates, access lists (WithTLS, WithUser);
//   - Faults: answers that are lost behind the commit, dropped and silent subscriptions, slow and refused connections,
//     each by count, or at random from a seed.
//
// # Where it differs from a real node
//
// It keeps everything in memory: Server.Stop and Server.Restart keep the data as a disk would, the end of the process
// does not. It has no projections, no HTTP API, no user management over gRPC. A scavenge happens only when it is asked
// for. Positions grow as a real log's do (a record's size each), so that they are not dense, but a record's exact size
// is no promise. A subscriber that reads nothing gets some more events before it is dropped, for gRPC for Go holds more
// back than Kestrel; one that reads all the time is not dropped, while a real node drops it now and then (WithFaults
// with DropSubscription does).
//
// The package imports nothing but the client's generated code and gRPC: it knows neither the testing package nor the
// program that is tested, and must never do so. It is no database: never keep anything in it that you want to see
// again.
package esdbtest
