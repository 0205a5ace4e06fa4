package projections

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hookledger/domain"
)

// history writes a random history: events to several endpoints, attempts that succeed, fail, are interrupted or
// answered late, retries, cancellations, and endpoints that are disabled, enabled and removed.
func writeHistory(rt *rapid.T, l *fakeLedger, steps int) {
	l.tenant(ten)
	var endpoints []string
	more := func() {
		endpoints = append(endpoints, fmt.Sprintf("ep_%d", len(endpoints)+1))
		l.endpoint(ten, endpoints[len(endpoints)-1])
	}
	more()
	more()
	open := map[string][]string{} // attempts of a delivery, the interrupted ones too
	pick := func(of []string) string { return of[rapid.IntRange(0, len(of)-1).Draw(rt, "which")] }
	for range steps {
		l.pass(time.Duration(rapid.IntRange(0, 20_000_000).Draw(rt, "ns")) * time.Microsecond / 10)
		op := rapid.IntRange(0, 19).Draw(rt, "op")
		if len(l.order) == 0 {
			op = 0
		}
		switch {
		case op <= 4:
			to := []string{pick(endpoints)}
			if other := pick(endpoints); other != to[0] {
				to = append(to, other)
			}
			l.post(ten, to...)
		case op <= 10:
			d := pick(l.order)
			if a := l.begin(d); a != "" {
				open[d] = append(open[d], a)
			}
		case op <= 15:
			d := pick(l.order)
			if len(open[d]) == 0 {
				continue
			}
			a := pick(open[d])
			if rapid.Bool().Draw(rt, "answered") {
				l.respond(d, a, []int{200, 204, 302, 410, 500}[rapid.IntRange(0, 4).Draw(rt, "status")])
			} else {
				l.fail(d, a, domain.CodeTimeout)
			}
		case op == 16:
			if d := pick(l.order); l.deliveries[d].Open != nil {
				l.interrupt(d)
			}
		case op == 17:
			l.retry(pick(l.order), rapid.Bool().Draw(rt, "force"))
		case op == 18:
			l.cancel(pick(l.order))
		default:
			key := domain.EndpointKey{Tenant: ten, Endpoint: pick(endpoints)}
			e := l.endpoints[key]
			switch {
			case e.Removed:
				more()
			case rapid.IntRange(0, 3).Draw(rt, "remove") == 0:
				l.configure(key, &domain.EndpointRemoved{})
			case e.Disabled:
				l.configure(key, &domain.EndpointEnabled{})
			default:
				l.configure(key, &domain.EndpointDisabled{Reason: "manual"})
			}
		}
	}
}

// folded opens projections that fold the ledger in transactions of the sizes given, in turn.
func folded(rt *rapid.T, l *fakeLedger, dir string, sizes func() int) *Projections {
	records := l.records
	l.records = nil
	p, err := Open(context.Background(), Config{Dir: dir, Store: l, Now: l.now})
	if err != nil {
		rt.Fatal(err)
	}
	l.records = records
	for p.history.at.position < l.Head() {
		p.history.size = sizes()
		if err := p.history.advance(context.Background(), l.Head()); err != nil {
			rt.Fatal(err)
		}
	}
	return p
}

// Semantics: a live fold equals the rebuilt rows, whatever the sizes of the batches were.
func TestSemanticsRowsAreTheSameForAnyBatches(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		l := newFakeLedger()
		writeHistory(rt, l, rapid.IntRange(1, 120).Draw(rt, "steps"))
		dir := t.TempDir()
		p := folded(rt, l, dir, func() int { return rapid.IntRange(1, 12).Draw(rt, "size") })
		cut, err := p.Digest(context.Background())
		if err != nil {
			rt.Fatal(err)
		}
		checkRows(rt, l, p)
		if err := p.Close(); err != nil {
			rt.Fatal(err)
		}
		rebuilt, err := Rebuild(context.Background(), Config{Dir: dir, Store: l, Now: l.now})
		if err != nil {
			rt.Fatal(err)
		}
		if rebuilt.Digest != cut || rebuilt.Position != l.Head() {
			rt.Fatalf("rebuilt to %+v, was %s", rebuilt, cut)
		}
	})
}

// checkRows compares the rows with what the author of the history knows.
func checkRows(rt *rapid.T, l *fakeLedger, p *Projections) {
	for id, d := range l.deliveries {
		row, err := p.Delivery(context.Background(), ten, id)
		if err != nil {
			rt.Fatal(err)
		}
		want := d.Status
		if d.cancelled {
			want = domain.StatusCancelled
		}
		if p.directory == nil {
			rt.Fatal("no directory")
		}
		if row.Status != want || row.Attempts != d.Attempts || row.Revision != d.Revision {
			rt.Fatalf("delivery %s: status %s, %d attempts, revision %d; want %s, %d, %d", id, row.Status, row.Attempts,
				row.Revision, want, d.Attempts, d.Revision)
		}
		if waits := want == domain.StatusPending || want == domain.StatusRetrying; waits == row.DueAt.IsZero() {
			rt.Fatalf("delivery %s is %s and due at %v", id, want, row.DueAt)
		}
		if want.Terminal() == row.CompletedAt.IsZero() {
			rt.Fatalf("delivery %s is %s and completed at %v", id, want, row.CompletedAt)
		}
		page, err := p.Attempts(context.Background(), AttemptFilter{List: List{Tenant: ten, Limit: MaxLimit, Ascending: true},
			DeliveryID: id})
		if err != nil || len(page.Rows) != d.Attempts {
			rt.Fatalf("delivery %s has %d attempts: %+v %v", id, d.Attempts, page, err)
		}
		for i, a := range page.Rows {
			if a.N != i+1 || (a.Status == AttemptInFlight) != (d.Open != nil && d.Open.ID == a.ID) {
				rt.Fatalf("delivery %s, attempt %d: %+v", id, i+1, a)
			}
		}
	}
}

func TestAnUnknownRecordStopsTheProjectionsAndIsNamed(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	d := l.post(ten, ep1)
	p := l.opened(t, nil)
	running(t, p)
	l.deliver(d)
	good := l.Head()
	l.append("replay-default.x", ten, "", &domain.Unknown{Type: "ReplayRequested", Version: 1, Data: []byte("{}")})
	bad := l.records[len(l.records)-1]
	behind := l.post(ten, ep1)
	if err := p.Directory().WaitFor(t.Context(), l.Head()); err == nil {
		t.Fatal("the directory passed a record that it can't fold")
	}
	if err := p.WaitFor(t.Context(), good); err != nil {
		t.Fatalf("what stands before it was not folded: %v", err)
	}
	if err := p.WaitFor(t.Context(), l.Head()); err == nil {
		t.Fatal("the history passed a record that it can't fold")
	}
	for _, s := range p.Status() {
		if s.Err == nil || s.Record != bad.ID.String() || s.Position != good {
			t.Errorf("status %+v, want it to name %s", s, bad.ID)
		}
	}
	if _, err := p.Delivery(t.Context(), ten, behind); err == nil {
		t.Error("a delivery behind the record is there")
	}
}

// The same when the record is met at the start: Open succeeds, for what stands before it can be read.
func TestAnUnknownRecordAtTheStartIsNamed(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	d := l.post(ten, ep1)
	good := l.Head()
	l.append("replay-default.x", ten, "", &domain.Unknown{Type: "ReplayRequested", Version: 1, Data: []byte("{}")})
	p := l.opened(t, nil)
	running(t, p)
	if err := p.Directory().WaitFor(t.Context(), l.Head()); err == nil {
		t.Fatal("the directory passed it")
	}
	if row, err := p.Delivery(t.Context(), ten, d); err != nil || row.Status != domain.StatusPending {
		t.Errorf("%+v %v", row, err)
	}
	for _, s := range p.Status() {
		if s.Record == "" || s.Position != good {
			t.Errorf("status %+v", s)
		}
	}
}

func TestARecordThatContradictsTheRowsStopsTheHistory(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.append(domain.DeliveryStream(ten, "dlv_ghost"), ten, "evt_1",
		&domain.DeliverySucceeded{Attempt: "att_1", Attempts: 1})
	p := l.opened(t, nil)
	s := p.Status()[1]
	if s.Name != nameHistory || s.Record != l.records[1].ID.String() || s.Position != l.records[0].Position {
		t.Errorf("status %+v", s)
	}
}
