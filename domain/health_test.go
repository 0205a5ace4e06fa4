package domain_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// patient writes the records of one endpoint in synthetic time, and folds its health from them.
type patient struct {
	t       *testing.T
	fold    *domain.HealthFold
	now     time.Time
	records []*domain.Record
	follow  []domain.FollowUp
	n       int
}

const ep = "ep_1"

func newPatient(t *testing.T) *patient {
	p := &patient{t: t, fold: domain.NewHealthFold(domain.DefaultHealthConfig()), now: start}
	p.endpoint(&domain.EndpointRegistered{})
	return p
}

func (p *patient) write(stream domain.Stream, facts ...domain.Fact) *domain.Record {
	var last *domain.Record
	for _, f := range facts {
		p.n++
		var id ulid.ULID
		_ = id.SetTime(uint64(p.now.UnixMilli()))
		binary.BigEndian.PutUint64(id[8:], uint64(p.n))
		last = &domain.Record{ID: id, Stream: stream, Position: domain.Position(p.n), RecordedAt: p.now, Tenant: "t",
			Correlation: "evt_1", Fact: f}
		p.records = append(p.records, last)
		_, follow := p.fold.Apply(last)
		p.follow = append(p.follow, follow...)
	}
	return last
}

func (p *patient) endpoint(f domain.Fact) *domain.Record {
	return p.write(domain.EndpointStream("t", ep), f)
}

func (p *patient) begin() domain.Stream {
	s := domain.DeliveryStream("t", fmt.Sprintf("dlv_%d", p.n))
	p.write(s, &domain.AttemptStarted{Attempt: "att_1", N: 1, Endpoint: ep, StartedAt: p.now})
	return s
}

// answer is an attempt's response, with its decision; it gives the response.
func (p *patient) answer(s domain.Stream, status int, retryAfter time.Duration) *domain.Record {
	r := p.write(s, &domain.ResponseReceived{Attempt: "att_1", Status: status, RetryAfter: domain.Duration(retryAfter),
		Timings: domain.Timings{Total: 12_000}})
	if status/100 == 2 {
		p.write(s, &domain.DeliverySucceeded{Attempt: "att_1", Attempts: 1})
	} else {
		p.write(s, &domain.RetryScheduled{N: 2})
	}
	return r
}

// attempts are so many, one a second, all answered alike; it gives the last response.
func (p *patient) attempts(n, status int) (last *domain.Record) {
	for range n {
		s := p.begin()
		p.pass(time.Second)
		last = p.answer(s, status, 0)
	}
	return last
}

func (p *patient) pass(d time.Duration) { p.now = p.now.Add(d) }

func (p *patient) health() *domain.Health { return p.fold.Health("t", ep) }

// says is the state and the breaker, with the record that led there.
func (p *patient) says(want string, because *domain.Record) {
	p.t.Helper()
	h := p.health()
	if got := fmt.Sprintf("%s %s", h.StateAt(p.now), h.BreakerAt(p.now)); got != want {
		p.t.Fatalf("at %s it is %q, want %q: %+v", p.now, got, want, h)
	}
	if c := h.ChangeAt(p.now); because != nil && c.Because[len(c.Because)-1].Record != because.ID {
		p.t.Fatalf("%q is because of %v, want %s", want, c.Because, because.ID)
	}
}

// followed gives the kinds of what followed since it was last asked.
func (p *patient) followed() string {
	kinds := make([]string, 0, len(p.follow))
	for i := range p.follow {
		kinds = append(kinds, p.follow[i].Kind)
	}
	p.follow = nil
	return strings.Join(kinds, " ")
}

func (p *patient) follows(want string) {
	p.t.Helper()
	if got := p.followed(); got != want {
		p.t.Fatalf("%q follows, want %q", got, want)
	}
}

func TestHealth_FromHealthyToFailingAndBack(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.attempts(30, 200)
	p.says("healthy closed", nil)
	p.attempts(2, 500)
	p.says("healthy closed", nil)
	p.says("degraded closed", p.attempts(1, 500))
	p.says("failing closed", p.attempts(2, 500))
	p.follows(domain.FollowFailing)

	opener := p.attempts(5, 500)
	p.says("failing open", opener)
	g := p.health().Gate(p.now)
	if g.Hold != domain.HoldBreakerOpen || g.Because != opener.ID || !g.Since.Equal(opener.RecordedAt) {
		t.Fatalf("the gate of an open breaker: %+v", g)
	}
	if wait := g.Until.Sub(p.now); wait < 27*time.Second || wait > 33*time.Second {
		t.Fatalf("it stays open for %s", wait)
	}

	p.now = g.Until
	p.says("failing half_open", opener)
	if g := p.health().Gate(p.now); g.Hold != "" || g.Places != 1 {
		t.Fatalf("half-open lets one probe through: %+v", g)
	}
	probe := p.attempts(1, 500)
	p.says("failing open", opener)
	g = p.health().Gate(p.now)
	if wait := g.Until.Sub(p.now); wait < 54*time.Second || wait > 66*time.Second || g.Because != probe.ID {
		t.Fatalf("after a failed probe: %+v", g)
	}

	p.now = g.Until
	success := p.attempts(1, 200)
	p.says("degraded closed", success) // a third of the last five minutes' attempts failed
	p.follows(domain.FollowRecovered)
	if g := p.health().Gate(p.now); g.Hold != "" || g.Places != 2 {
		t.Fatalf("it is not flooded at once: %+v", g)
	}
	p.attempts(domain.DefaultHealthConfig().Places, 200)
	p.says("healthy closed", nil)
	if g := p.health().Gate(p.now); g != (domain.Gate{State: domain.HealthHealthy}) {
		t.Fatalf("nothing is held back in the end: %+v", g)
	}
}

func TestHealth_TheBreakerStaysOpenForAtMostFiveMinutes(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.attempts(10, 503)
	var waits []time.Duration
	for range 7 {
		g := p.health().Gate(p.now)
		waits = append(waits, g.Until.Sub(p.now).Round(10*time.Second))
		p.now = g.Until
		p.attempts(1, 503)
	}
	for i, want := range []time.Duration{30, 60, 120, 240, 300, 300, 300} {
		if d := (waits[i] - want*time.Second).Abs(); d > want*time.Second/10+10*time.Second {
			t.Errorf("opening %d stays for %s, want about %d s", i+1, waits[i], want)
		}
	}
}

// A failure of what was on its way when the breaker opened is no probe's; a success is one all the same.
func TestHealth_OnlyAProbeReopens(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	slow, good := p.begin(), p.begin()
	p.attempts(10, 500)
	g := p.health().Gate(p.now)
	p.now = g.Until.Add(time.Second)
	p.answer(slow, 500, 0)
	p.says("failing half_open", nil)
	p.answer(good, 200, 0)
	p.says("healthy closed", nil)
}

func TestHealth_OccasionalErrorsNeverTrip(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	for i := range 2000 {
		status := 200
		if i%4 == 0 {
			status = 500
		}
		p.attempts(1, status)
		if b := p.health().BreakerAt(p.now); b != domain.BreakerClosed {
			t.Fatalf("attempt %d: %s", i, b)
		}
	}
	p.says("degraded closed", nil)
	p.follows("")
	p.attempts(1, 200)
	last := p.health().LastFailure.At
	p.now = last.Add(5*time.Minute - 1)
	p.says("degraded closed", nil)
	p.now = last.Add(5 * time.Minute)
	p.says("healthy closed", nil)
}

// TestHealth_MailSlowsDown: what slows an endpoint down over HTTP says in SMTP that a command is not known, and what
// says there that it is too much is no status of HTTP's.
func TestHealth_MailSlowsDown(t *testing.T) {
	t.Parallel()
	for kind, slowed := range map[string]map[int]bool{
		domain.EndpointEmail: {421: true}, domain.EndpointWebhook: {429: true, 502: true, 503: true, 504: true},
	} {
		for _, status := range []int{421, 429, 450, 500, 502, 503, 504} {
			p := newPatient(t)
			p.endpoint(&domain.EndpointReconfigured{Config: domain.EndpointConfig{Kind: kind}})
			p.answer(p.begin(), status, 0)
			if g := p.health().Gate(p.now); (g.Because != ulid.ULID{}) != slowed[status] {
				t.Errorf("%s, %d: %+v", kind, status, g)
			}
		}
	}
}

// TestHealth_AnOrderedEndpointIsQuickAgain: it has one place anyway, so that nothing is held back after a success.
func TestHealth_AnOrderedEndpointIsQuickAgain(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.endpoint(&domain.EndpointReconfigured{Config: domain.EndpointConfig{Ordered: true}})
	p.attempts(1, 503)
	if g := p.health().Gate(p.now); g.Places != 1 {
		t.Fatalf("it is spared while it says that it is too much: %+v", g)
	}
	p.attempts(1, 200)
	if g := p.health().Gate(p.now); g.Places != 0 {
		t.Fatalf("a success leaves a bound of %d, and with it a rest behind each attempt", g.Places)
	}
}

func TestHealth_SlowsDown(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	var flying []domain.Stream
	for range 40 {
		flying = append(flying, p.begin())
	}
	p.pass(time.Second)
	first := p.answer(flying[0], 429, 0)
	for _, s := range flying[1:5] {
		p.answer(s, 503, 0)
	}
	if g := p.health().Gate(p.now); g.Hold != "" || g.Places != 20 || g.Because != first.ID {
		t.Fatalf("places are halved once for all that were in flight: %+v", g)
	}
	p.answer(flying[5], 200, 0)
	if g := p.health().Gate(p.now); g.Places != 21 {
		t.Fatalf("a success gives a place: %+v", g)
	}
	for _, status := range []int{429, 502, 504} {
		before := p.health().Gate(p.now).Places
		p.attempts(1, status)
		if g := p.health().Gate(p.now); g.Places != before/2 {
			t.Fatalf("%d: %+v, want half of %d places", status, g, before)
		}
	}
	p.attempts(1, 500)
	if g := p.health().Gate(p.now); g.Places != 2 {
		t.Fatalf("500 says nothing about how much it is: %+v", g)
	}

	s := p.begin()
	asked := p.answer(s, 429, 90*time.Second)
	if g := p.health().Gate(p.now); g.Hold != domain.HoldSlowedDown || g.Because != asked.ID ||
		!g.Until.Equal(p.now.Add(90*time.Second)) || !g.Since.Equal(p.now) {
		t.Fatalf("Retry-After pauses: %+v", g)
	}
	p.pass(90 * time.Second)
	if g := p.health().Gate(p.now); g.Hold != "" || g.Places != 1 {
		t.Fatalf("after the pause: %+v", g)
	}
	p.answer(p.begin(), 503, 100*time.Hour)
	if g := p.health().Gate(p.now); !g.Until.Equal(p.now.Add(time.Hour)) {
		t.Fatalf("a pause is clamped: %+v", g)
	}
}

func TestHealth_WhatDoesNotCount(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	for range 20 {
		s := p.begin()
		p.write(s, &domain.AttemptInterrupted{Attempt: "att_1", Reason: domain.InterruptCrash}, &domain.RetryScheduled{N: 2})
		s = p.begin()
		p.write(s, &domain.AttemptFailed{Attempt: "att_1", Code: domain.CodeInternal}, &domain.RetryScheduled{N: 2})
		p.write(s, &domain.ResponseReceived{Attempt: "att_0", Status: 500, Late: true})
		p.write(domain.DeliveryStream("t", "dlv_never_started"), &domain.ResponseReceived{Attempt: "att_0", Status: 500})
	}
	p.says("healthy closed", nil)
	h := p.health()
	if w := h.Windows(p.now)["5m"]; w.Attempts != 0 || w.SuccessRate != 1 || h.InFlight != 0 {
		t.Fatalf("%+v, %d in flight", w, h.InFlight)
	}
	s := p.begin()
	p.write(s, &domain.AttemptFailed{Attempt: "att_1", Code: domain.CodeBlocked}, &domain.RetryScheduled{N: 2})
	if h.Failures != 1 || h.LastCode != string(domain.CodeBlocked) {
		t.Fatalf("a blocked address is what the tenant set: %+v", h)
	}
}

func TestHealth_FollowUps(t *testing.T) {
	t.Parallel()
	t.Run("410", func(t *testing.T) {
		p := newPatient(t)
		gone := p.attempts(1, 410)
		if len(p.follow) != 1 || p.follow[0].Kind != domain.FollowDisableGone || p.follow[0].Evidence != gone.ID ||
			p.follow[0].Endpoint != ep || p.follow[0].Position != gone.Position || p.follow[0].Code != "410" {
			t.Fatalf("%+v", p.follow)
		}
		p.attempts(1, 410)
		p.follows(domain.FollowDisableGone) // the first alone
		r := p.endpoint(&domain.EndpointDisabled{Reason: "gone", Evidence: gone.ID})
		p.says("disabled closed", r)
		p.follows(domain.FollowDisabled)
		p.attempts(1, 410)
		p.follows("")
		p.endpoint(&domain.EndpointEnabled{})
		p.says("healthy closed", nil)
		p.attempts(1, 410)
		p.follows(domain.FollowDisableGone)
	})
	t.Run("exhausted", func(t *testing.T) {
		p := newPatient(t)
		s := p.begin()
		p.write(s, &domain.ResponseReceived{Attempt: "att_1", Status: 500}, &domain.DeliveryExhausted{Attempts: 1})
		if len(p.follow) != 1 || p.follow[0].Kind != domain.FollowExhausted || p.follow[0].Delivery != s.ID() ||
			p.follow[0].Event != "evt_1" || p.follow[0].Code != "500" {
			t.Fatalf("%+v", p.follow)
		}
	})
	t.Run("channel", func(t *testing.T) {
		p := newPatient(t)
		p.endpoint(&domain.EndpointReconfigured{Config: domain.EndpointConfig{Kind: "slack"}})
		p.attempts(1, 500)
		p.follows("")
		p.attempts(1, 200)
		p.follows(domain.FollowChannelEnded)
		// A late 2xx ends a delivery that has no open attempt: whose it is stands in its stream.
		s := domain.DeliveryStream("t", "dlv_late")
		p.write(s, &domain.ResponseReceived{Attempt: "att_0", Status: 200, Late: true}, &domain.DeliverySucceeded{})
		if len(p.follow) != 1 || p.follow[0].Endpoint != "" || p.follow[0].Delivery != "dlv_late" {
			t.Fatalf("%+v", p.follow)
		}
	})
	t.Run("removed", func(t *testing.T) {
		p := newPatient(t)
		p.attempts(20, 500)
		p.followed()
		s := p.begin()
		p.endpoint(&domain.EndpointRemoved{})
		p.write(s, &domain.ResponseReceived{Attempt: "att_1", Status: 410}, &domain.DeliveryCancelled{})
		p.follows("")
		if p.health() != nil {
			t.Fatal("a removed endpoint has no health")
		}
	})
}

// One that fails and answers by turns does not send messages all the time.
func TestHealth_ToldOnceInAWhile(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	kinds := map[string]int{}
	for range 600 {
		p.attempts(5, 500)
		p.attempts(1, 200)
		for _, k := range strings.Fields(p.followed()) {
			kinds[k]++
		}
	}
	if took := p.now.Sub(start); kinds[domain.FollowFailing] != 4 || kinds[domain.FollowRecovered] != 4 {
		t.Fatalf("%v in %s", kinds, took)
	}
	if n := len(p.health().Changes); n != 16 {
		t.Fatalf("%d changes are kept", n)
	}
}

// An answer that is not what the service confirms with is a failure, for all its 2xx.
func TestHealth_AnUnconfirmedAnswerIsAFailure(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	s := p.begin()
	p.write(s, &domain.ResponseReceived{Attempt: "att_1", Status: 200, Unconfirmed: true}, &domain.RetryScheduled{N: 2})
	if h := p.health(); h.Failures != 1 || h.LastCode != "unconfirmed" {
		t.Fatalf("%+v", h)
	}
}
