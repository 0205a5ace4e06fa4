package domain

import (
	"time"
)

// HealthFold folds the health of all endpoints from the records of delivery and endpoint streams, in the order of the
// ledger. What counts is an outcome that was decided on: an attempt that was interrupted says nothing about the
// receiver, one that came late was given up already, and a failure of our own (CodeInternal) is not the endpoint's. A
// blocked address is: the tenant set it. Only the config and the records decide what it holds.
//
// It is not safe for concurrent use.
type HealthFold struct {
	Config    HealthConfig
	endpoints map[EndpointKey]*Health
	open      map[Stream]openAttempt // deliveries with an attempt that has no outcome yet

	// Records of one append stand together; these are of the last that was folded.
	scheduled scheduledFor
	late      Stream // a 2xx came late to it
}

// unconfirmed is the code of an answer that, for all its 2xx, is not what its service confirms with.
const unconfirmed ErrorCode = "unconfirmed"

type openAttempt struct {
	health  *Health
	started time.Time
}

type scheduledFor struct {
	stream   Stream
	endpoint string
}

// NewHealthFold is the state before the first record.
func NewHealthFold(c HealthConfig) *HealthFold {
	return &HealthFold{Config: c, endpoints: map[EndpointKey]*Health{}, open: map[Stream]openAttempt{}}
}

// Health gives an endpoint's, nil where there is none. It changes with the next record.
func (f *HealthFold) Health(tenant, endpoint string) *Health {
	return f.endpoints[EndpointKey{Tenant: tenant, Endpoint: endpoint}]
}

// Endpoints calls fn for each endpoint's health.
func (f *HealthFold) Endpoints(fn func(*Health)) {
	for _, h := range f.endpoints {
		fn(h)
	}
}

// Apply folds one record and returns the endpoint's health that it changed, nil where it changed none, with what
// follows from it.
func (f *HealthFold) Apply(r *Record) (*Health, []FollowUp) {
	h, follow := f.apply(r)
	if h != nil && r.RecordedAt.After(h.Latest) {
		h.Latest = r.RecordedAt
	}
	return h, follow
}

func (f *HealthFold) apply(r *Record) (*Health, []FollowUp) {
	switch fact := r.Fact.(type) {
	case *DeliveryScheduled:
		f.scheduled = scheduledFor{r.Stream, fact.Endpoint}
	case *AttemptStarted:
		return f.started(r, fact), nil
	case *ResponseReceived:
		return f.responded(r, fact)
	case *AttemptFailed:
		o, ok := f.open[r.Stream]
		if !ok || fact.Late || fact.Code == CodeInternal {
			return nil, nil
		}
		v := verdict{code: fact.Code, total: fact.Timings.Total, started: o.started}
		return o.health, o.health.failed(r, &v, &f.Config)
	case *RetryScheduled:
		return f.decided(r), nil
	case *DeliverySucceeded:
		return f.ended(r, "")
	case *DeliveryExhausted:
		return f.ended(r, FollowExhausted)
	case *DeliveryCancelled:
		return f.decided(r), nil
	case *EndpointRegistered, *EndpointReconfigured, *EndpointDisabled, *EndpointEnabled, *EndpointRemoved:
		return f.endpoint(r)
	}
	return nil, nil
}

func (f *HealthFold) health(tenant, endpoint string) *Health {
	key := EndpointKey{Tenant: tenant, Endpoint: endpoint}
	h := f.endpoints[key]
	if h == nil {
		h = &Health{Tenant: tenant, Endpoint: endpoint, State: HealthHealthy}
		f.endpoints[key] = h
	}
	return h
}

func (f *HealthFold) started(r *Record, fact *AttemptStarted) *Health {
	endpoint := fact.Endpoint
	if endpoint == "" && f.scheduled.stream == r.Stream {
		endpoint = f.scheduled.endpoint // of a time when an attempt did not name it
	}
	if endpoint == "" {
		return nil
	}
	h := f.Health(r.Tenant, endpoint)
	if h == nil { // it was removed: what is still sent to it is of no interest
		return nil
	}
	if _, again := f.open[r.Stream]; !again {
		h.InFlight++
	}
	f.open[r.Stream] = openAttempt{health: h, started: r.RecordedAt}
	return h
}

func (f *HealthFold) responded(r *Record, fact *ResponseReceived) (*Health, []FollowUp) {
	ok := fact.Taken()
	if fact.Late {
		if ok {
			f.late = r.Stream
		}
		return nil, nil
	}
	o, known := f.open[r.Stream]
	if !known {
		return nil, nil
	}
	v := verdict{status: fact.Status, retryAfter: time.Duration(fact.RetryAfter), total: fact.Timings.Total,
		started: o.started}
	if ok {
		return o.health, o.health.succeeded(r, &v, &f.Config)
	}
	if fact.Unconfirmed {
		v.status, v.code = 0, unconfirmed
	}
	return o.health, o.health.failed(r, &v, &f.Config)
}

// decided ends the attempt that was open, for its outcome's decision is known.
func (f *HealthFold) decided(r *Record) *Health {
	o, ok := f.open[r.Stream]
	if !ok {
		return nil
	}
	delete(f.open, r.Stream)
	o.health.InFlight--
	return o.health
}

// ended is decided for a delivery that succeeded or is exhausted, with what follows from its end.
func (f *HealthFold) ended(r *Record, kind string) (*Health, []FollowUp) {
	late := f.late == r.Stream
	h := f.decided(r)
	if h == nil && late {
		// The attempt had been given up, and no other is open: only the delivery knows whose it is.
		h = &Health{Tenant: r.Tenant}
		return nil, []FollowUp{h.follow(FollowChannelEnded, r, FollowUp{})}
	}
	if h == nil || h.Removed {
		return h, nil
	}
	var out []FollowUp
	if kind != "" {
		out = append(out, h.follow(kind, r, FollowUp{Code: h.LastCode}))
	}
	if h.Own.Channel {
		out = append(out, h.follow(FollowChannelEnded, r, FollowUp{}))
	}
	return h, out
}

func (f *HealthFold) endpoint(r *Record) (*Health, []FollowUp) {
	h := f.health(r.Tenant, r.Stream.ID())
	switch fact := r.Fact.(type) {
	case *EndpointRegistered:
		h.configured(&fact.Config)
	case *EndpointReconfigured:
		h.configured(&fact.Config)
	case *EndpointDisabled:
		return h, h.disabled(r, fact.Reason, fact.Evidence)
	case *EndpointEnabled:
		h.enabled(r)
	case *EndpointRemoved:
		h.Removed = true
		delete(f.endpoints, EndpointKey{Tenant: h.Tenant, Endpoint: h.Endpoint})
	}
	return h, nil
}
