package httpapi

import (
	"time"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/projections"
)

// Dispatch knows what deliveries wait for on this node; *delivery.Delivery does.
type Dispatch interface {
	// Waits is asked about a delivery that waits, as its row says; false: that is over.
	Waits(d domain.Due) (delivery.Wait, bool)
}

var _ Dispatch = (*delivery.Delivery)(nil)

// Waits is what a delivery waits for. Its reasons are delivery.Wait….
type Waits struct {
	For    string     `json:"for" enum:"schedule,order,endpoint_rate,endpoint_in_flight,host_in_flight,slowed_down,window,timed_out_share,late_share,replay_share,turn,attempt,returned,ledger"`
	Until  *time.Time `json:"until,omitempty" doc:"When that ends, where it is known."`
	Limit  float64    `json:"limit,omitempty" doc:"That it waits for: attempts at once, or requests a second." example:"50"`
	Ahead  *int       `json:"ahead,omitempty" doc:"Due at its endpoint before it; absent: not known, or of no matter."`
	Behind string     `json:"behind,omitempty" doc:"For order: the delivery that must end first, where it is known."`
}

// waitsOf asks what a delivery waits for now. One that is held says why already.
func (a *api) waitsOf(r *projections.DeliveryRow) *Waits {
	if a.Dispatch == nil || r.Status != domain.StatusPending && r.Status != domain.StatusRetrying {
		return nil
	}
	w, ok := a.Dispatch.Waits(domain.Due{Tenant: r.Tenant, Endpoint: r.EndpointID, Delivery: r.ID, Event: r.EventID,
		Replay: r.Replay, DueAt: r.DueAt, Revision: r.Revision})
	if !ok {
		return nil
	}
	out := &Waits{For: w.For, Until: timeOrNil(w.Until), Limit: w.Limit, Behind: w.Behind}
	if w.Ahead >= 0 {
		out.Ahead = &w.Ahead
	}
	return out
}
