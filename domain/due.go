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

// LateAfter is how long a delivery must have been due to count as late: it is of an outage or of a time of holding, and
// leaves half of what there is to those that happen now.
const LateAfter = 10 * time.Second

// Late says whether the delivery has been due for long.
func (d *Due) Late(now time.Time) bool { return now.Sub(d.DueAt) > LateAfter }

// EndpointKey names an endpoint across tenants, or what a replay sends to it.
type EndpointKey struct {
	Tenant   string
	Endpoint string
	Replay   string // empty: all that is not of a replay
}

// Standing is where a delivery that waits stands among those of its endpoint, or of what a replay sends there.
type Standing struct {
	Taken    bool      // its turn has come
	DueAt    time.Time // when it is offered; zero: it is left to the rows, which say so
	Returned bool      // it had its turn and was given back: DueAt is when it is offered again
	Ahead    int       // that are offered before it; -1: not known
	InOrder  bool      // its endpoint is ordered, and another one must end before it is offered
	Behind   string    // that one; empty: not known
}
