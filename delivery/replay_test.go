package delivery

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"hookledger/domain"
)

func fillReplay(b *memBacklog, replay, endpoint string, n int, now time.Time) {
	for i := range n {
		b.add(domain.Due{Tenant: "default", Endpoint: endpoint, Event: "evt", Replay: replay, DueAt: now,
			Revision: domain.NoStream, Delivery: fmt.Sprintf("dlv_%s_%s_%06d", replay, endpoint, i)})
	}
}

// underWay counts the open messages of replays, and the others.
func (c *consumer) underWay() (replays, others int) {
	for _, m := range c.open {
		if itemOf(m.Context()).due.Replay != "" {
			replays++
		} else {
			others++
		}
	}
	return replays, others
}

// TestSemantics_ReplaysTakeAtMostHalfOfTheWindow: however many there are, to however many endpoints; what is routed
// finds the rest.
func TestSemantics_ReplaysTakeAtMostHalfOfTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window = 64
		c := newConsumer(t, func(cfg *Config) { cfg.Window = window })
		for i := range 5 {
			fillReplay(c.w.backlog, fmt.Sprintf("rpl_%d", i), fmt.Sprintf("ep%d", i%3), 1000, time.Now())
		}
		c.subscribe()
		c.takeAll()
		if replays, _ := c.underWay(); replays != window/2 {
			t.Fatalf("replays hold %d of %d places", replays, window)
		}
		for i := range 4 {
			fill(c.w.backlog, "default", fmt.Sprintf("ep%d", i), 100, time.Now())
		}
		c.takeAll()
		if replays, others := c.underWay(); replays != window/2 || others < window/2-4 {
			t.Fatalf("replays hold %d places, the others %d", replays, others)
		}
		// Each that ends gives its place to the next; the share stays.
		for range 200 {
			m := c.open[0]
			c.open = c.open[1:]
			c.settle(m, false)
			c.takeAll()
			if replays, others := c.underWay(); replays > window/2 || others < window/2-4 {
				t.Fatalf("replays hold %d places, the others %d", replays, others)
			}
		}
		c.end()
	})
}

// TestSemantics_AReplaySharesTheEndpointsLimits: in flight, of which it takes half, and by rate, of which it gets what
// what is routed leaves.
func TestSemantics_AReplaySharesTheEndpointsLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t)
		c.w.endpoint("narrow", hook, func(e *domain.EndpointConfig) { e.MaxInFlight = 6 })
		c.w.endpoint("single", hook, func(e *domain.EndpointConfig) { e.MaxInFlight = 1 })
		for _, ep := range []string{"narrow", "single"} {
			fillReplay(c.w.backlog, "rpl_1", ep, 50, time.Now())
			fillReplay(c.w.backlog, "rpl_2", ep, 50, time.Now())
		}
		c.subscribe()
		c.takeAll()
		if replays, _ := c.underWay(); replays != 3+1 {
			t.Fatalf("replays hold %d places, of 6 and of 1", replays)
		}
		fill(c.w.backlog, "default", "narrow", 50, time.Now())
		fill(c.w.backlog, "default", "single", 50, time.Now())
		c.takeAll()
		if _, others := c.underWay(); others != 3 {
			t.Fatalf("the others hold %d places, of 6 and of 1", others)
		}
		// Whoever waits for the single place gets it in turn, though no attempt of its own ends.
		turns := map[bool]int{}
		for range 20 {
			at := slices.IndexFunc(c.open, func(m *message.Message) bool { return itemOf(m.Context()).due.Endpoint == "single" })
			m := c.open[at]
			turns[itemOf(m.Context()).due.Replay != ""]++
			c.open = slices.Delete(c.open, at, at+1)
			c.settle(m, false)
			c.takeAll()
		}
		if turns[true] < 5 || turns[false] < 5 {
			t.Errorf("of 20 turns at the single place: %v", turns)
		}
		c.end()
	})
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t)
		c.w.endpoint("slow", hook, func(e *domain.EndpointConfig) { e.RateLimit = 10 })
		fillReplay(c.w.backlog, "rpl_1", "slow", 500, time.Now())
		fill(c.w.backlog, "default", "slow", 30, time.Now())
		c.subscribe()
		start := time.Now()
		var order []string
		for time.Since(start) < 6*time.Second {
			m := <-c.msgs
			order = append(order, itemOf(m.Context()).due.Replay)
			c.settle(m, false)
		}
		if n := len(order); n < 58 || n > 63 {
			t.Errorf("%d in 6 s at 10 a second", n)
		}
		live := 0
		for _, replay := range order[:32] {
			if replay == "" {
				live++
			}
		}
		if live < 29 { // a burst of one may have gone first
			t.Errorf("of the first 32, %d are what was routed: %v", live, order)
		}
		c.end()
	})
}

// TestSemantics_TheReplaysHeaderIsTheWires: what the ledger says of it is what the receiver gets, on every attempt.
func TestSemantics_TheReplaysHeaderIsTheWires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook, func(e *domain.EndpointConfig) { e.RetrySchedule = []domain.Duration{0} })
	var marks []string
	w.counted(func(n int, r *http.Request) (*http.Response, error) {
		marks = append(marks, strings.Join(r.Header[domain.HeaderWebhookReplay], ","))
		return answer([]int{500, 200}[n-1], ""), nil
	})
	id := w.due("ep")
	d := w.backlog.known[id]
	b := w.backlog
	b.mu.Lock()
	delete(b.due, domain.EndpointKey{Tenant: d.Tenant, Endpoint: d.Endpoint})
	b.mu.Unlock()
	d.Replay = "rpl_1"
	b.add(d)
	for range 2 {
		it, err := w.turnOf(domain.EndpointKey{Tenant: d.Tenant, Endpoint: d.Endpoint, Replay: "rpl_1"})
		if err != nil || it == nil {
			t.Fatal(it, err)
		}
		w.again(id)
	}
	if !slices.Equal(marks, []string{"rpl_1", "rpl_1"}) {
		t.Errorf("marked %q", marks)
	}
	var triggers []domain.Trigger
	for _, f := range w.store.facts(id) {
		switch f := f.(type) {
		case *domain.DeliveryScheduled:
			if f.Cause != "rpl_1" {
				t.Errorf("scheduled by %s", f.Cause)
			}
		case *domain.AttemptStarted:
			triggers = append(triggers, f.Trigger)
			if !slices.Contains(f.Headers, domain.Header{Name: domain.HeaderWebhookReplay, Value: "rpl_1"}) {
				t.Errorf("%+v", f.Headers)
			}
		}
	}
	if !slices.Equal(triggers, []domain.Trigger{domain.TriggerReplay, domain.TriggerAutomatic}) {
		t.Errorf("%v", triggers)
	}
}

// TestSemantics_ReplaysYieldWhileTheNodeIsStrained: beside other events they begin with little, grow to their half
// while there is CPU, and shrink at once when there is none, down to one place.
func TestSemantics_ReplaysYieldWhileTheNodeIsStrained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window = 64
		strained := false
		c := newConsumer(t, func(cfg *Config) {
			cfg.Window, cfg.Strained = window, func() bool { return strained }
		})
		c.s.lanes.ease.gap = easeEvery / window
		c.subscribe()
		take := func() {
			for range window {
				<-time.After(easeEvery / window)
				c.takeAll()
			}
		}
		other := func() {
			fill(c.w.backlog, "default", "ep_live", 1, time.Now())
			c.takeAll()
			m := c.open[len(c.open)-1]
			if c.open = c.open[:len(c.open)-1]; itemOf(m.Context()).due.Replay != "" {
				t.Fatal("no event was taken")
			}
			c.settle(m, false)
		}
		other()
		fillReplay(c.w.backlog, "rpl_1", "ep", 10_000, time.Now())
		take()
		if n, _ := c.underWay(); n != firstShare {
			t.Fatalf("replays begin with %d places", n)
		}
		turn := func() (under int) {
			m := c.open[0]
			c.open = c.open[1:]
			c.settle(m, false)
			take()
			under, _ = c.underWay()
			return under
		}
		for range 30 * calmLooks {
			turn()
		}
		if n, _ := c.underWay(); n != window/2 {
			t.Errorf("with CPU to spare they come to %d places", n)
		}
		strained = true
		for range 2 * window { // their places go as their attempts end
			turn()
		}
		if n := turn(); n != 1 {
			t.Errorf("without CPU to spare they hold %d places", n)
		}
		strained = false
		for range calmLooks {
			turn()
		}
		if n, _ := c.underWay(); n != 2 {
			t.Errorf("then they hold %d", n)
		}
		c.end()
	})
}

// TestSemantics_ReplaysLeaveOtherEventsTheTime: while other events flow, replays begin an attempt now and then, however
// many places they have; once nothing else has begun for a while they take all of these.
func TestSemantics_ReplaysLeaveOtherEventsTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window = 64
		c := newConsumer(t, func(cfg *Config) {
			cfg.Window, cfg.Strained = window, func() bool { return false }
		})
		gap := time.Second / time.Duration(replayStarts*runtime.GOMAXPROCS(0))
		fill(c.w.backlog, "default", "ep_live", 1, time.Now())
		c.subscribe()
		c.takeAll()
		fillReplay(c.w.backlog, "rpl_1", "ep", window, time.Now())
		c.takeAll()
		for begun := 1; begun <= firstShare; begun++ { // the first at once, as none came before
			if n, _ := c.underWay(); n != begun {
				t.Fatalf("replays have begun %d attempts, not %d", n, begun)
			}
			<-time.After(gap)
			c.takeAll()
		}
		for range 2 {
			c.settle(c.open[len(c.open)-1], false)
			c.open = c.open[:len(c.open)-1]
		}
		c.takeAll()
		if n, _ := c.underWay(); n != firstShare-1 {
			t.Errorf("of two places that became free, other events leave them one at a time: %d", n)
		}
		<-time.After(quietAfter)
		c.takeAll()
		if n, _ := c.underWay(); n != window/2 {
			t.Errorf("with nothing else they take what they have: %d of %d", n, window/2)
		}
		c.end()
	})
}
