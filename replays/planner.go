package replays

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// Rows are the read models that a plan is looked up in; *projections.Projections are. They are asked only for what
// never changes once it is there.
type Rows interface {
	// EventHeads gives events in the order of (time of receipt, id), from the cursor's on (inclusive).
	EventHeads(ctx context.Context, tenant string, r domain.EventRange, from domain.ReplayCursor,
		limit int) ([]domain.EventHead, error)
	// Routed gives the endpoints that events were routed to, with the delivery to each, by event.
	Routed(ctx context.Context, tenant string, events []string) (map[string][]domain.Match, error)
	// DeliveriesTo names the deliveries of an event to an endpoint, whatever scheduled them.
	DeliveriesTo(ctx context.Context, tenant, event, endpoint string) ([]string, error)
	// DeliveriesByID gives the deliveries of these ids that there are, with their event and endpoint.
	DeliveriesByID(ctx context.Context, tenant string, ids []string) ([]domain.Due, error)
	// EventBefore names the last event up to the position, EventFrom the first one from it on; "" where there is none.
	EventBefore(ctx context.Context, tenant string, pos domain.Position) (string, error)
	EventFrom(ctx context.Context, tenant string, pos domain.Position) (string, error)
	// WaitFor returns once the rows hold every record up to the position.
	WaitFor(ctx context.Context, pos domain.Position) error
}

// Bodies opens events. An erased one gives vault.ErrErased.
type Bodies interface {
	Event(ctx context.Context, tenant, event string) (domain.EventBody, error)
}

// Planner computes plans. It is safe for concurrent use.
type Planner struct {
	Store  ledger.Reader
	Rows   Rows
	Bodies Bodies
}

// Spec is all that a plan is computed from.
type Spec struct {
	Tenant   string
	Endpoint string // the target; empty: each event's own
	Match    domain.ReplayMatch
	Selector domain.ReplaySelector
	AsOf     domain.Position // nothing behind it counts
}

// headsPage is the number of events that are looked up at once.
const headsPage = 500

// plan is a Spec in the making, with what was found out about endpoints.
type plan struct {
	*Planner
	Spec
	endpoints map[string]*endpoint // as of Spec.AsOf
	skipped   map[string]int
	routes    map[string][]domain.Match // of the events that are being looked at
	named     map[string][]domain.Match // by event, where deliveries are named
	looked    domain.EventRange         // the events that are looked at
}

// endpoint is an endpoint as of the plan's position.
type endpoint struct {
	domain.Endpoint
	registered domain.Position
	disabled   bool // at any time: events may have left it out
}

// open checks the spec against the ledger: what it names must be there.
func (p *Planner) open(ctx context.Context, spec Spec) (*plan, error) {
	if err := p.Rows.WaitFor(ctx, spec.AsOf); err != nil {
		return nil, fmt.Errorf("plan a replay: %w", err)
	}
	pl := &plan{Planner: p, Spec: spec, endpoints: map[string]*endpoint{}, skipped: map[string]int{}}
	if pl.Selector.MissedBy != "" {
		pl.Endpoint = cmp.Or(pl.Endpoint, pl.Selector.MissedBy)
	}
	for _, id := range append([]string{pl.Endpoint, pl.Selector.MissedBy}, pl.Selector.EndpointIDs...) {
		if id == "" {
			continue
		}
		e, err := pl.endpoint(ctx, id)
		if err != nil {
			return nil, err
		}
		if e.ID == "" {
			return nil, domain.Refuse(domain.KindNotFound, "endpoint_not_found", "there is no endpoint "+id,
				"list them with: hookledger endpoint list")
		}
	}
	if err := pl.name(ctx); err != nil {
		return nil, err
	}
	return pl, pl.bound(ctx)
}

// target refuses an endpoint that nothing can be sent to.
func (pl *plan) target(ctx context.Context) error {
	if pl.Endpoint == "" {
		return nil
	}
	e, err := pl.endpoint(ctx, pl.Endpoint)
	switch {
	case err != nil:
		return err
	case e.Removed:
		return domain.Refuse(domain.KindNotFound, "endpoint_not_found", "the endpoint "+pl.Endpoint+" was deleted",
			"name another as the target")
	case e.Disabled:
		return domain.Refuse(domain.KindConflict, "endpoint_disabled", "the endpoint "+pl.Endpoint+" is disabled",
			"enable it with: hookledger endpoint enable "+pl.Endpoint)
	}
	return nil
}

// endpoint folds an endpoint up to the plan's position; one that was not there has no ID.
func (pl *plan) endpoint(ctx context.Context, id string) (*endpoint, error) {
	if e := pl.endpoints[id]; e != nil {
		return e, nil
	}
	e := &endpoint{}
	for r, err := range pl.Store.ReadStream(ctx, domain.EndpointStream(pl.Tenant, id), 0) {
		if err != nil {
			return nil, fmt.Errorf("read endpoint %s: %w", id, err)
		}
		if r.Position > pl.AsOf {
			break
		}
		if e.registered == 0 {
			e.registered = r.Position
		}
		e.Evolve(r)
		e.disabled = e.disabled || e.Disabled
	}
	pl.endpoints[id] = e
	return e, nil
}

// pairs yields the plan behind the cursor. Now and then, however little is matched, it yields a pair of nothing, so
// that whoever reads it can do something else.
func (pl *plan) pairs(ctx context.Context, after domain.ReplayCursor) iter.Seq2[domain.PlannedPair, error] {
	if pl.Selector.FailuresOf != "" {
		return pl.failures(ctx, after)
	}
	r := pl.looked
	return func(yield func(domain.PlannedPair, error) bool) {
		for from := after; ; {
			heads, err := pl.Rows.EventHeads(ctx, pl.Tenant, r, from, headsPage)
			if err != nil {
				yield(domain.PlannedPair{}, fmt.Errorf("look up events: %w", err))
				return
			}
			if err := pl.look(ctx, heads); err != nil {
				yield(domain.PlannedPair{}, err)
				return
			}
			for _, h := range heads {
				if h.ID == from.Event && from != after {
					continue // the last one of the page before
				}
				to, err := pl.endpointsOf(ctx, h)
				if err != nil {
					yield(domain.PlannedPair{}, err)
					return
				}
				for _, e := range to {
					if h.ID == after.Event && e <= after.Endpoint {
						continue
					}
					if !yield(domain.PlannedPair{Event: h.ID, Type: h.Type, Size: h.Size, At: h.At, Endpoint: e}, nil) {
						return
					}
				}
			}
			if len(heads) < headsPage || !yield(domain.PlannedPair{}, nil) {
				return
			}
			last := heads[len(heads)-1]
			from = domain.ReplayCursor{At: last.At, Event: last.ID}
		}
	}
}

// look reads where a page of events was routed to. The rows say the same as the ledger, and are together there.
func (pl *plan) look(ctx context.Context, heads []domain.EventHead) (err error) {
	if pl.Match != domain.MatchThen || pl.named != nil {
		return nil
	}
	var ids []string
	for _, h := range heads {
		if len(pl.Selector.EventTypes) == 0 || domain.MatchAny(pl.Selector.EventTypes, h.Type) {
			ids = append(ids, h.ID)
		}
	}
	if pl.routes, err = pl.Rows.Routed(ctx, pl.Tenant, ids); err != nil {
		return fmt.Errorf("look up where events were routed to: %w", err)
	}
	return nil
}

// endpointsOf says where an event goes, in the order of ids.
func (pl *plan) endpointsOf(ctx context.Context, h domain.EventHead) ([]string, error) {
	s := &pl.Selector
	if len(s.EventTypes) > 0 && !domain.MatchAny(s.EventTypes, h.Type) {
		return nil, nil
	}
	if s.Subject != "" {
		body, err := pl.Bodies.Event(ctx, pl.Tenant, h.ID)
		if errors.Is(err, vault.ErrErased) {
			return nil, nil // nobody can tell any more
		}
		if err != nil {
			return nil, fmt.Errorf("open event %s: %w", h.ID, err)
		}
		if body.Subject != s.Subject {
			return nil, nil
		}
	}
	switch {
	case s.MissedBy != "":
		missed, err := pl.missed(ctx, h)
		if err != nil || !missed {
			return nil, err
		}
		return pl.sendable(ctx, []string{pl.Endpoint})
	case pl.Match == domain.MatchNow:
		return pl.now(ctx, h)
	}
	return pl.then(ctx, h)
}

// sendable leaves out the endpoints that nothing can be sent to, and counts them.
func (pl *plan) sendable(ctx context.Context, ids []string) ([]string, error) {
	var out []string
	for _, id := range ids {
		e, err := pl.endpoint(ctx, id)
		if err != nil {
			return nil, err
		}
		switch {
		case !e.Exists():
			pl.skipped["endpoint_removed"]++
		case e.Disabled:
			pl.skipped["endpoint_disabled"]++
		default:
			out = append(out, id)
		}
	}
	return out, nil
}

// then follows the routing decision on the ledger, or the deliveries that are named.
func (pl *plan) then(ctx context.Context, h domain.EventHead) ([]string, error) {
	var to []string
	routes := pl.routes[h.ID]
	if pl.named != nil {
		routes = pl.named[h.ID]
	}
	for _, m := range routes {
		if len(pl.Selector.EndpointIDs) > 0 && !slices.Contains(pl.Selector.EndpointIDs, m.Endpoint) {
			continue
		}
		if len(pl.Selector.Status) > 0 {
			status, err := pl.status(ctx, m.Delivery, m.Endpoint)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(pl.Selector.Status, status) {
				continue
			}
		}
		if pl.Endpoint != "" {
			return pl.sendable(ctx, []string{pl.Endpoint})
		}
		to = append(to, m.Endpoint)
	}
	slices.Sort(to)
	return pl.sendable(ctx, slices.Compact(to)) // two deliveries that are named may have brought one event to one place
}

// now follows the configuration as of the plan's position.
func (pl *plan) now(ctx context.Context, h domain.EventHead) ([]string, error) {
	ids := pl.Selector.EndpointIDs
	if pl.Endpoint != "" {
		ids = []string{pl.Endpoint}
	}
	var to []string
	for _, id := range ids {
		e, err := pl.endpoint(ctx, id)
		if err != nil {
			return nil, err
		}
		if domain.MatchAny(e.Config.EventTypes, h.Type) {
			to = append(to, id)
		}
	}
	slices.Sort(to)
	return pl.sendable(ctx, slices.Compact(to))
}

// missed says whether the endpoint of MissedBy was to get the event and did not take it, or would have got it had it
// been enabled, or registered. An event that it took from a replay is not missed.
func (pl *plan) missed(ctx context.Context, h domain.EventHead) (bool, error) {
	by := pl.Selector.MissedBy
	e, err := pl.endpoint(ctx, by)
	if err != nil {
		return false, err
	}
	due := h.Position < e.registered && domain.MatchAny(e.Config.EventTypes, h.Type) ||
		slices.ContainsFunc(pl.routes[h.ID], func(m domain.Match) bool { return m.Endpoint == by })
	if !due && e.disabled {
		routed, err := pl.routed(ctx, h.ID)
		if err != nil {
			return false, err
		}
		due = slices.ContainsFunc(routed.LeftOut, func(l domain.LeftOut) bool { return l.Endpoint == by })
	}
	if !due {
		return false, nil
	}
	deliveries, err := pl.Rows.DeliveriesTo(ctx, pl.Tenant, h.ID, by)
	if err != nil {
		return false, fmt.Errorf("look up the deliveries of event %s: %w", h.ID, err)
	}
	for _, id := range deliveries {
		status, err := pl.status(ctx, id, by)
		if err != nil || status == domain.StatusSucceeded {
			return false, err
		}
	}
	return true, nil
}

// routed reads the routing decision of an event.
func (pl *plan) routed(ctx context.Context, event string) (*domain.EventRouted, error) {
	for r, err := range pl.Store.ReadStream(ctx, domain.EventStream(pl.Tenant, event), 0) {
		if err != nil {
			return nil, fmt.Errorf("read event %s: %w", event, err)
		}
		if f, ok := r.Fact.(*domain.EventRouted); ok {
			return f, nil
		}
	}
	return nil, fmt.Errorf("event %s was never routed", event)
}

// status folds a delivery up to the plan's position.
func (pl *plan) status(ctx context.Context, delivery, to string) (domain.DeliveryStatus, error) {
	d := domain.NewDelivery()
	for r, err := range pl.Store.ReadStream(ctx, domain.DeliveryStream(pl.Tenant, delivery), 0) {
		if err != nil {
			return "", fmt.Errorf("read delivery %s: %w", delivery, err)
		}
		if r.Position > pl.AsOf {
			break
		}
		d.Evolve(r)
	}
	if !d.Status.Terminal() && d.Open == nil {
		e, err := pl.endpoint(ctx, to)
		if err != nil {
			return "", err
		}
		if e.Removed {
			return domain.StatusCancelled, nil // the removal is its end
		}
	}
	return d.Status, nil
}
