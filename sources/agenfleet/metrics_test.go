package agenfleet

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/sources/agenfleet/agenfleettest"
)

// TestPollsAreCountedByTheirResult: each once, and under labels that are known beforehand.
func TestPollsAreCountedByTheirResult(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, withCosts)
	b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Daily = 10 })
	p := b.poller()
	step := func() {
		t.Helper()
		c.advance(time.Minute)
		b.agents(p)
		b.costs(p)
	}
	step()
	step()
	b.fleet.Fault(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	step()
	b.fleet.Fault(nil)
	room := *p.cfg
	room.Room = func() error {
		return domain.Refuse(domain.KindNoRoom, codeNoRoom, "the disk is nearly full", "make room")
	}
	was := p.cfg
	p.cfg = &room
	step()
	p.cfg = was
	p.metrics.polled(domain.PollAgents, "of a kind that nobody knew of")
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(p.metrics.polls); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%v %v", families, err)
	}
	got := map[string]float64{}
	for _, m := range families[0].GetMetric() { // its labels are in the order of their names
		got[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	want := map[string]float64{"agents ok": 2, "limits ok": 1, "costs ok": 2, "agents rate_limited": 1,
		"costs rate_limited": 1, "agents no_room": 1, "costs no_room": 1, "agents other": 1}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
