package projections

import (
	"context"
	"testing"

	"hookledger/domain"
)

// foldLiveTo lets the live fold, and nothing else, reach the position.
func foldLiveTo(t *testing.T, l *fakeLedger, p *Projections, pos domain.Position) {
	t.Helper()
	for r, err := range l.ReadAll(context.Background(), p.live.progress.position()) {
		if err == nil && r.Position > pos {
			return
		}
		if err == nil {
			err = p.live.fold(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func expectNothing(t *testing.T, l *fakeLedger, p *Projections, when string) {
	t.Helper()
	if due := takeAll(t, l, p, key1); len(due) != 0 {
		t.Fatalf("%s, %v is offered", when, due)
	}
}

// A retry is asked for while a handler has the delivery; the handler sends it and is done before the fold comes to the
// request. What the handler appended behind the request answers it.
func TestARetryThatItsHandlerOutranIsNotOffered(t *testing.T) {
	t.Parallel()
	for _, foldedBefore := range []bool{false, true} {
		l, p := ready(t, nil)
		id := l.post(ten, ep1)
		settleDown(t, l, p)
		due := takeAll(t, l, p, key1)
		if !l.retry(id, false) {
			t.Fatal("the retry was refused")
		}
		asked := l.Head()
		if foldedBefore {
			foldLiveTo(t, l, p, asked)
		}
		l.deliver(id)
		p.Backlog().Done(due[0])
		expectNothing(t, l, p, "when the handler was done")
		foldLiveTo(t, l, p, asked)
		expectNothing(t, l, p, "when the request was folded")
		settleDown(t, l, p)
		expectNothing(t, l, p, "when all was folded")
	}
}

// The same, but what was appended meanwhile is about something else: the retry is still to be made.
func TestARetryInDoubtIsOfferedOnceNothingSpeaksAgainstIt(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	id := l.post(ten, ep1)
	settleDown(t, l, p)
	due := takeAll(t, l, p, key1)
	l.retry(id, false)
	foldLiveTo(t, l, p, l.Head())
	l.post(ten, ep2)
	p.Backlog().Done(due[0])
	expectNothing(t, l, p, "while it is in doubt")
	settleDown(t, l, p)
	if due := takeAll(t, l, p, key1); len(due) != 1 || due[0].Delivery != id {
		t.Errorf("got %v", due)
	}
}

// A delivery that nobody had in memory is asked for again, and its endpoint is removed before its row was read.
func TestARetryWhoseEndpointWasRemovedIsNotOffered(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	id := l.post(ten, ep1)
	l.deliver(id)
	settleDown(t, l, p)
	if !l.retry(id, true) {
		t.Fatal("the retry was refused")
	}
	foldLiveTo(t, l, p, l.Head())
	if err := p.history.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.configure(key1, &domain.EndpointRemoved{})
	foldLiveTo(t, l, p, l.Head()) // the rows still say that it waits
	if _, err := p.refiller.refill(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectNothing(t, l, p, "after the removal")
	settleDown(t, l, p)
	expectNothing(t, l, p, "after all")
	if row, err := p.Delivery(t.Context(), ten, id); err != nil || row.Status != domain.StatusCancelled {
		t.Errorf("%+v %v", row, err)
	}
}

// Without the removal it is found by its row and offered.
func TestARetryOfAnEndedDeliveryIsOffered(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	id := l.post(ten, ep1)
	l.deliver(id)
	settleDown(t, l, p)
	l.retry(id, true)
	settleDown(t, l, p)
	due := takeAll(t, l, p, key1)
	if len(due) != 1 || due[0].Delivery != id || due[0].Revision != l.deliveries[id].Revision {
		t.Errorf("got %+v", due)
	}
}
