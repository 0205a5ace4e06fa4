package delivery

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"hookledger/domain"
)

// neighbours drives a source: what goes to an endpoint ends as its name says. Time passes by a step of a millisecond
// whenever the source gives nothing more.
type neighbours struct {
	*consumer
	due   map[string]time.Time // by message: when its attempt ends
	takes map[string]int       // dispatches by endpoint
	since map[string]int       // of sick endpoints, since the healthy one's last
	worst int
}

func isHealthy(endpoint string) bool { return strings.HasPrefix(endpoint, "healthy") }

// takesFor is how long an attempt takes at an endpoint.
func takesFor(endpoint string) time.Duration {
	switch {
	case strings.HasPrefix(endpoint, "hung"):
		return 20 * time.Second
	case strings.HasPrefix(endpoint, "slow"):
		return 2 * time.Second
	}
	return time.Millisecond
}

func newNeighbours(t *testing.T, window int) *neighbours {
	n := &neighbours{due: map[string]time.Time{}, takes: map[string]int{}, since: map[string]int{}}
	n.consumer = newConsumer(t, func(c *Config) { c.Window = window })
	return n
}

// run lets so much time pass.
func (n *neighbours) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for m := n.next(); m != nil; m = n.next() {
			n.took(m)
		}
		<-time.After(time.Millisecond)
		open := n.open
		n.open = nil
		for _, m := range open {
			if n.due[m.UUID].After(time.Now()) {
				n.open = append(n.open, m)
				continue
			}
			delete(n.due, m.UUID)
			n.settle(m, strings.HasPrefix(itemOf(m.Context()).due.Endpoint, "hung"))
		}
	}
}

func (n *neighbours) took(m *message.Message) {
	ep := itemOf(m.Context()).due.Endpoint
	n.takes[ep]++
	n.due[m.UUID] = time.Now().Add(takesFor(ep))
	if !isHealthy(ep) {
		for healthy := range n.since {
			n.since[healthy]++
		}
		return
	}
	n.worst = max(n.worst, n.since[ep])
	n.since[ep] = 0
}

// TestSemantics_SickEndpointsDelayNobody counts dispatches: between two of a healthy endpoint at which deliveries are
// due lie at most two turns of each sick one; with one that hangs, a slow one and a failing one with 100,000 pending.
func TestSemantics_SickEndpointsDelayNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const healthy, sick = 50, 3
		n := newNeighbours(t, 256)
		now := time.Now()
		fill(n.w.backlog, "t", "hung", 1000, now)
		fill(n.w.backlog, "t", "slow", 1000, now)
		fill(n.w.backlog, "t", "failing", 100_000, now.Add(-time.Hour))
		for i := range healthy {
			fill(n.w.backlog, "t", fmt.Sprintf("healthy%d", i), 1000, now)
			n.since[fmt.Sprintf("healthy%d", i)] = 0
		}
		n.subscribe()
		n.run(200 * time.Millisecond)
		if n.worst > 2*sick {
			t.Errorf("%d dispatches of sick endpoints between two of a healthy one: at most %d", n.worst, 2*sick)
		}
		for i := range healthy {
			if got := n.takes[fmt.Sprintf("healthy%d", i)]; got < 500 {
				t.Errorf("healthy endpoint %d got %d turns", i, got)
			}
		}
		n.end()
	})
}

// TestSemantics_AfterAnOutageSlowEndpointsDelayNobody: the backlogs of one that hangs and one that is slow are as late
// as another's, and leave it places in the half that all of them share: it drains as its own attempts end, and not as
// theirs.
func TestSemantics_AfterAnOutageSlowEndpointsDelayNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNeighbours(t, 256)
		outage := time.Now().Add(-time.Hour)
		for _, ep := range []string{"hung", "slow", "healthy", "failing"} {
			fill(n.w.backlog, "t", ep, 10_000, outage)
		}
		n.subscribe()
		n.run(time.Second)
		for _, ep := range []string{"healthy", "failing"} {
			if got := n.takes[ep]; got < 1000 {
				t.Errorf("%s had %d turns in a second, with attempts of a millisecond", ep, got)
			}
		}
		if n.takes["slow"] == 0 || n.takes["hung"] == 0 {
			t.Errorf("nobody was in the way: %v", n.takes)
		}
		n.end()
	})
}

// TestSemantics_TwoHundredHungEndpointsDelayNobody: from the first moment on, before any of them has timed out, and for
// as long as they hang.
func TestSemantics_TwoHundredHungEndpointsDelayNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const healthy, hung, window = 10, 200, 1024
		n := newNeighbours(t, window)
		for i := range hung {
			fill(n.w.backlog, "t", fmt.Sprintf("hung%d", i), 100, time.Now())
		}
		n.subscribe()
		n.run(10 * time.Millisecond) // they take what they get
		for i := range healthy {
			ep := fmt.Sprintf("healthy%d", i)
			fill(n.w.backlog, "t", ep, 2000, time.Now())
			n.since[ep] = 0
		}
		n.run(30 * time.Millisecond)
		for i := range healthy {
			if got := n.takes[fmt.Sprintf("healthy%d", i)]; got < 30 {
				t.Errorf("while the others hang for the first time, healthy endpoint %d got %d turns in 30 ms", i, got)
			}
		}
		for range 21 { // by and by, for each step looks at all that is under way
			<-time.After(time.Second)
			n.run(time.Millisecond)
		}
		// All of them have timed out, and from then on they have a quarter.
		for i := range healthy {
			ep := fmt.Sprintf("healthy%d", i)
			fill(n.w.backlog, "u", ep, 2000, time.Now())
		}
		clear(n.takes)
		n.worst = 0
		n.run(30 * time.Millisecond)
		for i := range healthy {
			if got := n.takes[fmt.Sprintf("healthy%d", i)]; got < 300 {
				t.Errorf("healthy endpoint %d got %d turns in 30 ms", i, got)
			}
		}
		if n.worst > 2*hung {
			t.Errorf("%d dispatches of hung endpoints between two of a healthy one: at most %d", n.worst, 2*hung)
		}
		n.end()
	})
}

// TestSemantics_AfterAnOutageNewEventsHaveHalf: everything was down for an hour, then all is up. What happens from then
// on gets at least every second turn where both wait, and half of the window; the endpoints' limits hold.
func TestSemantics_AfterAnOutageNewEventsHaveHalf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window, endpoints = 64, 20
		c := newConsumer(t, func(cfg *Config) { cfg.Window = window })
		outage := time.Now()
		for i := range endpoints {
			ep := fmt.Sprintf("ep%02d", i)
			c.w.endpoint(ep, hook, func(e *domain.EndpointConfig) { e.MaxInFlight = 8 })
			fill(c.w.backlog, "default", ep, 500, outage)
		}
		<-time.After(time.Hour)
		c.subscribe()
		if n := c.takeAll(); n != window/2 {
			t.Errorf("late deliveries hold %d of %d places", n, window)
		}
		now := time.Now()
		for i := range endpoints {
			addNew(c.w.backlog, fmt.Sprintf("ep%02d", i), 50, now)
		}
		c.takeAll()
		late, fresh := c.lateAndFresh()
		if late > window/2 || fresh < window/2-window/16 {
			t.Errorf("of %d places late deliveries hold %d, new ones %d", window, late, fresh)
		}
		gotLate, gotFresh := 0, 0
		for gotFresh < endpoints*50 {
			m := c.open[0]
			c.open = c.open[1:]
			if it := itemOf(m.Context()); it.late {
				gotLate++
			} else {
				gotFresh++
			}
			c.settle(m, false)
			c.takeAll()
			if per := c.perEndpoint(); per > 8 {
				t.Fatalf("an endpoint has %d attempts in flight: its bound is 8", per)
			}
		}
		if gotLate > gotFresh+window {
			t.Errorf("%d late deliveries went out before the last of %d new ones", gotLate, gotFresh)
		}
		c.end()
	})
}

// addNew makes deliveries due that are not of the outage.
func addNew(b *memBacklog, endpoint string, n int, now time.Time) {
	for i := range n {
		b.add(domain.Due{Tenant: "default", Endpoint: endpoint, Event: "evt", DueAt: now, Revision: domain.NoStream,
			Delivery: fmt.Sprintf("dlv_new_%s_%06d", endpoint, i)})
	}
}

func (c *consumer) lateAndFresh() (late, fresh int) {
	for _, m := range c.open {
		if itemOf(m.Context()).late {
			late++
		} else {
			fresh++
		}
	}
	return late, fresh
}

// perEndpoint is how many attempts the endpoint with the most has in flight.
func (c *consumer) perEndpoint() (most int) {
	per := map[string]int{}
	for _, m := range c.open {
		per[itemOf(m.Context()).due.Endpoint]++
		most = max(most, per[itemOf(m.Context()).due.Endpoint])
	}
	return most
}

// fakeGate is every endpoint's, set by the test.
type fakeGate struct {
	mu   sync.Mutex
	gate domain.Gate
}

func (g *fakeGate) Gate(string, string, time.Time) domain.Gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gate
}

func (g *fakeGate) set(gate domain.Gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gate = gate
}

// TestSemantics_AGateHoldsBeforeAnythingIsTaken: a hold ends by itself at the latest when it says so, a half-open gate
// lets its places through, one after the other.
func TestSemantics_AGateHoldsBeforeAnythingIsTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := &fakeGate{gate: domain.Gate{Hold: domain.HoldBreakerOpen, Until: time.Now().Add(10 * time.Second)}}
		c := newConsumer(t, func(cfg *Config) { cfg.Gates = gate })
		c.w.endpoint("ep", hook)
		fill(c.w.backlog, "default", "ep", 10, time.Now())
		c.subscribe()
		for range 9 {
			if c.next() != nil {
				t.Fatal("something was taken though the gate holds")
			}
			<-time.After(time.Second)
		}
		if n := c.s.InUse(); n != 0 {
			t.Fatalf("%d are in flight", n)
		}
		// It is looked at again within a second: what enables the endpoint earlier is seen.
		gate.set(domain.Gate{Places: 1})
		<-time.After(time.Second)
		if n := c.takeAll(); n != 1 {
			t.Fatalf("a half-open gate of one place let %d through", n)
		}
		c.settle(c.open[0], false)
		if n := c.takeAll(); n != 0 {
			t.Fatalf("%d went through before the gate knew what the probe came to", n)
		}
		<-time.After(probePause)
		if n := c.takeAll(); n != 1 {
			t.Fatalf("%d went through after the probe", n)
		}
		gate.set(domain.Gate{})
		c.settle(c.open[1], false)
		if n := c.takeAll(); n != 8 {
			t.Fatalf("an open gate let %d through", n)
		}
		c.end()
	})
}

// TestSemantics_ATenantHasSoManyInFlightToOneHost, however many endpoints it aims there; other tenants have their own.
func TestSemantics_ATenantHasSoManyInFlightToOneHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limit := 10
		c := newConsumer(t, func(cfg *Config) { cfg.HostLimit = func(string) int { return limit } })
		for i := range 100 {
			ep := fmt.Sprintf("ep%d", i)
			c.w.endpoint(ep, []string{"https://Victim.example.com/x", "https://victim.example.com.:443/y"}[i%2])
			fill(c.w.backlog, "default", ep, 20, time.Now())
		}
		c.w.endpoint("elsewhere", "https://victim.example.com:8443/")
		fill(c.w.backlog, "default", "elsewhere", 5, time.Now())
		c.subscribe()
		if n := c.takeAll(); n != limit+5 {
			t.Fatalf("%d are in flight, of which 5 go elsewhere: at most %d to one host", n, limit)
		}
		total := 0
		for len(c.open) > 0 {
			m := c.open[0]
			c.open = c.open[1:]
			c.settle(m, false)
			total++
			c.takeAll()
			if len(c.open) > limit+5 {
				t.Fatalf("%d are in flight", len(c.open))
			}
		}
		if total != 100*20+5 {
			t.Errorf("%d were taken in all: some wait for ever", total)
		}
		c.end()
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		if n := len(c.s.lanes.crowded); n != 0 {
			t.Errorf("%d hosts are still crowded", n)
		}
	})
}

// Whatever is new at an endpoint while its late deliveries wait for their half of the window, it waits there once: else
// the queue would grow with each new delivery, and whoever came later would wait behind all of them.
func TestALaneWaitsOnceForTheHalfOfLateDeliveries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t, func(cfg *Config) { cfg.Window = 16 })
		for _, ep := range []string{"hung1", "hung2", "hung3", "hung4", "busy", "patient"} {
			c.w.endpoint(ep, hook)
			if strings.HasPrefix(ep, "hung") {
				fill(c.w.backlog, "default", ep, 2, time.Now().Add(-time.Hour))
			}
		}
		c.subscribe()
		if n := c.takeAll(); n != 8 {
			t.Fatalf("%d late deliveries are in flight, want half of the window", n)
		}
		hung := c.open
		fill(c.w.backlog, "default", "busy", 100, time.Now().Add(-time.Hour))
		for range 50 {
			addNew(c.w.backlog, "busy", 1, time.Now())
			c.open = nil
			if n := c.takeAll(); n != 1 {
				t.Fatalf("%d were taken, want the one that is new", n)
			}
			c.settle(c.open[0], false)
		}
		fill(c.w.backlog, "default", "patient", 1, time.Now().Add(-time.Hour))
		c.open = nil
		c.takeAll()
		c.s.mu.Lock()
		waiting := c.s.lanes.lateWaiting.len()
		c.s.mu.Unlock()
		if waiting > 2 {
			t.Errorf("two endpoints wait in %d places", waiting)
		}
		turn := 0
		for i, m := range hung[:4] {
			c.settle(m, false)
			for m := c.next(); m != nil; m = c.next() {
				if itemOf(m.Context()).due.Endpoint == "patient" {
					turn = i + 1
				}
			}
		}
		if turn == 0 || turn > 2 {
			t.Errorf("the patient one has its turn at place %d, want 1 or 2; 0 is none", turn)
		}
		for _, m := range hung[4:] {
			c.settle(m, false)
		}
		c.end()
	})
}

// An ordered endpoint has one attempt in flight, be it of a replay.
func TestAnOrderedEndpointHasOneInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t)
		c.w.endpoint("ep", hook, func(e *domain.EndpointConfig) { e.Ordered, e.MaxInFlight = true, 8 })
		fill(c.w.backlog, "default", "ep", 3, time.Now())
		fillReplay(c.w.backlog, "rpl_1", "ep", 3, time.Now())
		c.subscribe()
		for i := range 6 {
			if n := c.takeAll(); n != 1 {
				t.Fatalf("turn %d: %d are in flight", i, n)
			}
			c.settle(c.open[i], false)
		}
		c.end()
	})
}
