package domain

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// ReplayMatch is the rule by which a replay's events are matched to endpoints.
type ReplayMatch string

const (
	MatchThen ReplayMatch = "then" // as they were routed when they came
	MatchNow  ReplayMatch = "now"  // as the endpoints are configured at the plan's record
)

// RecordRef cites a record so that it can be found in whatever store the ledger stands.
type RecordRef struct {
	Record   ulid.ULID `json:"record"`
	Stream   Stream    `json:"stream"`
	Revision Revision  `json:"revision"`
}

// ReplayRequested is what somebody asked to have sent again. It stands in one append with ReplayPlanned.
type ReplayRequested struct {
	// Endpoint gets all of it; empty: each event goes to the endpoints that it is matched to.
	Endpoint  string      `json:"endpoint,omitempty"`
	Match     ReplayMatch `json:"match"`
	Rate      float64     `json:"rate,omitempty"`       // deliveries per second; 0: as fast as the limits allow
	GapFactor float64     `json:"gap_factor,omitempty"` // the original gaps times this; 0: they do not count
	Ordered   bool        `json:"ordered,omitempty"`    // the next one goes out when the one before has ended
	Content   *Sealed     `json:"content"`              // ReplayContent
}

// ReplayPlanned is what it came to, at one record of the ledger: planned again at that record it comes to the same.
type ReplayPlanned struct {
	AsOf    RecordRef      `json:"as_of"`
	Count   int            `json:"count"` // of deliveries
	Bytes   int64          `json:"bytes"` // of their bodies
	Skipped map[string]int `json:"skipped,omitempty"`
	Digest  string         `json:"digest"` // PlanDigest over all pairs in order, hex
}

// ReplayPair is one event on its way to one endpoint once more.
type ReplayPair struct {
	Event    string `json:"event"`
	Endpoint string `json:"endpoint"`
	Delivery string `json:"delivery"`
}

// ReplayPageScheduled makes the next deliveries of the plan due: it is to them what EventRouted is to others.
type ReplayPageScheduled struct {
	Page   int          `json:"page"`    // from 1
	First  int          `json:"first"`   // number of pairs in the pages before it
	Pairs  []ReplayPair `json:"pairs"`   // at most MaxReplayPage
	LastAt time.Time    `json:"last_at"` // when the last pair's event was received: the plan goes on behind it
	Digest string       `json:"digest"`  // PlanDigest over all pairs up to here, hex
}

// ReplayPaused holds what is scheduled and not on its way yet, and schedules no more.
type ReplayPaused struct {
	Reason string `json:"reason"` // "manual", "plan_diverged", "selector_erased"
}

type ReplayResumed struct{}

// ReplayCancelled ends the plan; what is scheduled and not on its way is cancelled after it, each with its own record.
type ReplayCancelled struct {
	Reason string `json:"reason"` // "manual", "endpoint_removed"
}

// ReplayCompleted is the result, once every delivery that was scheduled has ended.
type ReplayCompleted struct {
	Delivered int            `json:"delivered"`
	Failed    int            `json:"failed"`            // exhausted
	Skipped   map[string]int `json:"skipped,omitempty"` // those planned and not delivered, and those left out of the plan
}

func (*ReplayRequested) RecordType() string     { return "ReplayRequested" }
func (*ReplayPlanned) RecordType() string       { return "ReplayPlanned" }
func (*ReplayPageScheduled) RecordType() string { return "ReplayPageScheduled" }
func (*ReplayPaused) RecordType() string        { return "ReplayPaused" }
func (*ReplayResumed) RecordType() string       { return "ReplayResumed" }
func (*ReplayCancelled) RecordType() string     { return "ReplayCancelled" }
func (*ReplayCompleted) RecordType() string     { return "ReplayCompleted" }

func (*ReplayRequested) RecordVersion() int     { return 1 }
func (*ReplayPlanned) RecordVersion() int       { return 1 }
func (*ReplayPageScheduled) RecordVersion() int { return 1 }
func (*ReplayPaused) RecordVersion() int        { return 1 }
func (*ReplayResumed) RecordVersion() int       { return 1 }
func (*ReplayCancelled) RecordVersion() int     { return 1 }
func (*ReplayCompleted) RecordVersion() int     { return 1 }

func (*ReplayRequested) fact()     {}
func (*ReplayPlanned) fact()       {}
func (*ReplayPageScheduled) fact() {}
func (*ReplayPaused) fact()        {}
func (*ReplayResumed) fact()       {}
func (*ReplayCancelled) fact()     {}
func (*ReplayCompleted) fact()     {}
