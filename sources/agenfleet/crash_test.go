package agenfleet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/sources/agenfleet/agenfleettest"
)

// story is what a fleet does; a poller that fails is followed by a new one, as after a restart.
func story(t *testing.T, b *bridge, c *clock) {
	t.Helper()
	p := b.poller()
	poll := func() {
		c.advance(time.Minute)
		if _, err := p.pollAgents(t.Context()); err != nil {
			p = b.poller()
		}
		if _, err := p.pollCosts(t.Context()); err != nil {
			p = b.poller()
		}
	}
	for i, status := range []string{"online", "degraded", "degraded", "offline", "online"} {
		b.fleet.Change("a", func(a *agenfleettest.Agent) {
			a.Status, a.TokensInput, a.Cost = status, uint64(30*i), "8"
			a.Daily, a.Monthly, a.Threshold, a.CostBudget = 100, 100, 0.5, "10"
		})
		b.fleet.Change("b", func(a *agenfleettest.Agent) { a.Status = status })
		for range 3 {
			poll()
		}
	}
}

// said is what came of a story: the events but for their times and the records that they name.
func (b *bridge) said() string {
	var out []string
	for _, e := range b.events() {
		out = append(out, fmt.Sprint(e.Event, e.Data["agentId"], e.Data["from"], e.Data["to"], e.Data["period"],
			e.Data["unit"], e.Data["periodStart"]))
	}
	return fmt.Sprint(len(out), out)
}

// TestCrashAtEveryAppend: whichever append fails, or is written and reported as failed, or is the poller's last, what
// the ledger says in the end is the same, and nothing is there twice.
func TestCrashAtEveryAppend(t *testing.T) {
	t.Parallel()
	tell := func(fail int, err error, written bool) (string, int) {
		c := &clock{noon}
		b := newBridge(t, c.now, withCosts)
		n := 0
		fate := func(domain.Stream, []domain.Record) error {
			if n++; n == fail {
				return err
			}
			return nil
		}
		if written {
			b.store.fate(nil, fate)
		} else {
			b.store.fate(fate, nil)
		}
		story(t, b, c)
		for _, f := range b.polls() {
			if f.Outcome != domain.PollOK {
				t.Errorf("append %d: a gap: %s", fail, f.Code)
			}
		}
		return b.said(), n
	}
	want, appends := tell(0, nil, false)
	if appends < 20 {
		t.Fatalf("only %d appends: %s", appends, want)
	}
	for n := 1; n <= appends; n++ {
		for name, err := range map[string]error{"unavailable": ledger.ErrUnavailable, "unknown": ledger.ErrUnknownOutcome,
			"conflict": ledger.ErrConflict, "died": errors.New("died")} {
			for _, written := range []bool{false, true} {
				if written && name == "conflict" || written && name == "unavailable" {
					continue // no store says so of what it has written
				}
				if got, _ := tell(n, err, written); got != want {
					t.Errorf("append %d, %s, written %v:\n got %s\nwant %s", n, name, written, got, want)
				}
			}
		}
	}
}

// TestANearlyFullDiskIsAGapToo: nothing is read or recorded while there is no room, and the record that follows names
// the gap.
func TestANearlyFullDiskIsAGapToo(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, nil)
	b.fleet.Change("a", func(*agenfleettest.Agent) {})
	p := b.poller()
	b.agents(p)
	full := true
	cfg := *p.cfg
	cfg.Room = func() error {
		if full {
			return domain.Refuse(domain.KindNoRoom, "no_room", "the disk is nearly full", "make room")
		}
		return nil
	}
	p.cfg = &cfg
	records, asked := len(b.store.records()), b.fleet.Requests()
	for range 3 {
		c.advance(time.Minute)
		b.agents(p)
	}
	if len(b.store.records()) != records || b.fleet.Requests() != asked || p.status().Code != "no_room" {
		t.Errorf("%d records, %d requests, %+v", len(b.store.records()), b.fleet.Requests(), p.status())
	}
	full = false
	c.advance(time.Minute)
	b.agents(p)
	all := b.polls()
	if last := all[len(all)-1]; last.Gap == nil || last.Gap.Polls != 3 || !last.Gap.Since.Equal(noon) ||
		last.Outcome != domain.PollOK {
		t.Errorf("%+v", last)
	}
}
