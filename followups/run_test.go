package followups

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
)

// run runs the runner until all of the queue is done.
func (n *node) run(r *Runner, q *queue) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-q.signal
	cancel()
	n.must(<-ended)
}

func counted(t *testing.T, g prometheus.Gatherer, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != "hookledger_follow_ups_total" || len(m.GetLabel()) != len(labels) {
				continue
			}
			if m.GetLabel()[0].GetValue() == labels[0] && m.GetLabel()[1].GetValue() == labels[1] {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func gauge(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// story makes a ledger from which one of each kind follows.
func story(t testing.TB) *node {
	n := newNode(t)
	n.endpoint("ep_bad", nil, "agent.*")
	n.endpoint("ep_gone", nil, "agent.*")
	n.endpoint("ep_slack", kind("slack"), "cron.completed")
	n.endpoint("ep_watch", nil, "endpoint.*", "delivery.*")
	n.failing("ep_bad")
	n.attempt(n.post("agent.budget_alert", budget)["ep_bad"], 200)
	due := n.post("agent.budget_alert", budget)
	n.attempt(due["ep_bad"], 500, 500, 500, 500)
	n.attempt(due["ep_gone"], 410)
	n.attempt(n.post("cron.completed", completed)["ep_slack"], 200)
	return n
}

// TestSemantics_AllThatFollowsIsDoneOnce: whichever append fails, and whether it was persisted all the same, the next
// life finds again what was not done, and nothing stands there twice.
func TestSemantics_AllThatFollowsIsDoneOnce(t *testing.T) {
	t.Parallel()
	want := []string{domain.FollowFailing, domain.FollowRecovered, domain.FollowExhausted, domain.TypeCronDelivered,
		domain.FollowDisabled}
	for _, persist := range []bool{false, true} {
		for nth := 1; ; nth++ {
			n, count, broken := story(t), 0, errors.New("the process died")
			n.store.set(func(domain.Stream) (error, bool) {
				if count++; count == nth {
					return broken, persist
				}
				return nil, false
			})
			r, _ := n.runner(newQueue())
			died := false
			for !died { // one life, in the order of the ledger
				found := n.found()
				for _, f := range found {
					if _, err := r.do(t.Context(), &f); errors.Is(err, broken) {
						died = true
						break
					} else if err != nil {
						t.Fatal(err)
					}
				}
				if len(n.found()) == len(found) {
					break
				}
			}
			n.store.set(nil)
			n.settle()
			said := map[string]int{}
			for _, event := range n.told() {
				name, _, _ := strings.Cut(event, " ")
				said[name]++
			}
			for _, event := range want {
				if said[event] != 1 {
					t.Errorf("append %d failed (persisted: %v): %s was said %d times", nth, persist, event, said[event])
				}
			}
			if len(said) != len(want) || len(n.disabled("ep_gone")) != 1 {
				t.Errorf("append %d failed (persisted: %v): %v, disabled %d times", nth, persist, said,
					len(n.disabled("ep_gone")))
			}
			if !died {
				if nth <= len(want) {
					t.Fatalf("only %d appends", nth-1)
				}
				break
			}
		}
	}
}

// TestSemantics_AStoreThatIsAwayIsWaitedFor: nothing is given up, and no time is lost once it is back.
func TestSemantics_AStoreThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	n := story(t)
	f := n.found()[0]
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(10 * time.Minute)
		away := &awayPoster{until: back}
		q := newQueue(f)
		r, err := New(Config{Store: n.store, Pending: q, Poster: away, Directory: n, Bodies: n.bodies, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-time.After(5 * time.Minute)
		if s := r.Status(); s.Waiting != 1 || s.Trouble == nil || !s.Oldest.Equal(f.At) {
			t.Errorf("%+v", s)
		}
		<-q.signal
		if waited := time.Since(back); waited < 0 || waited > longestAway {
			t.Errorf("done %s after it was back", waited)
		}
		if s := r.Status(); s.Waiting != 0 || s.Trouble != nil {
			t.Errorf("%+v", s)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if tries := away.tries.Load(); tries > 1000 {
			t.Errorf("%d tries in ten minutes", tries)
		}
	})
}

type awayPoster struct {
	until time.Time
	tries atomic.Int64
}

func (p *awayPoster) Post(context.Context, ingest.Post) (*ingest.Receipt, error) {
	p.tries.Add(1)
	if time.Now().Before(p.until) {
		return nil, fmt.Errorf("append: %w", ledger.ErrUnavailable)
	}
	return &ingest.Receipt{}, nil
}

// TestSemantics_WhatCanNotBeDoneHoldsUpNothing: one that fails for a reason of its own, or panics, is put off and tried
// again, longer each time; the others of its worker are done meanwhile.
func TestSemantics_WhatCanNotBeDoneHoldsUpNothing(t *testing.T) {
	t.Parallel()
	n := story(t)
	f := n.found()[0]
	synctest.Test(t, func(t *testing.T) {
		var all []domain.FollowUp
		for i := range 20 {
			g := f
			g.Position += domain.Position(i)
			g.Failures = i
			g.Evidence[15] = byte(i)
			all = append(all, g)
		}
		q := newQueue(all...)
		odd := &oddPoster{odd: domain.NewID(domain.PrefixEvent, all[3].ID())}
		r, err := New(Config{Store: n.store, Pending: q, Poster: odd, Directory: n, Bodies: n.bodies, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		synctest.Wait()
		if left, _ := q.Waiting(); left != 1 {
			t.Errorf("%d are not done", left)
		}
		<-q.signal
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for i, f := range q.done[:19] { // of one endpoint: in the order of the ledger
			if want := i + min(i/3, 1); f.Failures != want {
				t.Errorf("number %d was done in place %d", f.Failures, i)
			}
		}
	})
}

// oddPoster fails with one event a few times, in several ways.
type oddPoster struct {
	odd   string
	tries int
}

func (p *oddPoster) Post(_ context.Context, post ingest.Post) (*ingest.Receipt, error) {
	if post.ID == p.odd {
		switch p.tries++; {
		case p.tries == 3:
			panic("odd")
		case p.tries < 8:
			return nil, errors.New("odd")
		}
	}
	return &ingest.Receipt{}, nil
}

// TestTheMetricsSayHowLongWhatFollowsWaits: until it is done.
func TestTheMetricsSayHowLongWhatFollowsWaits(t *testing.T) {
	t.Parallel()
	n := story(t)
	found := n.found()
	q := newQueue(found...)
	r, registry := n.runner(q)
	n.pass(time.Hour)
	const oldest, pending = "hookledger_follow_ups_oldest_seconds", "hookledger_follow_ups_pending"
	if got, want := gauge(t, registry, oldest), n.now().Sub(found[0].At).Seconds(); got != want {
		t.Errorf("%v, and not %v", got, want)
	}
	if got := gauge(t, registry, pending); got != float64(len(found)) {
		t.Errorf("%v are pending", got)
	}
	n.run(r, q)
	if gauge(t, registry, oldest) != 0 || gauge(t, registry, pending) != 0 {
		t.Error("something waits still")
	}
	if counted(t, registry, domain.FollowFailing, resultDone) != 1 {
		t.Error("it was not counted")
	}
}

// TestAConfigurationMustBeWhole names what lacks at the start, not at the first follow-up.
func TestAConfigurationMustBeWhole(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}); err == nil {
		t.Fatal("nothing lacks")
	}
}
