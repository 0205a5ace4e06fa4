// Package delivery turns due deliveries into signed requests and their outcomes into records. A Watermill Router runs
// the attempt handler; Source is its Subscriber: it takes due deliveries from a Backlog, fair across tenants and then
// endpoints, and holds a bounded window of them.
//
// An attempt is three appends away from the event: the intent with its exact signature is durable before the first byte
// leaves, and the outcome with what follows from it is durable before the message is acked. A failed request is a fact,
// never a handler's error; a Nack says only that the ledger could not be written.
//
// There is one egress client, and every address is checked at the moment it is dialled. This package must never send
// without a durable intent, never wait between the intent and the wire, never resend under the same intent, never
// follow a redirect, never use a proxy, and never keep state that decides anything: that comes from the ledger.
package delivery
