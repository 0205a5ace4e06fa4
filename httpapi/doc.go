// Package httpapi is the HTTP API: /v1 for tenants, keys, events, endpoints, deliveries, attempts, records, event types
// and projections, its OpenAPI 3.1 document and documentation page, health and metrics.
//
// It authenticates (SHA-256 of a random key, one look-up in memory), keeps tenants and roles apart by one table of
// routes, turns requests into commands for ingest and for the domain's deciders, and answers errors as problem details
// that name the fix. It reads the ledger and the projections, and writes only through ingest and ledger.Execute.
//
// It must never decide what domain decides, keep state of its own, show a secret a second time, put one into an error
// or a log, let a tenant's key learn whether another tenant's id exists, or answer before what it answers is durable.
package httpapi
