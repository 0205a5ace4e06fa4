package domain

import (
	"cmp"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// CauseRouted is the cause of the deliveries that routing makes.
const CauseRouted = "routed"

// Routing is one tenant's configuration as of a record: an immutable snapshot, safe to share. It decides who gets an
// event.
type Routing struct {
	Tenant    *Tenant
	AsOf      ulid.ULID   // the newest configuration record folded
	Endpoints []*Endpoint // those that exist, by id
}

// NewRouting makes a snapshot; it sorts the endpoints and leaves out the removed ones.
func NewRouting(t *Tenant, asOf ulid.ULID, endpoints []*Endpoint) *Routing {
	live := make([]*Endpoint, 0, len(endpoints))
	for _, e := range endpoints {
		if e.Exists() {
			live = append(live, e)
		}
	}
	slices.SortFunc(live, func(a, b *Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return &Routing{Tenant: t, AsOf: asOf, Endpoints: live}
}

// Route decides who gets the event: every enabled endpoint that subscribes to its type; those that subscribe and are
// disabled are named with the reason.
func (r *Routing) Route(event, eventType string, received time.Time) *EventRouted {
	out := &EventRouted{RoutedAsOf: r.AsOf}
	for _, e := range r.Endpoints {
		if !MatchAny(e.Config.EventTypes, eventType) {
			continue
		}
		if e.Disabled {
			out.LeftOut = append(out.LeftOut, LeftOut{Endpoint: e.ID, Reason: "disabled"})
			continue
		}
		out.Matches = append(out.Matches, Match{Endpoint: e.ID, EndpointRevision: e.Revision,
			Delivery: DeliveryID(received, r.Tenant.Name, event, e.ID, CauseRouted)})
	}
	return out
}
