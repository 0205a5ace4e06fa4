package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/projections"
	"hookledger/vault"
)

// newSendingStack is a node with its deliveries, to a receiver that answers nobody before the test's end.
func newSendingStack(t *testing.T) (s *stack, receiver string, got <-chan string) {
	t.Helper()
	begun := make(chan string, 8)
	end := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		begun <- r.Header.Get("webhook-id")
		<-end
	}))
	t.Cleanup(srv.Close)
	var d *delivery.Delivery
	s = newStack(t, func(c *Config) {
		proj, keys := c.Projections.(*projections.Projections), c.Vault.(*vault.Vault)
		c.Egress = delivery.EgressConfig{Dev: true}
		var err error
		if d, err = delivery.New(delivery.Config{Store: c.Store, Backlog: proj.Backlog(), Endpoints: proj.Directory(),
			Gates: proj.Health(), Bodies: ingest.NewBodies(c.Store, keys, 0), Vault: keys, Room: c.Room, Now: c.Now,
			NewID: ulid.Make, Jitter: func() float64 { return 0 }, Node: "test", Egress: c.Egress}); err != nil {
			t.Fatal(err)
		}
		c.Dispatch = d
	})
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	t.Cleanup(func() {
		close(end)
		stop()
		if err := <-ran; err != nil {
			t.Errorf("deliveries: %v", err)
		}
	})
	return s, srv.URL, begun
}

// sent posts an event and gives its one delivery.
func (s *stack) sent(key string) string {
	s.t.Helper()
	return into[Receipt](s.call(key, "POST", "/v1/events", example("")).want(202, "")).Deliveries[0].ID
}

// waits shows a delivery as it stands once the rows hold what is on the ledger now.
func (s *stack) waits(key, delivery string) *Waits {
	s.t.Helper()
	if err := s.proj.WaitFor(s.t.Context(), s.store.Head()); err != nil {
		s.t.Fatal(err)
	}
	return into[Delivery](s.call(key, "GET", "/v1/deliveries/"+delivery, nil).want(200, "")).Waits
}

// A test that waits asks so often, and so many times: a minute of questions. Time alone decides nothing, for a machine
// that stands still asks none.
const (
	questionEvery = 10 * time.Millisecond
	questions     = 6000
)

// eventually repeats a read until it is as the test wants it: who decides what is sent is not this goroutine.
func (s *stack) eventually(key, delivery string, as func(*Waits) bool) *Waits {
	s.t.Helper()
	var last *Waits
	if !answered(func() bool { last = s.waits(key, delivery); return as(last) }) {
		s.t.Fatalf("it waits for %+v", last)
	}
	return last
}

// answered asks again and again, with a pause between, and says whether the answer was yes in the end.
func answered(ask func() bool) bool {
	tick := time.NewTicker(questionEvery)
	defer tick.Stop()
	for range questions {
		if ask() {
			return true
		}
		<-tick.C
	}
	return false
}

// TestADeliverySaysWhatItWaitsFor: what waits for a limit says which, what stands in a line behind whom; what is under
// way or held waits for nothing, and a list does not say.
func TestADeliverySaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	s, receiver, got := newSendingStack(t)
	admin := s.key("default", domain.RoleAdmin)

	narrow := s.endpoint(admin, map[string]any{"url": receiver, "max_in_flight": 1})
	first := s.sent(admin)
	<-got
	s.eventually(admin, first, func(w *Waits) bool { return w == nil }) // what is in flight waits for nothing
	second, third := s.sent(admin), s.sent(admin)
	for ahead, id := range []string{second, third} {
		w := s.eventually(admin, id, func(w *Waits) bool { return w != nil && w.For == delivery.WaitEndpointInFlight })
		if w.Limit != 1 || w.Ahead == nil || *w.Ahead != ahead || w.Until != nil || w.Behind != "" {
			t.Errorf("number %d waits for %+v", ahead, w)
		}
	}
	list := into[List[Delivery]](s.call(admin, "GET", "/v1/deliveries?status=pending", nil).want(200, "")).Data
	if len(list) != 2 || slices.ContainsFunc(list, func(d Delivery) bool { return d.Waits != nil }) {
		t.Errorf("the list is %+v", list)
	}
	s.call(admin, "POST", "/v1/endpoints/"+narrow.ID+"/disable", nil).want(200, "")
	if w := s.waits(admin, second); w != nil {
		t.Errorf("what is held waits for %+v", w)
	}

	s.endpoint(admin, map[string]any{"url": receiver, "ordered": true})
	first = s.sent(admin)
	<-got
	second = s.sent(admin)
	s.eventually(admin, second, func(w *Waits) bool {
		return w != nil && w.For == delivery.WaitOrder && w.Behind == first && w.Ahead != nil && *w.Ahead == 1
	})
}

// TestADeliveryThatWaitsForItsRetrySaysUntilWhen: as its row does, whose time this is.
func TestADeliveryThatWaitsForItsRetrySaysUntilWhen(t *testing.T) {
	t.Parallel()
	s, _, _ := newSendingStack(t)
	admin := s.key("default", domain.RoleAdmin)
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	t.Cleanup(failing.Close)
	s.endpoint(admin, map[string]any{"url": failing.URL, "retry_schedule": []string{"1h"}})
	id := s.sent(admin)
	w := s.eventually(admin, id, func(w *Waits) bool { return w != nil && w.For == delivery.WaitSchedule })
	d := into[Delivery](s.call(admin, "GET", "/v1/deliveries/"+id, nil).want(200, ""))
	if d.Status != "retrying" || w.Until == nil || !w.Until.Equal(*d.NextAttemptAt) || w.Ahead != nil ||
		time.Until(*w.Until) < 50*time.Minute {
		t.Errorf("%+v waits for %+v", d, w)
	}
}
