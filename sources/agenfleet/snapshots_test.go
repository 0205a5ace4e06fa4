package agenfleet

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/sources/agenfleet/agenfleettest"
)

// TestSnapshotsOfCosts: those of a time, exactly as they were read, with the currency and the period of their day.
func TestSnapshotsOfCosts(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, withCosts)
	stream := domain.SourceStream("acme", "src_1")
	stamp := domain.Stamp{At: noon, Base: b.source.ConfigRecord}
	if _, err := b.store.Append(t.Context(), stream, domain.NoStream, stamp.Records(stream, "acme", "", ulid.ULID{},
		&domain.SourceAdded{Config: b.source.Config})); err != nil {
		t.Fatal(err)
	}
	p := b.poller()
	for i, cost := range []string{"28.40", "0.1", "1e2"} {
		b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Cost, a.CostBudget = json.Number(cost), "100.00" })
		if i == 1 { // a large one stands in several records
			rows := []domain.CostReading{{ID: "a", Cost: "0.1", Budget: "100.00"}}
			for n := range 4000 {
				rows = append(rows, domain.CostReading{ID: fmt.Sprintf("b%04d", n), Cost: "1"})
			}
			if err := p.book.take(t.Context(), &reading{what: domain.PollCosts, begun: c.at, ended: c.at,
				costs: rows}); err != nil {
				t.Fatal(err)
			}
		} else {
			b.costs(p)
		}
		c.advance(time.Hour)
	}
	read := func(from, to time.Time) (out []*costSnapshot) {
		t.Helper()
		for s, err := range snapshots(t.Context(), b.store, b.vault, "acme", "src_1", from, to) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return out
	}
	all := read(noon, noon.Add(24*time.Hour))
	if len(all) != 3 || len(all[1].Records) < 2 || len(all[1].Costs) != 4001 {
		t.Fatalf("%d snapshots", len(all))
	}
	for i, want := range []string{"28.40", "0.1", "1e2"} {
		s := all[i]
		if s.Costs[0].ID != "a" || string(s.Costs[0].Cost) != want || s.Costs[0].Budget != "100.00" || s.Currency != "USD" ||
			s.Period != "monthly" || s.PeriodStart.Format(time.RFC3339) != "2026-03-01T00:00:00Z" ||
			!s.ReadAt.Equal(noon.Add(time.Duration(i)*time.Hour)) || s.Erased {
			t.Errorf("%+v", s)
		}
	}
	if some := read(noon.Add(time.Minute), noon.Add(2*time.Hour)); len(some) != 1 || !some[0].ReadAt.Equal(all[1].ReadAt) {
		t.Errorf("%d snapshots of a time", len(some))
	}
	b.vault.erased = true
	if gone := read(noon, noon.Add(time.Minute)); len(gone) != 1 || !gone[0].Erased || len(gone[0].Costs) != 0 {
		t.Errorf("%+v", gone)
	}
}
