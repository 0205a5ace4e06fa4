package replays

import (
	"slices"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/vault"
)

func ended(r *domain.Replay) bool { return r.Ended() }

// TestSemantics_AReplayGoesOnWhereItWas: its runner dies again and again, and every planned pair is delivered once.
func TestSemantics_AReplayGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_old", "*")
	const events = 300
	for i := range events {
		n.post(name(i), "agent.status_changed", "")
		n.pass(time.Millisecond)
	}
	n.endpoint("ep_new", "agent.*")
	plan := n.ask("rpl_1", domain.ReplayRequested{Endpoint: "ep_new"},
		domain.ReplaySelector{EndpointIDs: []string{"ep_old"}})
	if plan.Count != events {
		t.Fatalf("%d are planned", plan.Count)
	}
	n.deliver(ok200)
	for _, page := range []int{1, 2, 4} {
		_, stop := n.runner(60)
		n.await("rpl_1", func(r *domain.Replay) bool { return r.Pages >= page })
		stop() // in the middle of whatever it is at
	}
	n.runner(60)
	r := n.await("rpl_1", ended)
	if r.Result.Delivered != events || r.Result.Failed != 0 || len(r.Result.Skipped) != 0 ||
		r.Status != domain.ReplayIsCompleted {
		t.Errorf("the result is %+v", r.Result)
	}
	sent, _ := n.counts()
	for i := range events {
		if got := sent[name(i)+" ep_new rpl_1"]; got != 1 {
			t.Errorf("%s was sent %d times", name(i), got)
		}
	}
	if got := n.pairs("rpl_1"); len(got) != events {
		t.Errorf("%d pairs are on the ledger", len(got))
	}
}

// TestSemantics_AnOrderedReplayWaitsForEach: the next one goes out when the one before has ended.
func TestSemantics_AnOrderedReplayWaitsForEach(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", "*")
	var want []string
	for i := range 12 {
		n.post(name(i), "agent.status_changed", "")
		n.pass(time.Millisecond)
		want = append(want, name(i))
	}
	n.ask("rpl_1", domain.ReplayRequested{Ordered: true}, domain.ReplaySelector{EventTypes: []string{"*"}})
	n.must(n.proj.WaitFor(t.Context(), n.store.Head()))
	var replayed []string
	n.deliver(func(d domain.Due) int {
		if d.Replay != "" {
			replayed = append(replayed, d.Event)
			// All that were scheduled have ended but for this one.
			if got := n.pairs("rpl_1"); len(got) != len(replayed) {
				t.Errorf("%d are scheduled with the delivery of number %d", len(got), len(replayed))
			}
		}
		return []int{200, 503}[len(replayed)%2]
	})
	n.runner(60)
	r := n.await("rpl_1", ended)
	if r.Result.Delivered != 6 || r.Result.Failed != 6 {
		t.Errorf("the result is %+v", r.Result)
	}
	if !slices.Equal(replayed, want) {
		t.Errorf("delivered in the order %v", replayed)
	}
}

// TestSemantics_RetryOfTheFailuresAlone: what was exhausted is planned again, and nothing else.
func TestSemantics_RetryOfTheFailuresAlone(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", "*")
	for i := range 20 {
		n.post(name(i), "agent.status_changed", "")
		n.pass(time.Millisecond)
	}
	failing := func(d domain.Due) bool { return d.Event == name(3) || d.Event == name(17) }
	n.deliver(func(d domain.Due) int {
		if failing(d) && d.Replay != "rpl_2" {
			return 500
		}
		return 200
	})
	n.ask("rpl_1", domain.ReplayRequested{}, domain.ReplaySelector{EventTypes: []string{"agent.*"}})
	n.runner(0)
	if r := n.await("rpl_1", ended); r.Result.Delivered != 18 || r.Result.Failed != 2 {
		t.Fatalf("the result is %+v", r.Result)
	}
	plan := n.ask("rpl_2", domain.ReplayRequested{}, domain.ReplaySelector{FailuresOf: "rpl_1"})
	if plan.Count != 2 || plan.First.Event != name(3) || plan.Last.Event != name(17) {
		t.Errorf("%+v", plan)
	}
	if r := n.await("rpl_2", ended); r.Result.Delivered != 2 || r.Result.Failed != 0 {
		t.Errorf("the result is %+v", r.Result)
	}
}

// TestSemantics_ACancelledReplayEndsWhatWaits: paused, nothing goes out; cancelled, what waits gets its end on the
// ledger, and the result says so.
func TestSemantics_ACancelledReplayEndsWhatWaits(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", "*")
	const events = 50
	for i := range events {
		n.post(name(i), "agent.status_changed", "")
		n.pass(time.Millisecond)
	}
	n.ask("rpl_1", domain.ReplayRequested{}, domain.ReplaySelector{EventTypes: []string{"agent.*"}})
	n.runner(20) // nobody delivers: it is held up by what it has scheduled
	scheduled := n.await("rpl_1", func(r *domain.Replay) bool { return r.Scheduled == 20 })
	n.append(domain.ReplayStream(ten, "rpl_1"), &domain.ReplayPaused{Reason: "manual"})
	stop := n.deliver(ok200)
	n.must(n.proj.WaitFor(t.Context(), n.store.Head()))
	n.append(domain.ReplayStream(ten, "rpl_1"), &domain.ReplayCancelled{Reason: "manual"})
	r := n.await("rpl_1", ended)
	stop()
	if r.Status != domain.ReplayIsCancelled || r.Scheduled != scheduled.Scheduled ||
		r.Result.Skipped["replay_cancelled"] != events || r.Result.Delivered != 0 {
		t.Errorf("%s, %d scheduled: %+v", r.Status, r.Scheduled, r.Result)
	}
	for _, p := range n.pairs("rpl_1") {
		var last domain.Fact
		for rec, err := range n.store.ReadStream(t.Context(), domain.DeliveryStream(ten, p.Delivery), 0) {
			n.must(err)
			last = rec.Fact
		}
		if f, ok := last.(*domain.DeliveryCancelled); !ok || f.Reason != "replay_cancelled" {
			t.Errorf("delivery %s ends with %T", p.Delivery, last)
		}
	}
	sent, _ := n.counts()
	for what := range sent {
		if what[len(what)-5:] == "rpl_1" {
			t.Errorf("%s was sent", what)
		}
	}
}

// TestAReplayWhoseTargetIsRemovedEnds: what is left is not scheduled into the void.
func TestAReplayWhoseTargetIsRemovedEnds(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", "*")
	for i := range 50 {
		n.post(name(i), "agent.status_changed", "")
	}
	n.ask("rpl_1", domain.ReplayRequested{Endpoint: "ep_1"}, domain.ReplaySelector{EventTypes: []string{"agent.*"}})
	n.runner(10)
	n.await("rpl_1", func(r *domain.Replay) bool { return r.Scheduled == 10 })
	n.append(domain.EndpointStream(ten, "ep_1"), &domain.EndpointRemoved{})
	r := n.await("rpl_1", ended)
	// The removal has ended what was scheduled, or, where its rows were not there yet, the cancellation that follows.
	if s := r.Result.Skipped; r.Status != domain.ReplayIsCancelled || r.Reason != "endpoint_removed" ||
		s["endpoint_removed"]+s["replay_cancelled"] != 50 || s["endpoint_removed"] > 10 {
		t.Errorf("%s because %s: %+v", r.Status, r.Reason, r.Result)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var pairs []domain.PlannedPair
	for i := range 5 {
		pairs = append(pairs, domain.PlannedPair{Event: name(i), At: start.Add(time.Duration(i) * time.Minute)})
	}
	now := start.Add(24 * time.Hour)
	for factor, want := range map[float64]time.Duration{1: 4 * time.Minute, 0.1: 24 * time.Second} {
		p, at := newPace(&domain.ReplayRequested{GapFactor: factor}, domain.ReplayCursor{}, now), now
		for left := pairs; len(left) > 0; {
			due, wait := p.due(left, at)
			if due > 1 {
				t.Fatalf("factor %v: %d at once", factor, due)
			}
			if due > 0 {
				p.took(left[:due], at)
				left = left[due:]
			}
			at = at.Add(wait)
		}
		if took := at.Sub(now); took != want {
			t.Errorf("factor %v: it took %s, want %s", factor, took, want)
		}
	}
	for _, perSecond := range []float64{0.5, 5, 250, 50_000} {
		p, at, sent := newPace(&domain.ReplayRequested{Rate: perSecond}, domain.ReplayCursor{}, now), now, 0
		for at.Before(now.Add(20 * time.Second)) {
			n := min(p.allowed(at), 1000)
			page := make([]domain.PlannedPair, n)
			_, wait := p.due(page, at)
			if n > 0 {
				p.took(page, at)
				sent += n
			}
			at = at.Add(max(wait, time.Millisecond))
		}
		if want := 20 * min(perSecond, 1e6); float64(sent) < 0.9*want || float64(sent) > 1.01*want+max(1, perSecond/10) {
			t.Errorf("%v per second: %d in 20 s", perSecond, sent)
		}
	}
}

// TestSemantics_APlanThatLostItsEventsIsPaused: what was planned was erased since; nothing else goes out in its place.
func TestSemantics_APlanThatLostItsEventsIsPaused(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", "*")
	for i := range 6 {
		n.post(name(i), "agent.status_changed", []string{"person_1", "person_2"}[i%2])
		n.pass(time.Millisecond)
	}
	plan := n.ask("rpl_1", domain.ReplayRequested{}, domain.ReplaySelector{Subject: "person_1"})
	if plan.Count != 3 {
		t.Fatalf("%+v", plan)
	}
	keyID, err := n.vault.DataKey(t.Context(), vault.Scope{Tenant: ten, Subject: "person_1"})
	n.must(err)
	n.must(n.vault.Destroy(t.Context(), keyID))
	n.deliver(ok200)
	n.runner(0)
	r := n.await("rpl_1", func(r *domain.Replay) bool { return r.Status == domain.ReplayIsPaused })
	if r.Reason != "plan_diverged" || r.Scheduled != 0 || len(n.pairs("rpl_1")) != 0 {
		t.Errorf("%+v", r)
	}
	n.append(domain.ReplayStream(ten, "rpl_1"), &domain.ReplayCancelled{Reason: "manual"})
	if r = n.await("rpl_1", ended); r.Result.Skipped["replay_cancelled"] != 3 {
		t.Errorf("%+v", r.Result)
	}
}
