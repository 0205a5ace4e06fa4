package projections

import (
	"context"
	"testing"

	"hookledger/domain"
)

const ten, ep1, ep2 = "default", "ep_1", "ep_2"

// running runs the projections until the test ends.
func running(t *testing.T, p *Projections) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTheHistoryHoldsWhatHappened(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	p := l.opened(t, nil)
	running(t, p)
	d := l.post(ten, ep1)
	a := l.begin(d)
	l.respond(d, a, 500)
	pos := l.Head()
	if err := p.WaitFor(t.Context(), pos); err != nil {
		t.Fatal(err)
	}
	got, err := p.Delivery(t.Context(), ten, d)
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != domain.StatusRetrying || got.Attempts != 1 || got.LastCode != 500 ||
		got.LastError != domain.CodeHTTPStatus {
		t.Errorf("delivery: %+v", got)
	}
	at, err := p.Attempt(t.Context(), ten, a)
	if err != nil || at.Status != AttemptFailed || at.DeliveryID != d || at.Code != 500 || at.EventID != got.EventID {
		t.Errorf("attempt: %+v %v", at, err)
	}
	page, err := p.Deliveries(t.Context(), DeliveryFilter{List: List{Tenant: ten}, Status: domain.StatusRetrying})
	if err != nil || len(page.Rows) != 1 || page.AsOfPosition < pos {
		t.Errorf("page: %+v %v", page, err)
	}
	if _, err := p.Event(t.Context(), ten, "evt_none"); domain.Code(err) != "event_not_found" {
		t.Errorf("err = %v", err)
	}
}
