// Package ingest is the one way in: what an API or a source hands over as a Post becomes an event on the ledger, or a
// refusal that names the fix. It parses strictly, checks data against the schema of the event's type, seals the
// content, decides who gets the event, and appends EventReceived and EventRouted in one append.
//
// An event's id is accepted once, for ever: the append at "no stream" is the check. The same content again is a
// duplicate, and answered with the first result; other content is a conflict.
//
// The package must never answer with a receipt before the append is durable, append anything of a post that it refuses,
// change a byte of data, or fold a read model of its own: what it needs to know of a tenant it asks the Directory.
package ingest
