package delivery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hookledger/domain"
)

// lineOf is what is due at an endpoint of a source.
type lineOf struct {
	*consumer
	tenant, endpoint, replay string
}

// waits asks about the i-th of the deliveries that fill or fillReplay made.
func (l lineOf) waits(i int) (Wait, bool) {
	l.t.Helper()
	synctest.Wait() // who decides has decided
	first := l.tenant
	if l.replay != "" {
		first = l.replay
	}
	d := fmt.Sprintf("dlv_%s_%s_%06d", first, l.endpoint, i)
	return l.w.d.Waits(domain.Due{Tenant: l.tenant, Endpoint: l.endpoint, Replay: l.replay, Delivery: d})
}

func (l lineOf) want(i int, want Wait) {
	l.t.Helper()
	if got, ok := l.waits(i); !ok || got != want {
		l.t.Errorf("delivery %d at %s waits for %+v (%v), not for %+v", i, l.endpoint, got, ok, want)
	}
}

func (c *consumer) line(endpoint string) lineOf { return lineOf{c, "default", endpoint, ""} }

// yielding makes replays leave others the time.
func yielding(c *Config) { c.Strained = func() bool { return false } }

// waitCases: what is done to a source, and what its deliveries wait for then.
var waitCases = map[string]struct {
	change func(*Config)
	run    func(t *testing.T, c *consumer)
}{
	"schedule": {nil, func(_ *testing.T, c *consumer) {
		at := time.Now().Add(5 * time.Minute)
		c.w.endpoint("ep", hook)
		fill(c.w.backlog, "default", "ep", 1, at)
		c.subscribe()
		c.line("ep").want(0, Wait{For: WaitSchedule, Until: at, Ahead: -1})
	}},
	"attempt": {nil, func(_ *testing.T, c *consumer) {
		fill(c.w.backlog, "default", "ep", 1, time.Now())
		c.subscribe()
		c.line("ep").want(0, Wait{For: WaitAttempt, Ahead: -1}) // it is offered, and nobody has it yet
		c.next()
		c.line("ep").want(0, Wait{For: WaitAttempt, Ahead: -1})
	}},
	"order": {nil, func(_ *testing.T, c *consumer) {
		c.w.endpoint("ep", hook, func(e *domain.EndpointConfig) { e.Ordered = true })
		fill(c.w.backlog, "default", "ep", 2, time.Now())
		c.w.backlog.behind = map[string]string{"dlv_default_ep_000001": "dlv_default_ep_000000"}
		c.subscribe()
		c.takeAll()
		c.line("ep").want(1, Wait{For: WaitOrder, Behind: "dlv_default_ep_000000"})
	}},
	"endpoint_in_flight": {nil, func(_ *testing.T, c *consumer) {
		c.w.endpoint("ep", hook, func(e *domain.EndpointConfig) { e.MaxInFlight = 3 })
		fill(c.w.backlog, "default", "ep", 6, time.Now())
		c.subscribe()
		c.takeAll()
		c.line("ep").want(3, Wait{For: WaitEndpointInFlight, Limit: 3})
		c.line("ep").want(5, Wait{For: WaitEndpointInFlight, Limit: 3, Ahead: 2})
		// A bound that is raised holds from the end of the next attempt on.
		c.w.house.change("ep", func(e *domain.Endpoint) { e.Config.MaxInFlight = 100 })
		c.line("ep").want(3, Wait{For: WaitEndpointInFlight, Limit: 100})
	}},
	"endpoint_rate": {nil, func(_ *testing.T, c *consumer) {
		c.w.endpoint("ep", hook, func(e *domain.EndpointConfig) { e.RateLimit = 0.1 })
		fill(c.w.backlog, "default", "ep", 4, time.Now())
		start := time.Now()
		c.subscribe()
		c.takeAll()
		<-time.After(4 * time.Second) // while it is asked each second
		c.line("ep").want(1, Wait{For: WaitEndpointRate, Limit: 0.1, Until: start.Add(10 * time.Second)})
		c.line("ep").want(3, Wait{For: WaitEndpointRate, Limit: 0.1, Ahead: 2})
		<-time.After(6*time.Second + time.Millisecond)
		if c.takeAll() != 1 {
			c.t.Error("it did not go when it was said")
		}
	}},
	"host_in_flight": {func(c *Config) { c.HostLimit = func(string) int { return 2 } }, func(_ *testing.T, c *consumer) {
		for _, ep := range []string{"one", "two"} {
			c.w.endpoint(ep, hook)
		}
		fill(c.w.backlog, "default", "one", 2, time.Now())
		c.subscribe()
		c.takeAll()
		fill(c.w.backlog, "default", "two", 1, time.Now())
		c.line("two").want(0, Wait{For: WaitHostInFlight, Limit: 2})
	}},
	"window": {func(c *Config) { c.Window = 16 }, func(t *testing.T, c *consumer) {
		c.w.endpoint("first", hook)
		fill(c.w.backlog, "default", "first", 20, time.Now())
		c.subscribe()
		if n := c.takeAll(); n != 12 {
			t.Fatalf("%d were taken", n)
		}
		c.line("first").want(12, Wait{For: WaitWindow, Limit: 16}) // its three quarters
		for i := range 4 {
			fill(c.w.backlog, "default", fmt.Sprintf("other%d", i), 1, time.Now())
		}
		c.takeAll()
		fill(c.w.backlog, "default", "last", 1, time.Now())
		c.line("last").want(0, Wait{For: WaitWindow, Limit: 16})
	}},
	"timed_out_share": {func(c *Config) { c.Window = 16 }, func(t *testing.T, c *consumer) {
		for _, ep := range []string{"hung", "sick"} {
			c.w.endpoint(ep, hook)
			fill(c.w.backlog, "default", ep, 1, time.Now())
		}
		c.subscribe()
		c.takeAll()
		for _, m := range c.open {
			c.settle(m, true)
		}
		c.open = nil
		addNew(c.w.backlog, "hung", 4, time.Now())
		if n := c.takeAll(); n != 4 {
			t.Fatalf("%d were taken", n)
		}
		c.w.backlog.add(domain.Due{Tenant: "default", Endpoint: "sick", Delivery: "dlv_default_sick_000009",
			DueAt: time.Now()})
		c.line("sick").want(9, Wait{For: WaitTimedOutShare, Limit: 4})
	}},
	"late_share": {func(c *Config) { c.Window = 16 }, func(_ *testing.T, c *consumer) {
		fill(c.w.backlog, "default", "ep", 9, time.Now().Add(-time.Hour))
		c.subscribe()
		c.takeAll()
		c.line("ep").want(6, Wait{For: WaitLateShare, Limit: 8}) // one endpoint has three quarters of it
	}},
	"replay_share": {func(c *Config) { c.Window = 16 }, func(_ *testing.T, c *consumer) {
		fillReplay(c.w.backlog, "rpl_1", "ep", 10, time.Now())
		c.subscribe()
		c.takeAll()
		lineOf{c, "default", "ep", "rpl_1"}.want(8, Wait{For: WaitReplayShare, Limit: 8})
	}},
	"replay_share, by pace": {yielding, func(_ *testing.T, c *consumer) {
		c.w.endpoint("ep", hook)
		c.subscribe()
		fill(c.w.backlog, "default", "ep", 1, time.Now())
		c.takeAll()
		start := time.Now()
		fillReplay(c.w.backlog, "rpl_1", "ep", 2, time.Now())
		c.takeAll()
		lineOf{c, "default", "ep", "rpl_1"}.want(1, Wait{For: WaitReplayShare, Until: start.Add(c.s.lanes.ease.gap)})
	}},
	"a replay's half of its endpoint's limits": {nil, func(_ *testing.T, c *consumer) {
		c.w.endpoint("narrow", hook, func(e *domain.EndpointConfig) { e.MaxInFlight = 4 })
		c.w.endpoint("slow", hook, func(e *domain.EndpointConfig) { e.RateLimit = 1 })
		fillReplay(c.w.backlog, "rpl_1", "narrow", 3, time.Now())
		fill(c.w.backlog, "default", "slow", 3, time.Now())
		c.subscribe()
		c.takeAll()
		fillReplay(c.w.backlog, "rpl_1", "slow", 1, time.Now())
		lineOf{c, "default", "narrow", "rpl_1"}.want(2, Wait{For: WaitEndpointInFlight, Limit: 2})
		lineOf{c, "default", "slow", "rpl_1"}.want(0, Wait{For: WaitEndpointRate, Limit: 1}) // of what its own leave
	}},
	"returned": {nil, func(_ *testing.T, c *consumer) {
		fill(c.w.backlog, "default", "ep", 1, time.Now())
		c.subscribe()
		at := time.Now().Add(nackDelay)
		c.nack(c.next())
		c.line("ep").want(0, Wait{For: WaitReturned, Until: at, Ahead: -1})
	}},
	"ledger": {nil, func(_ *testing.T, c *consumer) {
		fill(c.w.backlog, "default", "ep", 2, time.Now())
		c.subscribe()
		first, second := c.next(), c.next()
		c.nack(first)
		c.nack(second)
		fill(c.w.backlog, "default", "other", 1, time.Now())
		c.line("other").want(0, Wait{For: WaitLedger, Until: time.Now().Add(firstPause)})
	}},
	"ledger, without room": {func(c *Config) { c.Room = func() error { return errors.New("no room") } },
		func(_ *testing.T, c *consumer) {
			fill(c.w.backlog, "default", "ep", 2, time.Now())
			c.subscribe()
			c.line("ep").want(1, Wait{For: WaitLedger, Ahead: 1})
		}},
	"turn": {nil, func(_ *testing.T, c *consumer) { // nobody decides yet
		fill(c.w.backlog, "default", "ep", 2, time.Now())
		c.line("ep").want(1, Wait{For: WaitTurn, Ahead: 1})
		c.subscribe()
	}},
	"nothing any more": {nil, func(t *testing.T, c *consumer) {
		fill(c.w.backlog, "default", "ep", 1, time.Now())
		c.subscribe()
		c.settle(c.next(), false)
		if w, ok := c.line("ep").waits(0); ok {
			t.Errorf("what has ended waits for %+v", w)
		}
	}},
}

// TestSemantics_ADeliverySaysWhatItWaitsFor: each reason, of a source that decides by it.
func TestSemantics_ADeliverySaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	for name, c := range waitCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var changes []func(*Config)
				if c.change != nil {
					changes = append(changes, c.change)
				}
				s := newConsumer(t, changes...)
				c.run(t, s)
				s.end()
			})
		})
	}
}

// TestSemantics_WhatWaitsForASlowedDownEndpointSaysSo: the places that its health leaves it, and the rest behind an
// attempt; what it holds by now is not said to wait.
func TestSemantics_WhatWaitsForASlowedDownEndpointSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := &fakeGate{gate: domain.Gate{Places: 2}}
		c := newConsumer(t, func(cfg *Config) { cfg.Gates = gate })
		c.w.endpoint("ep", hook)
		fill(c.w.backlog, "default", "ep", 5, time.Now())
		c.subscribe()
		c.takeAll()
		c.line("ep").want(2, Wait{For: WaitSlowedDown, Limit: 2})
		c.settle(c.open[0], false)
		c.line("ep").want(2, Wait{For: WaitSlowedDown, Limit: 2, Until: time.Now().Add(probePause)})
		gate.set(domain.Gate{Hold: domain.HoldBreakerOpen, Until: time.Now().Add(time.Minute)})
		if w, ok := c.line("ep").waits(2); ok {
			t.Errorf("what is held waits for %+v", w)
		}
		gate.set(domain.Gate{})
		c.line("ep").want(2, Wait{For: WaitTurn}) // it is looked at again within a second
		c.end()
	})
}

// TestWhoAsksWhatADeliveryWaitsForChangesNothing: neither at an endpoint whose attempts have come to a standstill in a
// full window, nor at one that its rate bounds, and whatever its health says by then.
func TestWhoAsksWhatADeliveryWaitsForChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := &fakeGate{gate: domain.Gate{State: domain.HealthHealthy}}
		c := newConsumer(t, func(cfg *Config) { cfg.Window, cfg.Gates = 16, gate })
		c.w.endpoint("stalled", hook)
		c.w.endpoint("limited", hook, func(e *domain.EndpointConfig) { e.RateLimit = 0.01 })
		fill(c.w.backlog, "default", "stalled", 30, time.Now())
		c.subscribe()
		for range 5 {
			c.settle(c.next(), false)
		}
		c.takeAll()
		fill(c.w.backlog, "default", "limited", 2, time.Now())
		fillReplay(c.w.backlog, "rpl_1", "limited", 2, time.Now())
		for i := range 2 {
			fill(c.w.backlog, "default", fmt.Sprintf("other%d", i), 1, time.Now())
		}
		c.takeAll()
		<-time.After(2 * stalledAfter)
		gate.set(domain.Gate{State: domain.HealthFailing})
		synctest.Wait()
		before := c.noted()
		for i := range 30 {
			c.line("stalled").waits(i)
			c.line("limited").waits(i)
			lineOf{c, "default", "limited", "rpl_1"}.waits(i)
		}
		c.line("stalled").want(20, Wait{For: WaitWindow, Limit: 16, Ahead: 3})
		c.line("limited").want(1, Wait{For: WaitEndpointRate, Limit: 0.01, Until: time.Now().Add(98 * time.Second)})
		if after := c.noted(); after != before {
			t.Errorf("before it was asked the source had noted\n%s, and then\n%s", before, after)
		}
		c.end()
	})
}

// noted is all that the source knows and that decides what is sent.
func (c *consumer) noted() string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	now, out := time.Now(), []string{fmt.Sprint(c.s.lanes.ease.share, c.s.lanes.ease.calm, c.s.lanes.ease.looked)}
	for key, l := range c.s.lanes.all {
		tokens := 0.0
		if l.site.limiter != nil {
			tokens = l.site.limiter.TokensAt(now)
		}
		out = append(out, fmt.Sprint(key, l.place, l.inFlight, l.sick, l.allow, l.since, l.wake, l.state, tokens))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
