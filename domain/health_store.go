package domain

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// HealthOpen is an attempt without an outcome, as it is stored with a fold.
type HealthOpen struct {
	Stream   Stream    `json:"stream"` // the delivery's
	Endpoint string    `json:"endpoint"`
	Started  time.Time `json:"started"`
}

// HealthBetween is what a fold holds between two records of one append.
type HealthBetween struct {
	Scheduled Stream `json:"scheduled,omitempty"` // the last DeliveryScheduled, and its endpoint
	Endpoint  string `json:"endpoint,omitempty"`
	Late      Stream `json:"late,omitempty"` // to which a 2xx came late
}

// Between gives what Restore takes.
func (f *HealthFold) Between() HealthBetween {
	return HealthBetween{Scheduled: f.scheduled.stream, Endpoint: f.scheduled.endpoint, Late: f.late}
}

// Open gives the attempts without an outcome, of one endpoint or, where only is nil, of all, in the order of their
// streams.
func (f *HealthFold) Open(only *Health) []HealthOpen {
	out := []HealthOpen{}
	for s, o := range f.open {
		if only == nil || o.health == only {
			out = append(out, HealthOpen{Stream: s, Endpoint: o.health.Endpoint, Started: o.started})
		}
	}
	slices.SortFunc(out, func(a, b HealthOpen) int { return cmp.Compare(a.Stream, b.Stream) })
	return out
}

// An endpoint's fold is kept so often, to answer from there what its health was at a moment.
const (
	keepEvery    = time.Hour
	keepOutcomes = 4096
)

// Keep says whether the fold is to be kept, now that the record was folded, and takes down that it is. It depends on
// the records alone: whoever folds them keeps the same.
func (h *Health) Keep(r *Record) bool {
	if h.Outcomes-h.Kept.Outcomes < keepOutcomes && r.RecordedAt.Before(h.Kept.At.Add(keepEvery)) {
		return false
	}
	h.Kept.At, h.Kept.Outcomes = r.RecordedAt, h.Outcomes
	return true
}

// Clone gives a copy that shares nothing with it that changes.
func (h *Health) Clone() *Health {
	c := *h
	c.Changes = slices.Clone(h.Changes)
	c.Minutes5, c.Hour, c.Day = h.Minutes5.clone(), h.Hour.clone(), h.Day.clone()
	return &c
}

// Encode gives an endpoint's health as Restore takes it: the same bytes for the same fold.
func (h *Health) Encode() ([]byte, error) { return json.Marshal(h) }

// Restore makes the fold hold what another held: the healths as they were encoded, and the attempts that were open. The
// fold must be empty.
func (f *HealthFold) Restore(healths [][]byte, open []HealthOpen, between HealthBetween) error {
	for _, b := range healths {
		h := &Health{}
		if err := json.Unmarshal(b, h); err != nil {
			return fmt.Errorf("read an endpoint's health: %w", err)
		}
		f.endpoints[EndpointKey{Tenant: h.Tenant, Endpoint: h.Endpoint}] = h
	}
	for _, o := range open {
		h := f.endpoints[EndpointKey{Tenant: o.Stream.Tenant(), Endpoint: o.Endpoint}]
		if h == nil { // it was removed meanwhile
			h = &Health{Tenant: o.Stream.Tenant(), Endpoint: o.Endpoint, Removed: true}
		}
		h.InFlight++
		f.open[o.Stream] = openAttempt{health: h, started: o.Started}
	}
	f.scheduled = scheduledFor{between.Scheduled, between.Endpoint}
	f.late = between.Late
	return nil
}
