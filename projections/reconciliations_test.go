package projections

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// numbered posts an event that its producer has numbered.
func (l *fakeLedger) numbered(tenant, id, source string, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stamp := domain.Stamp{At: l.clock, Base: l.newID()}
	l.write(stamp.Records(domain.EventStream(tenant, id), tenant, id, ulid.ULID{},
		&domain.EventReceived{ID: id, Event: "agent.budget_alert", Timestamp: l.clock.Add(-time.Hour), Source: source,
			Sequence: &n}, &domain.EventRouted{}))
}

// TestReconciliationsAreFolded: a run has a row, is found by its period, and is the same when it is folded anew.
func TestReconciliationsAreFolded(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	p := l.opened(t, nil)
	rules := domain.ReconciliationRules{From: start, To: start.Add(time.Hour), By: domain.ByReceived, TimeZone: "UTC"}
	for i := range 3 {
		l.pass(time.Second)
		l.append(domain.ReconciliationStream(ten, fmt.Sprint("rcn_", i)), ten, "", &domain.ReconciliationRun{Rules: rules,
			Totals: domain.ReconciliationTotals{Events: i}, Balanced: true})
	}
	ctx := t.Context()
	if err := p.history.catchUp(ctx); err != nil {
		t.Fatal(err)
	}
	page, err := p.Reconciliations(ctx, List{Tenant: ten, Limit: 2})
	if err != nil || len(page.Rows) != 2 || page.Rows[0].ID != "rcn_2" || !page.HasMore {
		t.Errorf("%+v, %v", page, err)
	}
	one, err := p.Reconciliation(ctx, ten, "rcn_1")
	if err != nil || one.Run.Totals.Events != 1 || !one.Run.Balanced || one.Ref.Stream.ID() != "rcn_1" {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := p.Reconciliation(ctx, other, "rcn_1"); domain.Code(err) != "reconciliation_not_found" {
		t.Errorf("another tenant's: %v", err)
	}
	of, err := p.ReconciliationsOf(ctx, ten, &rules, one.Position)
	if err != nil || len(of) != 2 || of[0].ID != "rcn_0" {
		t.Errorf("%+v, %v", of, err)
	}
	digest, err := p.Digest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.opened(t, func(c *Config) { c.FlushSize = 1 }).Digest(ctx); err != nil || got != digest {
		t.Errorf("folded record by record it is %s, want %s (%v)", got, digest, err)
	}
}

// TestWhatAReconciliationReads: page by page, as of a position, by indexes alone.
func TestWhatAReconciliationReads(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	p := l.opened(t, nil)
	order := []uint64{100, 9, 10, 101, 11, 99, 1000, 101, 12}
	var upTo domain.Position
	for i, n := range order {
		l.pass(time.Second)
		l.numbered(ten, fmt.Sprint("evt_", i), "src", n)
		l.numbered(ten, fmt.Sprint("else_", i), "another", n)
		upTo = l.Head()
	}
	l.numbered(ten, "evt_later", "src", 102)
	ctx := t.Context()
	if err := p.history.catchUp(ctx); err != nil {
		t.Fatal(err)
	}
	for limit := 1; limit < 10; limit++ {
		var got []uint64
		var after domain.NumberedEvent
		for {
			page, err := p.Numbers(ctx, ten, domain.NumberRange{Source: "src", From: 10, To: 500}, upTo, after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range page {
				got, after = append(got, n.Sequence), n
			}
			if len(page) < limit {
				break
			}
		}
		if want := []uint64{10, 11, 12, 99, 100, 101, 101}; !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
	for by, from := range map[string]time.Time{domain.ByReceived: start, domain.ByEvent: start.Add(-time.Hour)} {
		q := domain.EventQuery{Type: "agent.budget_alert", From: from, To: from.Add(5 * time.Second), By: by, UpTo: upTo}
		var ids []string
		for after := (domain.ReplayCursor{}); ; {
			page, err := p.EventsOf(ctx, ten, q, after, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range page {
				ids, after = append(ids, h.ID), domain.ReplayCursor{At: h.At, Event: h.ID}
			}
			if len(page) < 3 {
				break
			}
		}
		if len(ids) != 8 { // two of each of the seconds 1 to 4
			t.Errorf("%s: %v", by, ids)
		}
		query, args := eventsOfQuery(ten, q, domain.ReplayCursor{Event: "x"}, 3)
		onlySearches(t, p, query, args...)
	}
	onlySearches(t, p, numbersQuery, ten, "src", 1, 3, 100, 1, "1", 5, "x", 3)
}

func onlySearches(t *testing.T, p *Projections, query string, args ...any) {
	t.Helper()
	e := &explaining{queryer: p.db.r}
	if err := scanRows(t.Context(), e, query, args, func(*sql.Rows) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, plan := range e.plans {
		if !strings.HasPrefix(plan, "SEARCH ") {
			t.Errorf("%s\n%s", plan, query)
		}
	}
}
