package httpapi

import (
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// openAttempt leaves an attempt of the delivery without an outcome.
func (s *stack) openAttempt(tenant, event, endpoint, delivery string) {
	s.t.Helper()
	now := time.Now()
	d := domain.NewDelivery()
	records := d.Start(domain.Start{Stamp: domain.Stamp{At: now, Base: ulid.Make(), Actor: domain.System("delivery")},
		Due:     domain.Due{Tenant: tenant, Endpoint: endpoint, Delivery: delivery, Event: event, DueAt: now},
		Attempt: domain.NewID(domain.PrefixAttempt, ulid.Make()), Method: "POST", Host: "example.com", Timeout: time.Second,
		Node: "test", Signed: domain.RequestSigned{Scheme: "v1"}})
	if _, err := s.store.Append(s.t.Context(), domain.DeliveryStream(tenant, delivery), domain.NoStream,
		records); err != nil {
		s.t.Fatal(err)
	}
}

// TestRetryAndCancelSayWhatTheyDo: to the schedule, by whom and why; what is in flight, or has ended, is 409.
func TestRetryAndCancelSayWhatTheyDo(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	e := s.endpoint(admin, map[string]any{"retry_schedule": []string{"5s", "5m"}})
	receipt := into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
	id := receipt.Deliveries[0].ID
	path := "/v1/deliveries/" + id

	d := into[Delivery](s.call(admin, "POST", path+"/retry", nil).want(202, ""))
	if r := d.Retry; r == nil || r.N != 1 || r.InPlaceOf == nil || r.NextStep != 1 || r.NextWait.String() != "5s" ||
		!strings.Contains(r.Says, "if it fails, step 1 of the schedule follows: 5s") {
		t.Fatalf("%+v", d.Retry)
	}
	const why = "the receiver was told by telephone"
	key := []string{"Idempotency-Key", "once"}
	d = into[Delivery](s.call(admin, "POST", path+"/cancel", map[string]any{"reason": why}, key...).want(200, ""))
	c := d.Cancelled
	if d.Status != "cancelled" || d.NextAttemptAt != nil || c == nil || c.Reason != "requested" || c.Note != why ||
		c.Actor == nil || c.Actor.Kind != "key" || c.At.IsZero() {
		t.Fatalf("%+v %+v", d, c)
	}
	head := s.store.Head()
	s.call(admin, "POST", path+"/cancel", map[string]any{"reason": why}, key...).want(200, "")
	s.call(admin, "POST", path+"/cancel", map[string]any{"reason": "another"}, key...).want(409, "idempotency_conflict")
	s.call(admin, "POST", path+"/cancel", nil).want(200, "")
	if s.store.Head() != head {
		t.Error("what is cancelled was cancelled again")
	}
	got := s.call(admin, "GET", path, nil).want(200, "")
	if c := into[Delivery](got).Cancelled; c == nil || c.Note != why {
		t.Errorf("%s", got.body)
	}
	raw := s.call(admin, "GET", "/v1/records?stream=delivery-default."+id, nil)
	if strings.Contains(string(raw.body), why) {
		t.Errorf("it stands in the clear: %s", raw.body)
	}

	d = into[Delivery](s.call(admin, "POST", path+"/retry", nil).want(202, ""))
	if r := d.Retry; d.Cancelled != nil || r == nil || r.InPlaceOf != nil || r.NextStep != 0 ||
		!strings.Contains(r.Says, "reopened") || !strings.Contains(r.Says, "exhausted") {
		t.Fatalf("%+v", d.Retry)
	}
	// A repeat of the first cancel is that one, and does not end it again.
	s.call(admin, "POST", path+"/cancel", map[string]any{"reason": why}, key...).want(200, "")
	if d := into[Delivery](s.call(admin, "GET", path, nil).want(200, "")); d.Status != "retrying" {
		t.Errorf("it is %s", d.Status)
	}

	// One that was never tried and is held.
	receipt = into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
	held := receipt.Deliveries[0].ID
	s.call(admin, "POST", "/v1/endpoints/"+e.ID+"/disable", nil).want(200, "")
	if d := into[Delivery](s.call(admin, "GET", "/v1/deliveries/"+held, nil).want(200, "")); d.Status != "held" {
		t.Fatalf("it is %s", d.Status)
	}
	d = into[Delivery](s.call(admin, "POST", "/v1/deliveries/"+held+"/cancel", nil).want(200, ""))
	if d.Status != "cancelled" || d.Cancelled == nil || d.Cancelled.Note != "" {
		t.Errorf("%+v", d)
	}
	s.call(admin, "POST", "/v1/endpoints/"+e.ID+"/enable", nil).want(200, "")

	receipt = into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
	s.openAttempt("default", receipt.ID, e.ID, receipt.Deliveries[0].ID)
	s.call(admin, "POST", "/v1/deliveries/"+receipt.Deliveries[0].ID+"/cancel", nil).want(409, "attempt_in_flight")
	s.call(admin, "POST", "/v1/deliveries/"+receipt.Deliveries[0].ID+"/retry", nil).want(409, "attempt_in_flight")

	receipt = into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
	s.attempt("default", receipt.ID, e.ID, receipt.Deliveries[0].ID)
	s.call(admin, "POST", "/v1/deliveries/"+receipt.Deliveries[0].ID+"/cancel", nil).want(409, "delivery_ended")
	s.call(admin, "POST", "/v1/deliveries/dlv_none/cancel", nil).want(404, "delivery_not_found")

	// The removal of an endpoint is the end of its deliveries, and the reason.
	receipt = into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
	s.call(admin, "DELETE", "/v1/endpoints/"+e.ID, nil).want(204, "")
	path = "/v1/deliveries/" + receipt.Deliveries[0].ID
	d = into[Delivery](s.call(admin, "POST", path+"/cancel", nil, "Idempotency-Key", "late").want(200, ""))
	if d.Cancelled == nil || d.Cancelled.Reason != "endpoint_removed" || d.Cancelled.Actor != nil {
		t.Errorf("%+v", d.Cancelled)
	}
}
