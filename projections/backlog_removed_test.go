package projections

import (
	"testing"

	"hookledger/domain"
)

// Ingest routes by a snapshot that may be older than the removal: EventRouted then stands behind EndpointRemoved. Such
// a delivery is offered, for its handler to end it; also where the endpoint was disabled before.
func TestRoutedBehindTheRemovalIsOfferedAndEnds(t *testing.T) {
	t.Parallel()
	for _, disabled := range []bool{false, true} {
		for _, restart := range []bool{false, true} {
			l, p := ready(t, nil)
			if disabled {
				l.configure(key1, &domain.EndpointDisabled{Reason: "manual"})
			}
			l.configure(key1, &domain.EndpointRemoved{})
			id := l.post(ten, ep1)
			settleDown(t, l, p)
			if restart {
				p = l.opened(t, nil)
				settleDown(t, l, p)
			}
			due := takeAll(t, l, p, key1)
			if len(due) != 1 || due[0].Delivery != id || due[0].Revision != domain.NoStream {
				t.Fatalf("disabled %v, restart %v: offered %+v", disabled, restart, due)
			}
			l.cancel(id)
			p.Backlog().Done(due[0])
			settleDown(t, l, p)
			expectNothing(t, l, p, "after its end")
			if row, err := p.Delivery(t.Context(), ten, id); err != nil || row.Status != domain.StatusCancelled {
				t.Fatalf("%+v %v", row, err)
			}
		}
	}
}

// Endpoints come and go; nothing of those that went stays in memory.
func TestQueuesOfRemovedEndpointsAreForgotten(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	waits, flies := l.post(ten, ep1), l.post(ten, ep1)
	settleDown(t, l, p)
	due := takeAll(t, l, p, key1)
	if len(due) != 2 {
		t.Fatalf("got %v of %s and %s", due, waits, flies)
	}
	l.configure(key1, &domain.EndpointRemoved{})
	settleDown(t, l, p)
	b := p.Backlog()
	if b.queues[key1] == nil {
		t.Fatal("the queue was dropped while deliveries of it are in flight")
	}
	for _, d := range due {
		l.cancel(d.Delivery)
		b.Done(d)
	}
	settleDown(t, l, p)
	takeAll(t, l, p, key1)
	settleDown(t, l, p)
	l.post(ten, ep2) // the rows move on
	settleDown(t, l, p)
	if b.queues[key1] != nil || len(b.gone) != 0 {
		t.Fatalf("%d queues, %d of removed endpoints: %+v", len(b.queues), len(b.gone), b.queues[key1])
	}
}
