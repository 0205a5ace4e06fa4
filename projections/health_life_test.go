package projections

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"hookledger/domain"
)

// life is an endpoint's, in synthetic time: what a node says of its health after each record.
type life struct {
	*fakeLedger
	t      *testing.T
	p      *Projections
	said   []string // by record
	follow []string // kinds, as they were found
}

func (l *life) settle() {
	l.t.Helper()
	for r, err := range l.ReadAll(l.t.Context(), l.p.live.progress.position()) {
		if err == nil {
			err = l.p.live.fold(r)
		}
		if err != nil {
			l.t.Fatal(err)
		}
		l.said = append(l.said, spoken(l.p.health, r.RecordedAt))
	}
	for n, _ := l.p.health.Waiting(); n > 0; n-- {
		f, err := l.p.health.Next(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		l.follow = append(l.follow, f.Kind)
		if f.Decides() { // what followups does
			e := l.endpoints[domain.EndpointKey{Tenant: ten, Endpoint: ep1}]
			for _, fact := range e.DisableBecause(&f) {
				l.configure(domain.EndpointKey{Tenant: ten, Endpoint: ep1}, fact)
			}
		}
		l.p.health.Done(f)
	}
	if l.Head() > l.p.live.progress.position() {
		l.settle()
	}
}

// spoken is the state and the breaker at a time, with the records that led there.
func spoken(h *Health, now time.Time) string {
	one := h.fold.Health(ten, ep1)
	if one == nil {
		return ""
	}
	return fmt.Sprint(one.StateAt(now), " ", one.BreakerAt(now), " ", one.ChangeAt(now).Because)
}

// try is an attempt that the gate lets through, or fails the test.
func (l *life) try(status int) {
	l.t.Helper()
	if g := l.p.Health().Gate(ten, ep1, l.now()); g.Hold != "" {
		l.t.Fatalf("nothing may start: %+v", g)
	}
	l.sick(ep1, 1, status)
	l.settle()
}

func (l *life) is(want string) {
	l.t.Helper()
	one := l.p.health.fold.Health(ten, ep1)
	if got := fmt.Sprint(one.StateAt(l.now()), " ", one.BreakerAt(l.now())); got != want {
		l.t.Fatalf("at %s it is %s, want %s: %+v", l.now(), got, want, one.Changes)
	}
}

// wait passes the time until the gate's hold has ended.
func (l *life) wait() {
	l.t.Helper()
	g := l.p.Health().Gate(ten, ep1, l.now())
	if g.Hold != domain.HoldBreakerOpen {
		l.t.Fatalf("%+v", g)
	}
	l.pass(g.Until.Sub(l.now()))
}

// TestAnEndpointsLife drives an endpoint through every state: healthy, degraded, failing, breaker open and half-open,
// recovered, failing for five days, disabled by that, and enabled again. At the end the same is said of each record, by
// a fold of the whole ledger and, as of every record at which something changed, by what is computed from the ledger.
func TestAnEndpointsLife(t *testing.T) {
	t.Parallel()
	l := &life{fakeLedger: newFakeLedger(), t: t}
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.p = l.opened(t, nil)
	l.said = make([]string, len(l.records)) // by the opening
	for range 30 {
		l.try(200)
	}
	l.is("healthy closed")
	for range 3 {
		l.try(500)
	}
	l.is("degraded closed")
	l.try(500)
	l.try(500)
	l.is("failing closed")
	for range 5 {
		l.try(500)
	}
	l.is("failing open")
	l.wait()
	l.is("failing half_open")
	l.try(500)
	l.is("failing open")
	l.wait()
	l.try(200)
	l.is("degraded closed") // too many of the last five minutes failed
	l.pass(5 * time.Minute)
	l.is("healthy closed")
	l.try(200)

	begin := l.now()
	for l.p.health.fold.Health(ten, ep1).BreakerAt(l.now()) == domain.BreakerClosed {
		l.try(503)
	}
	probes := 0
	for l.p.health.fold.Health(ten, ep1).State != domain.HealthDisabled {
		l.is("failing open")
		l.wait()
		l.pass(37 * time.Minute) // now and then something comes
		l.is("failing half_open")
		l.try(503)
		probes++
	}
	if took := l.now().Sub(begin); took < 5*24*time.Hour || took > 5*24*time.Hour+2*time.Hour || probes < 100 {
		t.Errorf("it was disabled after %s and %d probes", took, probes)
	}
	e := l.endpoints[domain.EndpointKey{Tenant: ten, Endpoint: ep1}]
	if !e.Disabled || e.DisabledReason != domain.DisabledFailing {
		t.Errorf("%+v", e)
	}
	l.is("disabled closed")
	l.configure(domain.EndpointKey{Tenant: ten, Endpoint: ep1}, &domain.EndpointEnabled{})
	l.settle()
	l.is("healthy closed")
	for range 9 {
		l.try(503) // what was before counts no more
	}
	l.is("failing closed")
	l.try(200)
	if want := []string{domain.FollowFailing, domain.FollowRecovered, domain.FollowFailing, domain.FollowDisableFailing,
		domain.FollowDisabled, domain.FollowFailing, domain.FollowRecovered}; !slices.Equal(l.follow, want) {
		t.Errorf("%v followed, want %v", l.follow, want)
	}
	l.again()
}

// again computes all of it from the ledger.
func (l *life) again() {
	l.t.Helper()
	anew := newHealth(l.p.cfg.Health, l.now, slog.New(slog.DiscardHandler))
	changed := map[domain.Position]string{}
	before := ""
	for i, r := range l.records {
		anew.apply(r)
		says := spoken(anew, r.RecordedAt)
		if l.said[i] != "" && says != l.said[i] {
			l.t.Fatalf("record %d: %s, and live %s", i, says, l.said[i])
		}
		if says != before && says != "" {
			changed[r.Position] = says
		}
		before = says
	}
	if err := l.p.history.catchUp(context.Background()); err != nil {
		l.t.Fatal(err)
	}
	if err := l.p.health.save(context.Background(), l.p.history.w); err != nil {
		l.t.Fatal(err)
	}
	streams := map[domain.Stream][]*domain.Record{}
	for _, r := range l.records {
		streams[r.Stream] = append(streams[r.Stream], r)
	}
	l.p.cfg.Store = &indexed{l.fakeLedger, streams}
	if len(changed) < 12 {
		l.t.Errorf("only %d records changed anything", len(changed))
	}
	for at, want := range changed {
		v, err := l.p.HealthAt(l.t.Context(), ten, ep1, Cut{Position: at})
		if got := fmt.Sprint(v.State, " ", v.Breaker, " ", v.Since.Because); err != nil || got != want {
			l.t.Fatalf("as of %d: %s, want %s: %v", at, got, want, err)
		}
	}
}
