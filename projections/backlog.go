package projections

import (
	"time"

	"hookledger/domain"
)

// Backlog holds the deliveries that wait for an attempt: of each endpoint a bounded head in memory, the rest in rows.
// All methods are safe for concurrent use and never block on I/O.
type Backlog struct{}

// Changed signals, at most once for many changes, that Activate may give more.
func (b *Backlog) Changed() <-chan struct{} { return nil }

// Activate names the endpoints that came to hold something due and are not active yet, and makes them active. next is
// when the next one will; zero: none is known.
func (b *Backlog) Activate(now time.Time) (active []domain.EndpointKey, next time.Time) {
	return nil, time.Time{}
}

// Take gives the endpoint's earliest due delivery, which then is in flight until Return or Done. It says false when none
// is due: the endpoint then is inactive until Activate names it again.
func (b *Backlog) Take(ep domain.EndpointKey, now time.Time) (domain.Due, bool) {
	return domain.Due{}, false
}

// Return gives back a delivery that was not dealt with; it is due again at the time given.
func (b *Backlog) Return(d domain.Due, at time.Time) {}

// Done says that the delivery was dealt with and all that came of it is on the ledger; what follows comes by the fold.
func (b *Backlog) Done(d domain.Due) {}
