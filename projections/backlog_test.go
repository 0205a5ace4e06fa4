package projections

import (
	"context"
	"flag"
	"runtime"
	"testing"
	"time"

	"hookledger/domain"
)

var key1 = domain.EndpointKey{Tenant: ten, Endpoint: ep1}

// follow folds into memory what is on the ledger, and into no rows.
func follow(t testing.TB, l *fakeLedger, p *Projections) {
	t.Helper()
	for r, err := range l.ReadAll(context.Background(), p.live.progress.position()) {
		if err == nil {
			err = p.live.fold(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// settledDown makes rows and memory hold everything that is on the ledger, without any goroutine.
func settleDown(t testing.TB, l *fakeLedger, p *Projections) {
	t.Helper()
	follow(t, l, p)
	if err := p.history.catchUp(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.refiller.refill(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// takeAll takes everything that is due at the endpoint, without answering it.
func takeAll(t testing.TB, l *fakeLedger, p *Projections, key domain.EndpointKey) []domain.Due {
	t.Helper()
	p.Backlog().Activate(l.now())
	var out []domain.Due
	for {
		d, ok := p.Backlog().Take(key, l.now())
		if !ok {
			return out
		}
		out = append(out, d)
	}
}

func ready(t testing.TB, change func(*Config)) (*fakeLedger, *Projections) {
	t.Helper()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.endpoint(ten, ep2)
	return l, l.opened(t, change)
}

func TestWhatWasRoutedIsOfferedOnceInOrder(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	var want []string
	for range 5 {
		want = append(want, l.post(ten, ep1))
		l.pass(time.Millisecond)
	}
	settleDown(t, l, p)
	select {
	case <-p.Backlog().Changed():
	default:
		t.Error("nothing was signalled")
	}
	active, _ := p.Backlog().Activate(l.now())
	if len(active) != 1 || active[0] != key1 {
		t.Fatalf("active: %v", active)
	}
	for i, id := range want {
		d, ok := p.Backlog().Take(key1, l.now())
		if !ok || d.Delivery != id || d.Revision != domain.NoStream || d.Tenant != ten || d.Endpoint != ep1 {
			t.Fatalf("%d: %+v %v, want %s", i, d, ok, id)
		}
	}
	if d, ok := p.Backlog().Take(key1, l.now()); ok {
		t.Errorf("%+v is offered beyond all", d)
	}
}

func TestARetryComesBackWhenItIsDue(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	id := l.post(ten, ep1)
	settleDown(t, l, p)
	due := takeAll(t, l, p, key1)
	a := l.begin(id)
	l.fail(id, a, domain.CodeTimeout) // the first retry waits 5 s
	settleDown(t, l, p)
	p.Backlog().Done(due[0])
	active, next := p.Backlog().Activate(l.now())
	if len(active) != 0 || !next.Equal(l.deliveries[id].DueAt) {
		t.Fatalf("active %v, next %v, want none until %v", active, next, l.deliveries[id].DueAt)
	}
	l.pass(5 * time.Second)
	got := takeAll(t, l, p, key1)
	if len(got) != 1 || got[0].Delivery != id || got[0].Revision != l.deliveries[id].Revision {
		t.Fatalf("got %+v", got)
	}
}

func TestWhatIsDueMuchLaterStaysInRows(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	var ids []string
	for range 20 {
		ids = append(ids, l.post(ten, ep1))
	}
	for range 2 { // the second failure waits 5 minutes
		for _, id := range ids {
			l.fail(id, l.begin(id), domain.CodeTimeout)
		}
		l.pass(5 * time.Second)
	}
	settleDown(t, l, p)
	if n := p.Backlog().waitingInMemory(); n != 0 {
		t.Errorf("%d are in memory, 5 minutes before they are due", n)
	}
	if got := takeAll(t, l, p, key1); len(got) != 0 {
		t.Fatalf("%d are offered", len(got))
	}
	next, err := p.refiller.refill(t.Context())
	if err != nil || next < 4*time.Minute || next > 5*time.Minute {
		t.Errorf("they come back in %v, %v", next, err)
	}
	l.pass(next)
	settleDown(t, l, p)
	if n := p.Backlog().waitingInMemory(); n != len(ids) {
		t.Errorf("%d are in memory shortly before they are due", n)
	}
	l.pass(time.Minute)
	if got := takeAll(t, l, p, key1); len(got) != len(ids) {
		t.Errorf("%d are offered", len(got))
	}
}

func TestADisabledEndpointIsNotActiveUntilItIsEnabled(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	id := l.post(ten, ep1)
	l.configure(key1, &domain.EndpointDisabled{Reason: "manual"})
	settleDown(t, l, p)
	if got := takeAll(t, l, p, key1); len(got) != 0 {
		t.Fatalf("%v are offered", got)
	}
	row, err := p.Delivery(t.Context(), ten, id)
	if err != nil || row.Status != domain.StatusHeld {
		t.Errorf("the row is %s %v, want held", row.Status, err)
	}
	page, err := p.Deliveries(t.Context(), DeliveryFilter{List: List{Tenant: ten}, Status: domain.StatusHeld})
	if err != nil || len(page.Rows) != 1 {
		t.Errorf("held: %+v %v", page.Rows, err)
	}
	page, err = p.Deliveries(t.Context(), DeliveryFilter{List: List{Tenant: ten}, Status: domain.StatusPending})
	if err != nil || len(page.Rows) != 0 {
		t.Errorf("pending: %+v %v", page.Rows, err)
	}
	l.configure(key1, &domain.EndpointEnabled{})
	settleDown(t, l, p)
	if got := takeAll(t, l, p, key1); len(got) != 1 || got[0].Delivery != id {
		t.Fatalf("got %v", got)
	}
}

// Semantics: EndpointRemoved is the terminal of every delivery of it without an open attempt.
func TestSemanticsTheRemovalOfAnEndpointEndsItsDeliveries(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	waits, flies, other := l.post(ten, ep1), l.post(ten, ep1), l.post(ten, ep2)
	open := l.begin(flies)
	l.configure(key1, &domain.EndpointRemoved{})
	settleDown(t, l, p)
	for id, want := range map[string]domain.DeliveryStatus{waits: domain.StatusCancelled, flies: domain.StatusInFlight,
		other: domain.StatusPending} {
		if row, err := p.Delivery(t.Context(), ten, id); err != nil || row.Status != want {
			t.Errorf("%s is %s %v, want %s", id, row.Status, err, want)
		}
	}
	if got := takeAll(t, l, p, key1); len(got) != 0 {
		t.Errorf("%v are offered", got)
	}
	l.fail(flies, open, domain.CodeTimeout)
	settleDown(t, l, p)
	if row, err := p.Delivery(t.Context(), ten, flies); err != nil || row.Status != domain.StatusCancelled {
		t.Errorf("after its outcome: %s %v", row.Status, err)
	}
}

// Semantics: attempts of the former life are found open at the start, and are due at once.
func TestSemanticsOpenAttemptsAreOfferedAtTheStart(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	open, fresh := l.post(ten, ep1), l.post(ten, ep1)
	l.begin(open)
	p := l.opened(t, nil)
	settleDown(t, l, p)
	got := takeAll(t, l, p, key1)
	if len(got) != 2 {
		t.Fatalf("got %+v", got)
	}
	seen := map[string]domain.Revision{}
	for _, d := range got {
		seen[d.Delivery] = d.Revision
	}
	if seen[open] != l.deliveries[open].Revision || seen[fresh] != domain.NoStream {
		t.Errorf("got %v", seen)
	}
	// Given back, it stays: no row that waits would bring it back.
	for _, d := range got {
		p.Backlog().Return(d, l.now().Add(time.Second))
	}
	l.pass(2 * time.Second)
	if again := takeAll(t, l, p, key1); len(again) != 2 {
		t.Errorf("again: %+v", again)
	}
}

func TestWhatWasReturnedIsOfferedAgainAtItsTime(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	l.post(ten, ep1)
	settleDown(t, l, p)
	got := takeAll(t, l, p, key1)
	p.Backlog().Return(got[0], l.now().Add(3*time.Second))
	p.Backlog().Return(got[0], l.now()) // a second time means nothing
	if early := takeAll(t, l, p, key1); len(early) != 0 {
		t.Fatalf("early: %v", early)
	}
	l.pass(3 * time.Second)
	if late := takeAll(t, l, p, key1); len(late) != 1 {
		t.Fatalf("late: %v", late)
	}
}

// What is left to the rows while they are being read, at a place before the one that they are read from, must not be
// jumped over when the rows are put into memory.
func TestAnEdgeThatMovedWhileRowsWereReadStays(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	settleDown(t, l, p)
	b := p.Backlog()
	q := b.queue(key1)
	q.lower(place{at: 2000, id: "b"})
	job := refillJob{queue: q, edge: q.edge, limit: 10}
	b.read(true)
	q.lower(place{at: 1000, id: "a"})
	b.filled(job, []waitingRow{{key: key1, id: "dlv_c", due: 3000}}, 1)
	b.read(false)
	if !q.edged || q.edge != (place{at: 1000, id: "a"}) || len(q.head) != 0 {
		t.Errorf("the edge is %v %v, in memory are %d", q.edged, q.edge, len(q.head))
	}
}

var pending = flag.Int("pending", 50_000, "deliveries of the test of a long backlog")

// Semantics: with any number of deliveries pending at one endpoint, a million too, few are in memory, and each is
// offered exactly once.
func TestSemanticsALongBacklogNeedsLittleMemory(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	empty := heap()
	for i := range *pending {
		l.post(ten, ep1)
		if i%10_000 == 9_999 || i == *pending-1 {
			l.pass(time.Millisecond)
			settleDown(t, l, p)
			l.forget(p.history.at.position)
			clear(l.deliveries) // the author's own memory of them would hide ours
			l.order = l.order[:0]
		}
	}
	t.Logf("%d pending: the heap is %.1f MiB, was %.1f MiB", *pending, heap(), empty)
	offered := 0
	last := place{}
	for offered < *pending {
		due := takeAll(t, l, p, key1)
		if len(due) == 0 {
			t.Fatalf("after %d nothing is offered", offered)
		}
		if held := p.Backlog().waitingInMemory() + len(due); held > headSize+freshSize {
			t.Fatalf("%d deliveries were in memory", held)
		}
		for _, d := range due {
			at := place{d.DueAt.UnixMicro(), d.Delivery}
			if !last.before(at) {
				t.Fatalf("%v is offered after %v", at, last)
			}
			last = at
			l.adopt(d)
			l.deliver(d.Delivery)
			p.Backlog().Done(d)
			delete(l.deliveries, d.Delivery)
		}
		if offered += len(due); offered/10_000 > (offered-len(due))/10_000 {
			settleDown(t, l, p) // between, the rows are behind
			l.forget(p.history.at.position)
		} else if _, err := p.refiller.refill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	settleDown(t, l, p)
	if due := takeAll(t, l, p, key1); len(due) != 0 || offered != *pending {
		t.Errorf("%d of %d were offered, and %d beyond all", offered, *pending, len(due))
	}
	if known := len(p.Backlog().items); known != 0 {
		t.Errorf("%d deliveries are known at the end", known)
	}
	t.Logf("at the end the heap is %.1f MiB", heap())
}
