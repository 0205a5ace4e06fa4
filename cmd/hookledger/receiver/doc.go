// Package receiver is an HTTP receiver of webhooks that checks each request's signature and timestamp, answers what it
// is told to, and counts: what `hookledger receive` runs, and what `demo` and `bench` deliver to.
//
// It must never answer a request whose signature fails with a 2xx, print a secret, or keep more of a request than its
// bounds say.
package receiver
