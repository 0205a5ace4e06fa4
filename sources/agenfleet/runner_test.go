package agenfleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/sources/agenfleet/agenfleettest"
)

// after waits, by the bubble's time.
func after(d time.Duration) { <-time.After(d) }

// running runs a runner in a bubble until the returned function is called.
func (b *bridge) running(r *Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		b.t.Helper()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			b.t.Errorf("run: %v", err)
		}
	}
}

// TestTheRunnerKeepsToTheRateLimit: a fleet of 150 agents, whose budgets are asked for one by one, for an hour, beside
// a source that asks the same host: AgenFleet's own limit of 60 requests in any minute is never reached, and in the end
// every budget is known.
func TestTheRunnerKeepsToTheRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBridge(t, time.Now, func(c *domain.SourceConfig) {
			withCosts(c)
			c.Poll.RateLimit = domain.DefaultRateLimit
		})
		const n = 150
		for i := range n {
			b.fleet.Change(fmt.Sprintf("a%03d", i), func(a *agenfleettest.Agent) {
				a.Daily, a.Threshold, a.TokensInput = 10, 0.5, 6
			})
		}
		other := *b.source
		other.ID = "src_2"
		b.dir.set(b.source, &other)
		r := b.runner()
		stop := b.running(r)
		after(time.Hour)
		stop()
		for _, f := range b.polls() {
			if f.Outcome != domain.PollOK {
				t.Fatalf("%s: %s", f.Code, b.message(f))
			}
		}
		if got := b.kinds()["budget_alert a000"]; got != 2 { // one of each source
			t.Errorf("%d alerts", got)
		}
		if got := len(b.events()); got != 2*n {
			t.Errorf("%d events of %d", got, 2*n)
		}
	})
}

// TestTheRunnerGoesOn: through a change of configuration, an answer of 429 whose Retry-After it keeps, credentials that
// end, a source that is removed, and a restart.
func TestTheRunnerGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBridge(t, time.Now, nil)
		b.fleet.Change("a", func(*agenfleettest.Agent) {})
		r := b.runner()
		if _, ok := r.Status("acme", "src_1"); ok {
			t.Error("a status before the first poll")
		}
		stop := b.running(r)
		wait := func(d time.Duration) {
			after(d)
			synctest.Wait()
		}
		wait(90 * time.Second)
		if s, ok := r.Status("acme", "src_1"); !ok || s.Agents != 1 || s.Code != "" || s.ReadAt.IsZero() {
			t.Errorf("%+v", s)
		}
		b.fleet.ExpireTokens() // it logs in again, and nothing is missed
		b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Status = "degraded" })
		wait(time.Minute)

		var asked []time.Time
		b.fleet.Fault(func(w http.ResponseWriter, _ *http.Request) bool {
			asked = append(asked, time.Now())
			w.Header().Set("Retry-After", "300")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		})
		wait(6 * time.Minute)
		b.fleet.Fault(nil)
		if len(asked) != 2 || asked[1].Sub(asked[0]) < 5*time.Minute {
			t.Errorf("asked at %v", asked)
		}
		if s, _ := r.Status("acme", "src_1"); s.Code != codeLimited || s.FailedPolls != 2 || s.GapSince.IsZero() {
			t.Errorf("%+v", s)
		}
		changed := *b.source
		changed.ConfigRecord = ulid.ULID{2}
		changed.Config.Poll = &domain.PollConfig{}
		*changed.Config.Poll = *b.source.Config.Poll
		changed.Config.Poll.Every = domain.Duration(10 * time.Minute)
		b.dir.set(&changed)
		wait(time.Second)
		if s, _ := r.Status("acme", "src_1"); s.Code != "" {
			t.Errorf("it polls at once in its new configuration: %+v", s)
		}
		before := b.fleet.Requests()
		wait(9 * time.Minute)
		if n := b.fleet.Requests() - before; n != 0 {
			t.Errorf("%d requests between polls", n)
		}
		stop()

		b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Status = "offline" })
		r = b.runner()
		stop = b.running(r)
		wait(time.Second)
		b.dir.set()
		wait(time.Second)
		if _, ok := r.Status("acme", "src_1"); ok {
			t.Error("a removed source has a status")
		}
		before = b.fleet.Requests()
		wait(time.Hour)
		stop()
		if n := b.fleet.Requests() - before; n != 0 {
			t.Errorf("a removed source was polled %d times", n)
		}
		if got := b.kinds()["status_changed a"]; got != 2 {
			t.Errorf("%v", b.events())
		}
	})
}

// TestASourceThatCanNotBePolledSaysSo: its credentials are gone, or its time zone is none any more.
func TestASourceThatCanNotBePolledSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBridge(t, time.Now, nil)
		b.vault.secret = domain.Secret{}
		r := b.runner()
		stop := b.running(r)
		synctest.Wait()
		if s, ok := r.Status("acme", "src_1"); !ok || s.Code != codeConfig || s.Message == "" {
			t.Errorf("%+v", s)
		}
		stop()
		if len(b.polls()) != 0 {
			t.Error("something was recorded")
		}
	})
}

// TestAShutdownRecordsWhatWasRead: a reading whose poll was under way is recorded, with what follows from it, or not
// begun at all.
func TestAShutdownRecordsWhatWasRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBridge(t, time.Now, nil)
		b.fleet.Change("a", func(*agenfleettest.Agent) {})
		stop := b.running(b.runner())
		after(30 * time.Second)
		b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Status = "offline" })
		ended := make(chan struct{})
		b.store.fate(func(domain.Stream, []domain.Record) error {
			b.store.fate(nil, nil)
			go func() { stop(); close(ended) }() // while the append is under way
			after(time.Second)
			return nil
		}, nil)
		<-ended
		if got := b.kinds()["status_changed a"]; got != 1 {
			t.Errorf("%v", b.events())
		}
	})
}
