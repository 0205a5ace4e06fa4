// Package eventstore is the ledger on EventStoreDB, or on KurrentDB, which is its later name. It is the only place that
// imports EventStoreDB's client.
//
// A record is an event: its id the event's id, its type the event's type, its stream the event's stream and its
// position the event's commit position in $all. The event's data is the data of the record's fact, its metadata the
// rest of the envelope (ledger.AppendMetadata). Nothing is stored twice, and a record comes back byte by byte.
//
// What a cluster does to its clients stays in here. Appends carry the expected revision and the records' ids, so that
// repeating one is safe: what came to no answer is repeated until there is one. One live subscription feeds a tail of
// the newest records, from which all readers at the end of the ledger are served; older ones are read in chunks. The
// subscription is dropped in normal use, and made anew behind the last event that it gave. The client's connections are
// made anew when they fail, and never closed under a call.
//
//	config.go     the connection string, and what is refused of it
//	open.go       what is checked before the first record; diagnose.go says what is wrong and how to mend it
//	lane.go       connections, calls in flight, connecting anew
//	append.go     appends, their repeats and what their answers mean (errors.go)
//	feed.go       the live subscription; tail.go keeps what it gave
//	read.go       reads of a stream and of what the tail does not hold any more
//	integrity.go  notices records that were taken out behind our back
//
// The database belongs to one ledger. Nobody else may write to its streams, delete or truncate them, or give them a
// $maxAge or $maxCount; who does is noticed, and the store fails for good rather than go on with less.
package eventstore
