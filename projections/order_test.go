package projections

import (
	"testing"
	"time"

	"hookledger/domain"
)

// Semantics: behind an exhausted delivery of an ordered endpoint that waits, all others are held, with the reason and
// since when; over a restart too, and until it is cancelled. One that goes on holds nobody.
func TestSemanticsBehindAnExhaustedDeliveryTheOthersAreHeld(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.policies = map[string]domain.RetryPolicy{ep1: {}}
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.reorder(ten, ep1, true, domain.OnExhaustedWait)
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
