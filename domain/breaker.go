package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/oklog/ulid/v2"
)

// What a breaker does.
const (
	BreakerClosed   = "closed"
	BreakerOpen     = "open"      // nothing starts
	BreakerHalfOpen = "half_open" // one attempt may start, the probe
)

const (
	// breakJitter is the share by which the time that a breaker stays open is moved either way, so that many that opened
	// together do not probe together.
	breakJitter = 0.1
	// maxPause bounds what a Retry-After holds a whole endpoint for; the delivery itself honours more.
	maxPause   = time.Hour
	statusGone = 410
)

// Breaker holds an endpoint's deliveries back that is most likely down, without spending their attempts. The zero
// Breaker is closed.
type Breaker struct {
	Opened int       `json:"opened,omitempty"` // how often in a row: once, and once more for each failed probe
	Since  time.Time `json:"since,omitzero"`   // of the first
	Until  time.Time `json:"until,omitzero"`   // then it is half-open
	By     ulid.ULID `json:"by,omitzero"`      // the failure that opened it last
}

// failed takes a failure in, the n-th in a row, and says whether it opened the breaker that was closed. Only an attempt
// that began when the breaker was half-open is a probe: what was on its way when it opened proves nothing new.
func (b *Breaker) failed(r *Record, v *verdict, n int, c *HealthConfig) bool {
	first := b.Opened == 0
	switch {
	case first && (c.BreakAfter <= 0 || n < c.BreakAfter):
		return false
	case !first && v.started.Before(b.Until):
		return false
	case first:
		b.Since = r.RecordedAt
	}
	b.Opened++
	b.By, b.Until = r.ID, r.RecordedAt.Add(c.stayOpen(b.Opened, r.ID))
	return first
}

// stayOpen is how long a breaker stays open that opened for the n-th time in a row by a record: the jitter is drawn
// from the record, so that whoever folds it gets the same.
func (c *HealthConfig) stayOpen(n int, by ulid.ULID) time.Duration {
	wait := c.BreakFor
	for i := 1; i < n && wait < c.BreakAtMost; i++ {
		wait *= 2
	}
	wait = min(wait, c.BreakAtMost)
	sum := sha256.Sum256(by[:])
	draw := float64(binary.BigEndian.Uint64(sum[:])>>11)/(1<<53)*2 - 1
	return (wait + time.Duration(float64(wait)*breakJitter*draw)).Round(time.Millisecond)
}

func (b *Breaker) at(now time.Time) string {
	switch {
	case b.Opened == 0:
		return BreakerClosed
	case now.Before(b.Until):
		return BreakerOpen
	}
	return BreakerHalfOpen
}

// BreakerAt is what the breaker does at a time.
func (h *Health) BreakerAt(now time.Time) string { return h.Breaker.at(now) }

// Slowdown is how an endpoint is spared that said it has too much to do. The zero Slowdown does not.
type Slowdown struct {
	Places int       `json:"places,omitempty"` // at most so many attempts in flight; 0: no bound
	By     ulid.ULID `json:"by,omitzero"`      // the record that set the bound
	At     time.Time `json:"at,omitzero"`      // when
	// Of the pause that a Retry-After asked for.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Asked ulid.ULID `json:"asked,omitzero"`
}

// overloaded are the statuses by which a receiver, or what stands before it, says that it is too much. In SMTP 421
// says so (RFC 5321, section 4.2.3), and 502 to 504 are about commands.
func overloaded(status int, mail bool) bool {
	if mail {
		return status == 421
	}
	return status == 429 || status == 502 || status == 503 || status == 504
}

// slow halves the places of an endpoint that says it is too much. Of the attempts that were in flight together only the
// first does, for the others don't know of it yet.
func (s *Slowdown) slow(r *Record, v *verdict, inFlight, most int) {
	if v.retryAfter > 0 {
		until := r.RecordedAt.Add(min(v.retryAfter, maxPause))
		if until.After(s.Until) {
			if !r.RecordedAt.Before(s.Until) {
				s.Since = r.RecordedAt
			}
			s.Until, s.Asked = until, r.ID
		}
	}
	if !s.At.IsZero() && v.started.Before(s.At) {
		return
	}
	had := s.Places
	if had == 0 {
		had = min(max(inFlight, 1), most)
	}
	s.Places, s.By, s.At = max(1, had/2), r.ID, r.RecordedAt
}

// restart leaves one place: after a breaker was open the endpoint is not flooded at once.
func (s *Slowdown) restart(r *Record) { s.Places, s.By, s.At = 1, r.ID, r.RecordedAt }

// quicken gives a place more, until there is no bound but the one that there is anyway.
func (s *Slowdown) quicken(most int) {
	if s.Places == 0 {
		return
	}
	if s.Places++; s.Places >= most {
		s.Places, s.By, s.At = 0, ulid.ULID{}, time.Time{}
	}
}

// Gate is what the endpoint's health lets through at a time. A disabled endpoint's deliveries are held by that.
func (h *Health) Gate(now time.Time) Gate {
	if h == nil {
		return Gate{State: HealthHealthy}
	}
	var g Gate
	switch h.Breaker.at(now) {
	case BreakerOpen:
		g = Gate{Hold: HoldBreakerOpen, Since: h.Breaker.Since, Until: h.Breaker.Until, Because: h.Breaker.By}
	case BreakerHalfOpen:
		g = Gate{Places: 1, Because: h.Breaker.By}
	default:
		g = Gate{Places: h.Slowdown.Places, Because: h.Slowdown.By}
	}
	if s := &h.Slowdown; now.Before(s.Until) && s.Until.After(g.Until) {
		g = Gate{Hold: HoldSlowedDown, Since: s.Since, Until: s.Until, Because: s.Asked}
	}
	g.State = h.StateAt(now)
	return g
}
