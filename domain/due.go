package domain

import "time"

// DeliveryStatus is where a delivery stands.
type DeliveryStatus string

const (
	StatusPending   DeliveryStatus = "pending"   // due, never tried
	StatusInFlight  DeliveryStatus = "in_flight" // an attempt is open
	StatusRetrying  DeliveryStatus = "retrying"  // waits for its next attempt
	StatusHeld      DeliveryStatus = "held"      // its endpoint is disabled
	StatusSucceeded DeliveryStatus = "succeeded"
	StatusExhausted DeliveryStatus = "exhausted"
	StatusCancelled DeliveryStatus = "cancelled"
)

// Terminal says that nothing more will be done on its own.
func (s DeliveryStatus) Terminal() bool {
	return s == StatusSucceeded || s == StatusExhausted || s == StatusCancelled
}

// Due is a delivery that waits for an attempt.
type Due struct {
	Tenant   string
	Endpoint string
	Delivery string
	Event    string
	Replay   string // that scheduled it; empty: it was routed
	DueAt    time.Time
	// Revision of the delivery's stream as far as it was folded; NoStream: no attempt was ever begun.
	Revision Revision
}

// EndpointKey names an endpoint across tenants, or what a replay sends to it.
type EndpointKey struct {
	Tenant   string
	Endpoint string
	Replay   string // empty: all that is not of a replay
}
