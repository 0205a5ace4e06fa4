package domain

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// HealthState says how an endpoint does.
type HealthState string

const (
	HealthHealthy  HealthState = "healthy"
	HealthDegraded HealthState = "degraded" // some attempts fail: 3 in a row, or more than one in ten of late
	HealthFailing  HealthState = "failing"  // nothing but failures: 5 in a row, or the breaker is open
	HealthDisabled HealthState = "disabled" // nothing is sent until it is enabled
)

// HealthStates are all of them.
func HealthStates() []HealthState {
	return []HealthState{HealthHealthy, HealthDegraded, HealthFailing, HealthDisabled}
}

// When a state changes. An endpoint is degraded below degradedRate of at least rateFloor attempts in five minutes, and
// healthy again from healthyRate on: between the two it stays what it is, or each failure would change the state.
const (
	degradedAfter = 3 // failures in a row
	failingAfter  = 5
	degradedRate  = 0.90
	healthyRate   = 0.95
	rateFloor     = 20
	// quietAfter without a failure, and with a success as the last thing that happened, what was degraded is healthy,
	// although no record says so.
	quietAfter = 5 * time.Minute
	// failingAgain is how soon after one endpoint.failing another one may follow: one that fails now and then must not
	// send messages all the time.
	failingAgain = 15 * time.Minute
	maxChanges   = 16
)

// Seen is a record that mattered, and when it was recorded.
type Seen struct {
	RecordRef
	At time.Time `json:"at,omitzero"`
}

func seen(r *Record) Seen { return Seen{RecordRef: refTo(r), At: r.RecordedAt} }

func refTo(r *Record) RecordRef {
	return RecordRef{Record: r.ID, Stream: r.Stream, Revision: r.Revision}
}

// Why a state or a breaker changed.
const (
	BecauseRow     = "failures_in_a_row"
	BecauseRate    = "success_rate"
	BecauseSuccess = "success"
	BecauseQuiet   = "no_failure_since"
	BecauseEnabled = "enabled"
)

// HealthChange is a change of the state or of the breaker, with the records that caused it: of a row of failures the
// first and the last.
type HealthChange struct {
	At      time.Time   `json:"at"`
	State   HealthState `json:"state"`
	Breaker string      `json:"breaker"` // BreakerClosed or BreakerOpen
	Reason  string      `json:"reason"`  // Because…, or why it was disabled: "manual", "gone", "failing"
	Because []RecordRef `json:"because"`
}

// Health is one endpoint's, folded from the ledger by a HealthFold. State and gate are pure functions of the fold and
// now. Its exported fields are what the last record left; what time alone changes is told by StateAt, BreakerAt, Gate.
// It takes about 700 bytes, and 200 more for each slot of a window in which something was attempted: at most 45 KB.
type Health struct {
	Tenant      string      `json:"tenant"`
	Endpoint    string      `json:"endpoint"`
	State       HealthState `json:"state"`
	Failures    int         `json:"failures,omitempty"` // in a row
	First       Seen        `json:"first,omitzero"`     // of the row
	LastFailure Seen        `json:"last_failure,omitzero"`
	LastSuccess Seen        `json:"last_success,omitzero"`
	LastCode    string      `json:"last_code,omitempty"` // of the last failure
	InFlight    int         `json:"-"`                   // attempts without an outcome
	Outcomes    int64       `json:"outcomes,omitempty"`  // that were counted, ever
	Latest      time.Time   `json:"latest,omitzero"`     // of the times of all records that were folded
	Breaker     Breaker     `json:"breaker,omitzero"`
	Slowdown    Slowdown    `json:"slowdown,omitzero"`
	// Changes are the last ones, oldest first.
	Changes []HealthChange `json:"changes,omitempty"`

	Own struct { // the endpoint's own settings
		DisableAfter *Duration `json:"disable_after,omitempty"`
		MaxInFlight  int       `json:"max_in_flight,omitempty"`
		Channel      bool      `json:"channel,omitempty"`
		Mail         bool      `json:"mail,omitempty"` // the statuses are SMTP's
	} `json:"own,omitzero"`
	Removed bool `json:"-"`
	Told    struct {
		Failing bool      `json:"failing,omitempty"` // endpoint.failing was the last, and not endpoint.recovered
		At      time.Time `json:"at,omitzero"`       // of the last endpoint.failing
		Disable bool      `json:"disable,omitempty"` // it is asked to be disabled
	} `json:"told,omitzero"`
	Kept struct { // when the fold was kept last, see Keep
		At       time.Time `json:"at,omitzero"`
		Outcomes int64     `json:"outcomes,omitempty"`
	} `json:"kept,omitzero"`

	Minutes5 ring `json:"5m,omitzero"`
	Hour     ring `json:"1h,omitzero"`
	Day      ring `json:"24h,omitzero"`
}

// IsZero leaves empty windows out of what is stored.
func (r ring) IsZero() bool { return len(r.slots) == 0 }

// Windows are what the endpoint's attempts came to over the last five minutes, hour and day.
func (h *Health) Windows(now time.Time) map[string]HealthWindow {
	return map[string]HealthWindow{
		"5m":  h.Minutes5.window(now, slots5m, slot5m),
		"1h":  h.Hour.window(now, slots1h, slot1h),
		"24h": h.Day.window(now, slots24h, slot24h),
	}
}

// Forget gives back the memory of windows in which nothing lies any more. It changes no answer.
func (h *Health) Forget(now time.Time) {
	if h.Minutes5.stale(now, slots5m, slot5m) {
		h.Minutes5 = ring{}
	}
	if h.Hour.stale(now, slots1h, slot1h) {
		h.Hour = ring{}
	}
	if h.Day.stale(now, slots24h, slot24h) {
		h.Day = ring{}
	}
}

// StateAt is the state at a time at or after the last record.
func (h *Health) StateAt(now time.Time) HealthState {
	if h == nil || h.quiet(now) {
		return HealthHealthy
	}
	return h.State
}

// ChangeAt is the change that led to the state at a time; the zero change where the endpoint was always healthy.
func (h *Health) ChangeAt(now time.Time) HealthChange {
	if h.quiet(now) {
		return h.quieted()
	}
	if n := len(h.Changes); n > 0 {
		return h.Changes[n-1]
	}
	return HealthChange{State: h.State, Breaker: BreakerClosed}
}

// ChangesAt are the last changes up to a time, oldest first.
func (h *Health) ChangesAt(now time.Time) []HealthChange {
	out := append([]HealthChange(nil), h.Changes...)
	if h.quiet(now) {
		out = append(out, h.quieted())
	}
	return out
}

func (h *Health) quiet(now time.Time) bool {
	return h.State == HealthDegraded && h.Failures == 0 && !now.Before(h.LastFailure.At.Add(quietAfter))
}

func (h *Health) quieted() HealthChange {
	return HealthChange{At: h.LastFailure.At.Add(quietAfter), State: HealthHealthy, Breaker: BreakerClosed,
		Reason: BecauseQuiet, Because: []RecordRef{h.LastFailure.RecordRef, h.LastSuccess.RecordRef}}
}

// settle makes what time alone has changed a part of the fold, before the next record is.
func (h *Health) settle(at time.Time) {
	if h.quiet(at) {
		h.note(h.quieted())
	}
}

func (h *Health) note(c HealthChange) {
	h.State = c.State
	if len(h.Changes) == maxChanges {
		h.Changes = append(h.Changes[:0], h.Changes[1:]...)
	}
	h.Changes = append(h.Changes, c)
}

// change notes a change of the state or the breaker. A record may change both; then it is noted once.
func (h *Health) change(r *Record, to HealthState, reason string, because ...RecordRef) {
	c := HealthChange{At: r.RecordedAt, State: to, Breaker: BreakerClosed, Reason: reason, Because: because}
	if h.Breaker.Opened > 0 {
		c.Breaker = BreakerOpen
	}
	h.note(c)
}

// verdict is what an attempt came to, as far as health goes.
type verdict struct {
	status     int       // of the answer; 0: none came
	code       ErrorCode // where none came
	retryAfter time.Duration
	total      int64     // us
	started    time.Time // when the attempt was
}

func (v *verdict) text() string {
	c := codeCount{status: v.status, name: v.code}
	return c.text()
}

func (h *Health) count(at time.Time, ok bool, v *verdict) {
	h.Outcomes++
	b := bucketOf(v.total)
	h.Minutes5.add(at, slots5m, slot5m, ok, b, v.status, v.code)
	h.Hour.add(at, slots1h, slot1h, ok, b, v.status, v.code)
	h.Day.add(at, slots24h, slot24h, ok, b, v.status, v.code)
}

// poor says whether too many attempts of the last five minutes failed: to a healthy endpoint it applies a stricter
// measure than to one that is not.
func (h *Health) poor() bool {
	n, rate := h.Minutes5.attempts, degradedRate
	if h.State != HealthHealthy {
		rate = healthyRate
	}
	return n >= rateFloor && float64(h.Minutes5.succeeded) < rate*float64(n)
}

func (h *Health) succeeded(r *Record, v *verdict, c *HealthConfig) []FollowUp {
	h.settle(r.RecordedAt)
	h.count(r.RecordedAt, true, v)
	h.LastSuccess = seen(r)
	reopened := h.Breaker.Opened > 0
	row := h.row(r)
	h.Failures, h.First, h.Breaker, h.Told.Disable = 0, Seen{}, Breaker{}, false
	h.Slowdown.quicken(h.places(c))
	if h.State == HealthDisabled {
		return nil // the answer to what was sent before
	}
	to, reason := HealthHealthy, BecauseSuccess
	if h.State != HealthHealthy && h.poor() {
		to, reason = HealthDegraded, BecauseRate
	}
	if to == h.State && !reopened {
		return nil
	}
	h.change(r, to, reason, refTo(r))
	if !h.Told.Failing {
		return nil
	}
	h.Told.Failing = false
	return []FollowUp{h.follow(FollowRecovered, r, row)}
}

// row is what a follow-up says of the failures in a row.
func (h *Health) row(r *Record) FollowUp {
	return FollowUp{First: h.First.Record, Since: h.First.At, Failures: h.Failures, Code: h.LastCode}
}

func (h *Health) follow(kind string, r *Record, f FollowUp) FollowUp {
	f.Kind, f.Tenant, f.Endpoint, f.Evidence, f.Position, f.At = kind, h.Tenant, h.Endpoint, r.ID, r.Position, r.RecordedAt
	if r.Stream.Category() == CategoryDelivery {
		f.Delivery, f.Event = r.Stream.ID(), r.Correlation
	}
	return f
}

func (h *Health) failed(r *Record, v *verdict, c *HealthConfig) []FollowUp {
	h.settle(r.RecordedAt)
	h.count(r.RecordedAt, false, v)
	if h.Failures++; h.Failures == 1 {
		h.First = seen(r)
	}
	h.LastFailure, h.LastCode = seen(r), v.text()
	if overloaded(v.status, h.Own.Mail) {
		h.Slowdown.slow(r, v, h.InFlight, h.places(c))
	}
	if h.State == HealthDisabled {
		return nil
	}
	opened := h.Breaker.failed(r, v, h.Failures, c)
	if opened {
		h.Slowdown.restart(r)
	}
	h.worsen(r, opened)
	return h.demand(r, v, c)
}

// worsen is the change of state that a failure brings.
func (h *Health) worsen(r *Record, opened bool) {
	row := []RecordRef{h.First.RecordRef, refTo(r)}
	if h.Failures == 1 {
		row = row[1:]
	}
	switch {
	case opened, h.Failures >= failingAfter && h.State != HealthFailing:
		h.change(r, HealthFailing, BecauseRow, row...)
	case h.State != HealthHealthy:
	case h.Failures >= degradedAfter:
		h.change(r, HealthDegraded, BecauseRow, row...)
	case h.poor():
		h.change(r, HealthDegraded, BecauseRate, refTo(r))
	}
}

// demand is what a failure asks for: that somebody is told, or that the endpoint is disabled.
func (h *Health) demand(r *Record, v *verdict, c *HealthConfig) (out []FollowUp) {
	if h.Removed {
		return nil
	}
	if h.State == HealthFailing && !h.Told.Failing &&
		(h.Told.At.IsZero() || !r.RecordedAt.Before(h.Told.At.Add(failingAgain))) {
		h.Told.Failing, h.Told.At = true, r.RecordedAt
		out = append(out, h.follow(FollowFailing, r, h.row(r)))
	}
	after := c.DisableAfter
	if h.Own.DisableAfter != nil {
		after = time.Duration(*h.Own.DisableAfter)
	}
	switch {
	case h.Told.Disable:
	case v.status == statusGone:
		h.Told.Disable = true
		out = append(out, h.follow(FollowDisableGone, r, h.row(r)))
	case after > 0 && h.State == HealthFailing && !r.RecordedAt.Before(h.First.At.Add(after)):
		h.Told.Disable = true
		out = append(out, h.follow(FollowDisableFailing, r, h.row(r)))
	}
	return out
}

// places is the bound of attempts in flight that the endpoint has anyway.
func (h *Health) places(c *HealthConfig) int {
	if h.Own.MaxInFlight > 0 {
		return h.Own.MaxInFlight
	}
	return c.Places
}

func (h *Health) configured(c *EndpointConfig) {
	h.Own.DisableAfter, h.Own.MaxInFlight, h.Own.Channel = c.DisableAfter, c.MaxInFlight, c.IsChannel()
	if c.Ordered {
		h.Own.MaxInFlight = 1
	}
	h.Own.Mail = c.Kind == EndpointEmail
}

func (h *Health) disabled(r *Record, reason string, evidence ulid.ULID) []FollowUp {
	h.settle(r.RecordedAt)
	because := []RecordRef{refTo(r)}
	switch {
	case evidence.IsZero():
	case evidence == h.LastFailure.Record:
		because = []RecordRef{h.LastFailure.RecordRef, refTo(r)}
	default:
		because = []RecordRef{{Record: evidence}, refTo(r)}
	}
	row := h.row(r)
	row.Code = reason
	h.Breaker, h.Told.Failing, h.Told.Disable = Breaker{}, false, false
	h.change(r, HealthDisabled, reason, because...)
	return []FollowUp{h.follow(FollowDisabled, r, row)}
}

// enabled begins anew: who enables an endpoint says that what was wrong is mended, and a row of failures of before must
// not disable it at the next one.
func (h *Health) enabled(r *Record) {
	h.Failures, h.First, h.Breaker, h.Slowdown = 0, Seen{}, Breaker{}, Slowdown{}
	h.Told.Failing, h.Told.At, h.Told.Disable = false, time.Time{}, false
	if h.State != HealthHealthy {
		h.change(r, HealthHealthy, BecauseEnabled, refTo(r))
	}
}
