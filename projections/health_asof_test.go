package projections

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// exacting is a ledger that reads behind a record, and from right before one, but from no other position.
type exacting struct{ *fakeLedger }

func (l exacting) knows(after domain.Position) bool {
	return after == 0 || slices.ContainsFunc(l.records, func(r *domain.Record) bool {
		return r.Position == after || r.Position == after+1
	})
}

func (l exacting) ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	if l.knows(after) {
		return l.fakeLedger.ReadAll(ctx, after)
	}
	return func(yield func(*domain.Record, error) bool) {
		yield(nil, fmt.Errorf("%w: no record stands at %d", ledger.ErrPosition, after))
	}
}

// Health as of a position that is no record's is that as of the record before. Only what others wait behind needs a
// record, to know the time by.
func TestHealthAsOfAPositionThatIsNoRecords(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.policies = map[string]domain.RetryPolicy{ep2: {}} // nothing is tried again: one failure exhausts
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.endpoint(ten, ep2)
	l.reorder(ten, ep2, true, domain.OnExhaustedWait)
	first := l.post(ten, ep1, ep2)
	second := l.order[len(l.order)-1]
	l.pass(time.Second)
	l.fail(second, l.begin(second), domain.CodeTimeout)
	at := l.fail(first, l.begin(first), domain.CodeTimeout)
	l.post(ten, ep1)
	store, nobodys := exacting{l}, at+1
	for store.knows(nobodys) || store.knows(nobodys-1) {
		nobodys++
	}
	if nobodys >= l.Head() {
		t.Fatalf("no gap behind %d is wide enough", at)
	}
	p := l.opened(t, func(c *Config) { c.Store = store })
	settleDown(t, l, p)

	want, err := p.HealthAt(t.Context(), ten, ep1, Cut{Position: at})
	if err != nil || want.LastFailure.IsZero() {
		t.Fatalf("as of the record it is %s, failed last at %v: %v", want.State, want.LastFailure, err)
	}
	got, err := p.HealthAt(t.Context(), ten, ep1, Cut{Position: nobodys})
	if err != nil || got.State != want.State || !got.LastFailure.Equal(want.LastFailure) {
		t.Errorf("as of %d it is %s, failed last at %v, not %v: %v", nobodys, got.State, got.LastFailure,
			want.LastFailure, err)
	}
	v, err := p.HealthAt(t.Context(), ten, ep2, Cut{Position: at})
	if err != nil || v.Blocked.Delivery != second {
		t.Errorf("the line waits behind %+v, not %s: %v", v.Blocked, second, err)
	}
	if _, err := p.HealthAt(t.Context(), ten, ep2, Cut{Position: nobodys}); !errors.Is(err, ledger.ErrPosition) {
		t.Errorf("what the line waited for as of %d: %v", nobodys, err)
	}
}
