package projections

import (
	"testing"
	"time"

	"hookledger/domain"
)

// stands holds what is said of a delivery against what is so; nil: that it does not wait.
func stands(t *testing.T, p *Projections, delivery string, want *domain.Standing) {
	t.Helper()
	got, waits := p.Backlog().Standing(key1, delivery)
	if waits != (want != nil) || waits && got != *want {
		t.Errorf("%s: %+v (%v), not %+v", delivery, got, waits, want)
	}
}

// Semantics: where a delivery stands is said from what this node holds in memory; of what it left to the rows, no more
// than it knows.
func TestSemanticsADeliveryStandsBehindThoseBeforeIt(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	p.backlog.headSize, p.backlog.low, p.backlog.freshSize = 3, 1, 1
	from := l.now()
	var ids []string
	for range 6 {
		ids = append(ids, l.post(ten, ep1))
		l.pass(time.Millisecond)
	}
	settleDown(t, l, p)
	due := func(i int) time.Time { return from.Add(time.Duration(i) * time.Millisecond) }
	for i, id := range ids[:3] {
		stands(t, p, id, &domain.Standing{DueAt: due(i), Ahead: i})
	}
	stands(t, p, ids[3], &domain.Standing{Ahead: -1})
	stands(t, p, ids[4], &domain.Standing{DueAt: due(4), Ahead: -1}) // in memory as one that happens now, behind rows
	stands(t, p, ids[5], &domain.Standing{Ahead: -1})
	p.Backlog().Activate(l.now())
	taken, _ := p.Backlog().Take(key1, l.now())
	stands(t, p, ids[0], &domain.Standing{Taken: true, Ahead: -1})
	stands(t, p, ids[1], &domain.Standing{DueAt: due(1), Ahead: 0})
	p.Backlog().Return(taken, l.now().Add(time.Minute))
	stands(t, p, ids[0], &domain.Standing{DueAt: l.now().Add(time.Minute), Returned: true, Ahead: -1})
}

// What has ended, or is under way, and whose row does not say so yet, is not said to wait.
func TestWhatItsRowDoesNotShowYetIsNotSaidToWait(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	done, retried, begun := l.post(ten, ep1), l.post(ten, ep1), l.post(ten, ep1)
	settleDown(t, l, p)
	taken := takeAll(t, l, p, key1)
	l.respond(done, l.begin(done), 200)
	l.fail(retried, l.begin(retried), domain.CodeTimeout)
	follow(t, l, p)
	stands(t, p, done, nil) // its handler is about to say so
	p.Backlog().Done(taken[0])
	p.Backlog().Done(taken[1])
	stands(t, p, done, nil)
	stands(t, p, begun, &domain.Standing{Taken: true, Ahead: -1})
	stands(t, p, retried, &domain.Standing{DueAt: l.deliveries[retried].DueAt, Ahead: 0})
	settleDown(t, l, p)
	if d, err := p.Delivery(t.Context(), ten, done); err != nil || d.Status != domain.StatusSucceeded {
		t.Fatalf("%+v %v", d, err)
	}

	other := l.post(ten, ep1)
	follow(t, l, p)
	l.begin(other) // by another node
	follow(t, l, p)
	stands(t, p, other, nil)
}

// Semantics: in the line of an ordered endpoint the first one is named that must end: while it is under way, until what
// it came to is folded, while it waits for its retry, and where another node has it.
func TestSemanticsInAnOrderedLineTheFirstOneIsNamed(t *testing.T) {
	t.Parallel()
	l := newWaitingLine(domain.RetryPolicy{Schedule: []domain.Duration{domain.Duration(time.Hour)}})
	p := l.opened(t, func(c *Config) { c.Dir = t.TempDir() })
	p.backlog.headSize, p.backlog.low = 3, 1
	from := l.now()
	var ids []string
	for range 5 {
		ids = append(ids, l.post(ten, ep1))
	}
	settleDown(t, l, p)
	behind := func(ahead ...int) {
		t.Helper()
		for i, n := range ahead {
			want := &domain.Standing{DueAt: from, Ahead: n, InOrder: true, Behind: ids[0]}
			if n < 0 {
				want.DueAt = time.Time{}
			}
			stands(t, p, ids[i+1], want)
		}
	}
	stands(t, p, ids[0], &domain.Standing{DueAt: from})
	behind(1, 2, -1, -1)
	taken := takeAll(t, l, p, key1)
	if len(taken) != 1 {
		t.Fatalf("offered are %v", taken)
	}
	stands(t, p, ids[0], &domain.Standing{Taken: true, Ahead: -1})
	behind(1, 2, -1, -1)
	l.fail(ids[0], l.begin(ids[0]), domain.CodeTimeout)
	p.Backlog().Done(taken[0])
	behind(0, 1, -1, -1) // nothing is under way, and what the first one came to is not folded
	settleDown(t, l, p)
	stands(t, p, ids[0], &domain.Standing{DueAt: l.deliveries[ids[0]].DueAt})
	behind(1, 2, -1, -1)
	l.pass(2 * time.Hour)
	l.begin(ids[0]) // by another node
	settleDown(t, l, p)
	behind(1, 2, -1, -1)
	l.interrupt(ids[0])
	l.skip(ids[0])
	settleDown(t, l, p)
	stands(t, p, ids[1], &domain.Standing{DueAt: from})
}
