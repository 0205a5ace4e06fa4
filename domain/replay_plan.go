package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"time"
)

// ReplaySelector says which events are replayed; all that is given must hold. Times and positions are exclusive.
type ReplaySelector struct {
	CreatedAfter   time.Time `json:"created_after,omitzero"` // received
	CreatedBefore  time.Time `json:"created_before,omitzero"`
	OccurredAfter  time.Time `json:"occurred_after,omitzero"` // the event's own timestamp
	OccurredBefore time.Time `json:"occurred_before,omitzero"`
	// The positions of EventReceived that are asked for. On the ledger stand records in their place, After and Before,
	// for positions are the store's own; selectors that were written before have positions there.
	PositionAfter  Position         `json:"position_after,omitempty"`
	PositionBefore Position         `json:"position_before,omitempty"`
	After          *RecordRef       `json:"after,omitempty"`
	Before         *RecordRef       `json:"before,omitempty"`
	EventTypes     []string         `json:"event_types,omitempty"` // patterns
	EndpointIDs    []string         `json:"endpoint_ids,omitempty"`
	EventIDs       []string         `json:"event_ids,omitempty"`
	DeliveryIDs    []string         `json:"delivery_ids,omitempty"` // their events, each to where it went
	Subject        string           `json:"subject,omitempty"`
	Status         []DeliveryStatus `json:"status,omitempty"` // of the routed delivery, or of that of DeliveryIDs; with MatchThen only
	// MissedBy is an endpoint: what it was routed and did not take, and what it was left out of because it was disabled
	// or not registered yet.
	MissedBy string `json:"missed_by,omitempty"`
	// FailuresOf is another replay: those of its deliveries that were exhausted.
	FailuresOf string `json:"failures_of,omitempty"`
}

// ReplayContent is what ReplayRequested seals.
type ReplayContent struct {
	Selector ReplaySelector `json:"selector"`
	Reason   string         `json:"reason,omitempty"`
}

// Bounds of what a replay can be asked for.
const (
	MaxReplayIDs     = 5_000 // event or delivery ids named in a selector
	MaxReplayReason  = 1024  // bytes
	MaxReplayRate    = 1e6
	MaxReplayFactor  = 1000
	DefaultMaxReplay = 100_000 // deliveries of a plan that nobody has confirmed to be larger
)

// Check says what is wrong with the selector.
func (s *ReplaySelector) Check(match ReplayMatch) error {
	bad := func(code, detail, fix string) error { return Refuse(KindInvalid, code, detail, fix) }
	switch {
	case s.isEmpty():
		return bad("empty_selector", "the selector selects nothing in particular",
			"give at least one of created_after, created_before, event_types, endpoint_ids, event_ids, status or missed_by")
	case emptySpan(s.CreatedAfter, s.CreatedBefore):
		return bad("empty_range", "created_after is not before created_before", "swap them")
	case emptySpan(s.OccurredAfter, s.OccurredBefore):
		return bad("empty_range", "occurred_after is not before occurred_before", "swap them")
	case s.PositionAfter != 0 && s.After != nil || s.PositionBefore != 0 && s.Before != nil:
		return bad("invalid_range", "both a position and a record are given for one end", "use one of them")
	case s.PositionBefore != 0 && s.PositionAfter >= s.PositionBefore:
		return bad("empty_range", "position_after is not before position_before", "swap them")
	case len(s.EventIDs) > MaxReplayIDs:
		return bad("too_many_event_ids", "the selector names more than "+strconv.Itoa(MaxReplayIDs)+" event ids",
			"select by time and type, or make several replays")
	case len(s.DeliveryIDs) > MaxReplayIDs:
		return bad("too_many_delivery_ids", "the selector names more than "+strconv.Itoa(MaxReplayIDs)+" delivery ids",
			"select by time, endpoint and status, or make several replays")
	case match != MatchThen && match != MatchNow:
		return bad("invalid_match", "match is neither then nor now",
			"use then: as it was routed; or now: as it would be today")
	case match == MatchNow && len(s.Status) > 0:
		return bad("invalid_match", "status is that of the routed delivery, which match now does not look at",
			"use match then, or leave status out")
	case len(s.DeliveryIDs) > 0 && (s.MissedBy != "" || s.FailuresOf != "" || match != MatchThen):
		return bad("invalid_match", "delivery_ids name where each event went", "leave out missed_by, failures_of and match")
	case s.MissedBy != "" && (len(s.EndpointIDs) > 0 || len(s.Status) > 0 || match != MatchThen):
		return bad("invalid_match", "missed_by is a rule of its own", "leave out endpoint_ids, status and match")
	case s.FailuresOf != "" && (s.MissedBy != "" || len(s.Status) > 0 || match != MatchThen):
		return bad("invalid_match", "failures_of is a rule of its own", "leave out missed_by, status and match")
	}
	if i := slices.IndexFunc(s.EventTypes, func(p string) bool { return !ValidPattern(p) }); i >= 0 {
		return bad("invalid_event_type", "\""+s.EventTypes[i]+"\" is no event type or pattern",
			`use a type, a prefix with ".*", or "*"`)
	}
	for _, status := range s.Status {
		switch status {
		case StatusPending, StatusInFlight, StatusRetrying, StatusSucceeded, StatusExhausted, StatusCancelled:
		default:
			return bad("invalid_status", "\""+string(status)+"\" is no status that a replay selects by",
				"use pending, in_flight, retrying, succeeded, exhausted or cancelled")
		}
	}
	return nil
}

func (s *ReplaySelector) isEmpty() bool {
	times := s.CreatedAfter.IsZero() && s.CreatedBefore.IsZero() && s.OccurredAfter.IsZero() && s.OccurredBefore.IsZero()
	places := s.PositionAfter == 0 && s.PositionBefore == 0 && s.After == nil && s.Before == nil
	return times && places && len(s.EventTypes) == 0 && len(s.EndpointIDs) == 0 && len(s.EventIDs) == 0 &&
		len(s.DeliveryIDs) == 0 && s.Subject == "" && len(s.Status) == 0 && s.MissedBy == "" && s.FailuresOf == ""
}

func emptySpan(after, before time.Time) bool {
	return !after.IsZero() && !before.IsZero() && !after.Before(before)
}

// PlannedPair is one step of a plan: an event, and the endpoint that it goes to.
type PlannedPair struct {
	Event    string
	Type     string
	Size     int       // of the body, in bytes
	At       time.Time // when it was received
	Endpoint string
}

// ReplayCursor is the last pair that was dealt with. A plan is in the order of (At, Event, Endpoint); the zero cursor
// stands before all.
type ReplayCursor struct {
	At       time.Time `json:"at,omitzero"`
	Event    string    `json:"event,omitempty"`
	Endpoint string    `json:"endpoint,omitempty"`
}

// PlanDigest runs over the pairs of a plan: SHA-256 over the digest before it and the pair's two ids with their lengths
// in 8 bytes. A page of a plan can so be checked without the pages before it.
type PlanDigest [sha256.Size]byte

// Add gives the digest with one pair more.
func (d PlanDigest) Add(event, endpoint string) PlanDigest {
	b := make([]byte, 0, 256)
	b = append(b, d[:]...)
	for _, part := range [...]string{event, endpoint} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

func (d PlanDigest) String() string { return hex.EncodeToString(d[:]) }

func planDigest(s string) (d PlanDigest) {
	if raw, err := hex.DecodeString(s); err == nil && len(raw) == len(d) {
		copy(d[:], raw)
	}
	return d
}

// ReplayDeliveryID derives the delivery of the n-th pair of a plan, from 0. It begins with the time of the request, and
// goes on by a millisecond with every thousand pairs: so lists show a replay's deliveries where it was made, and in the
// order of its plan.
func ReplayDeliveryID(requested time.Time, n int, tenant, replay, event, endpoint string) string {
	return DeliveryID(requested.Add(time.Duration(n/MaxReplayPage)*time.Millisecond), tenant, event, endpoint, replay)
}

// EventRange is the part of a tenant's events that a plan looks at. It is of what never changes in an event, so that it
// is the same whenever it is read.
type EventRange struct {
	IDs           []string // nil: all
	CreatedAfter  time.Time
	CreatedBefore time.Time
	// By the event's own timestamp, in whole microseconds.
	OccurredAfter  time.Time
	OccurredBefore time.Time
	After          Position // exclusive
	UpTo           Position // inclusive
}

// EventHead is an event without its content.
type EventHead struct {
	ID       string
	Type     string
	Size     int       // of the body, in bytes
	At       time.Time // when it was received, in whole microseconds
	Position Position  // of EventReceived
}

// ReplayProgress counts the deliveries of a replay, as far as its pages were folded.
type ReplayProgress struct {
	Scheduled int
	Open      int // on their way: pending, in flight, retrying
	Delivered int
	Failed    int // exhausted
	Cancelled int
	Position  Position // up to which that was folded
}
