package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
	"hookledger/projections"
)

// story is a world in which nothing is left to chance: two endpoints, one whose health changes and one that is told.
type story struct {
	*world
	t           *testing.T
	sick, watch string // ids
}

const sickHost, watchHost = "receiver0.example", "receiver1.example"

// TestAnEndpointsLifeInTheWholeProduct: from the API to the receivers, an endpoint is healthy, fails until its breaker
// opens, is probed, recovers, fails for five days, is disabled with its evidence, and is enabled. Another one that
// asked is told each time. At the end the ledger is folded anew, by the domain's fold and by a node without rows: the
// states are the same, at the same records.
func TestAnEndpointsLifeInTheWholeProduct(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t, dir)
		defer s.net.end()
		defer func() {
			if err := s.life.end(); err != nil {
				t.Error(err)
			}
		}()
		s.live()
		s.again()
	})
}

func newStory(t *testing.T, dir string) *story {
	w := &world{t: t, rng: rand.New(rand.NewPCG(1, 1)), chance: rand.New(rand.NewPCG(1, 2)), dir: dir,
		master: domain.NewSecret(strings.Repeat("5a", 32)), admin: domain.NewSecret("hl_" + strings.Repeat("a", 43)),
		acked: map[string]string{}, ids: map[string]string{}, ledger: newWitness()}
	w.receivers = &receivers{draw: w.draw, seen: func(*request, http.Header) {}, moods: map[string]mood{}}
	w.net = newNetwork(w.receivers)
	w.start(vfs.NewCrashableMem())
	if err := w.bootstrap(w.life); err != nil {
		t.Fatal(err)
	}
	s := &story{world: w, t: t}
	s.sick = s.make(sickHost, "cron.completed")
	s.watch = s.make(watchHost, "endpoint.*", "delivery.exhausted")
	return s
}

func (s *story) make(host string, types ...string) string {
	s.t.Helper()
	a := s.ask("POST", "/v1/endpoints", map[string]any{"url": "http://" + host + "/hook", "event_types": types})
	var made struct{ ID string }
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != http.StatusCreated {
		s.t.Fatalf("%d %s", a.status, a.body)
	}
	return made.ID
}

// pass lets time pass, and what is due be done.
func (s *story) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// events posts n of them, a minute apart.
func (s *story) events(n int) {
	for range n {
		s.post()
		s.pass(time.Minute)
	}
}

type health struct {
	State, Breaker string
	Because        []string
	InFlight       int `json:"in_flight"`
	Hold           *struct{ Reason string }
	Pending        int
}

func (s *story) health() health {
	s.t.Helper()
	a := s.ask("GET", "/v1/endpoints/"+s.sick+"/health", nil)
	var h health
	if err := json.Unmarshal(a.body, &h); err != nil || a.status != http.StatusOK {
		s.t.Fatalf("%d %s", a.status, a.body)
	}
	return h
}

func (s *story) is(state, breaker string) {
	s.t.Helper()
	if h := s.health(); h.State != state || h.Breaker != breaker {
		s.t.Fatalf("at %s it is %+v, want %s, %s", time.Now().UTC(), h, state, breaker)
	}
}

// got counts what a receiver was sent.
func (s *story) got(host string) int {
	s.receivers.mu.Lock()
	defer s.receivers.mu.Unlock()
	n := 0
	for _, r := range s.receivers.requests {
		if r.endpoint == host {
			n++
		}
	}
	return n
}

// told are the types of the events that the watching endpoint got about the other one.
func (s *story) told() []string {
	s.t.Helper()
	s.receivers.mu.Lock()
	defer s.receivers.mu.Unlock()
	var out []string
	for _, r := range s.receivers.requests {
		if r.endpoint != watchHost {
			continue
		}
		var e struct {
			Event string
			Data  struct{ EndpointID string }
		}
		if err := json.Unmarshal([]byte(r.body), &e); err != nil || e.Data.EndpointID != s.sick {
			s.t.Fatalf("%s: %v", r.body, err)
		}
		out = append(out, e.Event)
	}
	return out
}

// live is the endpoint's life.
func (s *story) live() {
	s.t.Helper()
	s.receivers.set(sickHost, well)
	s.receivers.set(watchHost, well)
	s.events(3)
	s.is("healthy", "closed")

	s.receivers.set(sickHost, failing)
	for range 5 {
		s.post()
	}
	s.pass(time.Second)
	if h := s.health(); h.State != "failing" || len(h.Because) != 2 {
		s.t.Fatalf("%+v", h)
	}
	for s.health().Breaker == "closed" {
		s.events(1)
	}
	// Behind an open breaker nothing is sent, and no attempt is spent: what waits is held.
	before := s.got(sickHost)
	for range 20 {
		s.post()
	}
	s.pass(time.Second)
	if h := s.health(); h.Breaker == "open" && (s.got(sickHost) != before || h.Hold == nil || h.Pending < 20) {
		s.t.Fatalf("%d requests more: %+v", s.got(sickHost)-before, h)
	}
	// The probe is one request; while it is answered slowly, nothing else is sent.
	s.receivers.set(sickHost, slow)
	for s.health().Breaker == "open" {
		s.pass(500 * time.Millisecond)
	}
	before = s.got(sickHost)
	if h := s.health(); h.State != "failing" || h.Breaker != "half_open" || h.InFlight > 1 {
		s.t.Fatalf("%+v", h)
	}
	for s.health().Breaker == "half_open" {
		s.pass(100 * time.Millisecond)
	}
	if n := s.got(sickHost) - before; n > 3 { // the probe, and the two that may start when it was answered
		s.t.Errorf("%d requests for a probe", n)
	}
	s.receivers.set(sickHost, well)
	s.pass(10 * time.Minute)
	s.is("healthy", "closed")
	s.pass(3 * time.Hour) // the longest retry that was waiting
	if h := s.health(); h.Pending != 0 {
		s.t.Fatalf("%+v", h)
	}

	s.receivers.set(sickHost, away)
	began := time.Now()
	s.events(10)
	for s.health().State != "disabled" {
		if time.Since(began) > 6*24*time.Hour {
			s.t.Fatalf("it is %+v", s.health())
		}
		s.post()
		s.pass(3 * time.Hour)
	}
	if took := time.Since(began); took < 5*24*time.Hour {
		s.t.Errorf("disabled after %s", took)
	}
	s.is("disabled", "closed")
	s.cites()
	before = s.got(sickHost)
	s.events(2)
	s.pass(24 * time.Hour)
	if s.got(sickHost) != before {
		s.t.Error("a disabled endpoint was sent something")
	}

	s.receivers.set(sickHost, well)
	s.ask("POST", "/v1/endpoints/"+s.sick+"/enable", struct{}{})
	s.events(3)
	s.is("healthy", "closed")
	s.pass(24 * time.Hour)
	if h := s.health(); h.Pending != 0 || s.got(sickHost) <= before+2 {
		s.t.Errorf("what was held did not go on: %+v", h)
	}
	told := s.told()
	kinds := slices.DeleteFunc(slices.Clone(told), func(kind string) bool { return kind == domain.FollowExhausted })
	if want := []string{domain.FollowFailing, domain.FollowRecovered, domain.FollowFailing,
		domain.FollowDisabled}; !slices.Equal(kinds, want) {
		s.t.Errorf("told %v, want %v", told, want)
	}
}

// cites looks at the decision to disable it: made once, from the last of five days of failures, which it names.
func (s *story) cites() {
	s.t.Helper()
	records := map[string]*domain.Record{}
	var disabled []*domain.Record
	for r, err := range s.life.store.ReadAll(context.Background(), 0) {
		if err != nil {
			s.t.Fatal(err)
		}
		records[r.ID.String()] = r
		if _, ok := r.Fact.(*domain.EndpointDisabled); ok {
			disabled = append(disabled, r)
		}
	}
	if len(disabled) != 1 {
		s.t.Fatalf("it was disabled %d times", len(disabled))
	}
	f := disabled[0].Fact.(*domain.EndpointDisabled)
	first, last := records[f.First.String()], records[f.Evidence.String()]
	if first == nil || last == nil {
		s.t.Fatalf("its evidence is not on the ledger: %+v", f)
	}
	answer, ok := last.Fact.(*domain.ResponseReceived)
	if f.Reason != domain.DisabledFailing || !ok || answer.Status != http.StatusServiceUnavailable ||
		last.RecordedAt.Sub(first.RecordedAt) < 5*24*time.Hour || disabled[0].Causation != last.ID {
		s.t.Errorf("%+v, caused by %+v", f, last)
	}
}

// again folds the ledger anew: record by record as the domain does, and in a node that has lost its rows. Each change
// of the endpoint's health is the same, and is there at the same record.
func (s *story) again() {
	s.t.Helper()
	fold, before := domain.NewHealthFold(domain.DefaultHealthConfig()), ""
	spoken := func(state domain.HealthState, breaker string, because any) string {
		return fmt.Sprint(state, " ", breaker, " ", because)
	}
	at := map[domain.Position]string{}
	for r, err := range s.life.store.ReadAll(context.Background(), 0) {
		if err != nil {
			s.t.Fatal(err)
		}
		one, _ := fold.Apply(r)
		if one == nil || one.Endpoint != s.sick {
			continue
		}
		state, breaker := one.StateAt(r.RecordedAt), one.BreakerAt(r.RecordedAt)
		if now := fmt.Sprint(state, breaker == domain.BreakerClosed); now != before { // probes change more, and the same way
			at[r.Position], before = spoken(state, breaker, one.ChangeAt(r.RecordedAt).Because), now
		}
	}
	if len(at) < 8 {
		s.t.Errorf("only %d changes", len(at))
	}
	same := func(when string) {
		s.t.Helper()
		if err := s.life.proj.WaitFor(context.Background(), s.life.store.Head()); err != nil {
			s.t.Fatal(err)
		}
		for position, want := range at {
			v, err := s.life.proj.HealthAt(context.Background(), domain.DefaultTenant, s.sick,
				projections.Cut{Position: position})
			if got := spoken(v.State, v.Breaker, v.Since.Because); err != nil || got != want {
				s.t.Errorf("%s, as of %d: %s, and by the fold %s: %v", when, position, got, want, err)
			}
		}
	}
	same("in the node that lived it")
	live := s.health()
	s.rows++
	s.restart()
	same("in a node that has lost its rows")
	if now := s.health(); now.State != live.State || !slices.Equal(now.Because, live.Because) {
		s.t.Errorf("before %+v, and now %+v", live, now)
	}
	told := len(s.told())
	s.pass(time.Hour)
	if n := len(s.told()); n != told {
		s.t.Errorf("%d were told again", n-told)
	}
}
