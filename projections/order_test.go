package projections

import (
	"testing"
	"time"

	"hookledger/domain"
)

// newWaitingLine is a ledger with one ordered endpoint, at which others wait behind what is exhausted.
func newWaitingLine(policy domain.RetryPolicy) *fakeLedger {
	l := newFakeLedger()
	l.policies = map[string]domain.RetryPolicy{ep1: policy}
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.reorder(ten, ep1, true, domain.OnExhaustedWait)
	return l
}

// Semantics: behind an exhausted delivery of an ordered endpoint that waits, all others are held, with the reason and
// since when; over a restart too, and until it is cancelled. One that goes on holds nobody.
func TestSemanticsBehindAnExhaustedDeliveryTheOthersAreHeld(t *testing.T) {
	t.Parallel()
	l := newWaitingLine(domain.RetryPolicy{})
	first := l.post(ten, ep1)
	l.pass(time.Second)
	second := l.post(ten, ep1)
	l.pass(time.Second)
	since := l.now()
	l.fail(first, l.begin(first), domain.CodeTimeout)
	dir := t.TempDir()
	held := func(p *Projections) DeliveryRow {
		settleDown(t, l, p)
		if due := takeAll(t, l, p, key1); len(due) > 0 {
			t.Fatalf("%v is offered behind an exhausted one", due)
		}
		d, err := p.Delivery(t.Context(), ten, second)
		if err != nil {
			t.Fatal(err)
		}
		page, err := p.Deliveries(t.Context(), DeliveryFilter{List: List{Tenant: ten}, Status: domain.StatusHeld})
		if err != nil || len(page.Rows) != 1 || page.Rows[0].ID != second {
			t.Fatalf("held are %+v, %v", page.Rows, err)
		}
		return d
	}
	for range 2 { // the second time after a restart
		p, err := Open(t.Context(), Config{Dir: dir, Store: l, Now: l.now})
		if err != nil {
			t.Fatal(err)
		}
		d := held(p)
		if d.Status != domain.StatusHeld || d.Held != HeldBehind || !d.HeldSince.Equal(since) {
			t.Errorf("the second is %s: %s since %v, not %v", d.Status, d.Held, d.HeldSince, since)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p := l.opened(t, func(c *Config) { c.Dir = dir })
	l.skip(first)
	settleDown(t, l, p)
	if due := takeAll(t, l, p, key1); len(due) != 1 || due[0].Delivery != second {
		t.Errorf("after the cancel %v is offered", due)
	}
}

// Semantics: a retry that somebody asks for right after a start, before the rows of the line were read, lets nobody
// overtake: neither where the delivery is exhausted and others wait behind it, nor where its retry was due much later.
func TestSemanticsNobodyOvertakesADeliveryThatIsRetriedRightAfterAStart(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]domain.RetryPolicy{"exhausted": {},
		"retrying": {Schedule: []domain.Duration{domain.Duration(24 * time.Hour)}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWaitingLine(policy)
			first, second := l.post(ten, ep1), l.post(ten, ep1)
			l.fail(first, l.begin(first), domain.CodeTimeout)
			p := l.opened(t, nil)
			l.retry(first, false)
			follow(t, l, p)
			if _, err := p.refiller.refill(t.Context()); err != nil {
				t.Fatal(err)
			}
			if due := takeAll(t, l, p, key1); len(due) > 0 {
				t.Fatalf("%v is offered while the first one's row is behind", due)
			}
			for _, want := range []string{first, second} {
				settleDown(t, l, p)
				due := takeAll(t, l, p, key1)
				if len(due) != 1 || due[0].Delivery != want {
					t.Fatalf("offered is %v, not %s", due, want)
				}
				l.respond(want, l.begin(want), 200)
				p.Backlog().Done(due[0])
			}
		})
	}
}

// Semantics: a delivery that the receiver has confirmed, and whose repeat somebody forced in vain, holds nobody up.
func TestSemanticsBehindAForcedRepeatThatFailedNobodyWaits(t *testing.T) {
	t.Parallel()
	l := newWaitingLine(domain.RetryPolicy{})
	first, second := l.post(ten, ep1), l.post(ten, ep1)
	l.respond(first, l.begin(first), 200)
	l.retry(first, true)
	dir := t.TempDir()
	p, err := Open(t.Context(), Config{Dir: dir, Store: l, Now: l.now})
	if err != nil {
		t.Fatal(err)
	}
	settleDown(t, l, p)
	if due := takeAll(t, l, p, key1); len(due) != 1 || due[0].Delivery != first {
		t.Fatalf("offered is %v, not the repeat", due)
	} else {
		l.fail(first, l.begin(first), domain.CodeTimeout)
		p.Backlog().Done(due[0])
	}
	settleDown(t, l, p)
	if due := takeAll(t, l, p, key1); len(due) != 1 || due[0].Delivery != second {
		t.Errorf("behind it %v is offered", due)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = l.opened(t, func(c *Config) { c.Dir = dir })
	settleDown(t, l, p)
	if due := takeAll(t, l, p, key1); len(due) != 1 || due[0].Delivery != second {
		t.Errorf("after a restart %v is offered", due)
	}
}
