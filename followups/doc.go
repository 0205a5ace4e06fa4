// Package followups does what follows from a record in another stream: it disables an endpoint that answered 410 or did
// nothing but fail for too long, and posts the events by which hookledger speaks of itself (endpoint.failing,
// endpoint.recovered, endpoint.disabled, delivery.exhausted), and cron.delivered and cron.failed of a cron job's
// output.
//
// What is to be done is folded from the ledger by package domain and handed over by a Pending. Each thing is done under
// ids that are derived from the record that it follows from: after the death of the process, or when all is folded
// anew, it is found again and is a duplicate. So nothing is done twice, nothing is left out, and nothing but the ledger
// has to survive.
//
// It never sends anything, never writes to a delivery's stream, and never says anything about the delivery of an event
// that it posted itself: there is no loop.
package followups
