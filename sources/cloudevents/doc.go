// Package cloudevents reads CloudEvents 1.0 in HTTP's structured and binary content modes and makes posts of them.
//
// It is written by hand: what is needed is a page of the specification, and the official SDK brings a client, a router
// and a logger with it. An attribute that has a place in ours gets it: type, source, subject, time, data, and the
// extension sequence where it is a number. The others (dataschema, further extensions) have none and are left out.
//
// CloudEvents are the same when source and id are. An id that is unique by itself, a UUID or a ULID, stays the event's;
// any other is derived from both, so that two sources that count from 1 never meet.
//
// The package must never change a byte of data, read a clock or do any I/O.
package cloudevents
