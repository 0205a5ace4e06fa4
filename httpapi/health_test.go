package httpapi

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// attempted appends a delivery to the endpoint with one attempt and its outcome; it gives the outcome's record.
func (s *stack) attempted(endpoint string, n, status int) string {
	s.t.Helper()
	at := time.Now()
	delivery := domain.NewID(domain.PrefixDelivery, ulid.Make())
	attempt := domain.NewID(domain.PrefixAttempt, ulid.Make())
	decision := domain.Fact(&domain.RetryScheduled{N: 2, DueAt: at.Add(time.Hour)})
	if status == 200 {
		decision = &domain.DeliverySucceeded{Attempt: attempt, Attempts: 1}
	}
	s.append(domain.DeliveryStream("default", delivery), "default",
		&domain.DeliveryScheduled{Event: fmt.Sprintf("e%d", n), Endpoint: endpoint, Cause: domain.CauseRouted, DueAt: at},
		&domain.AttemptStarted{Attempt: attempt, N: 1, Endpoint: endpoint, StartedAt: at},
		&domain.RequestSigned{Attempt: attempt},
		&domain.ResponseReceived{Attempt: attempt, Status: status, Timings: domain.Timings{Total: 20_000}}, decision)
	for r, err := range s.store.ReadStream(s.t.Context(), domain.DeliveryStream("default", delivery), 3) {
		if err != nil {
			s.t.Fatal(err)
		}
		return r.ID.String()
	}
	s.t.Fatal("the outcome is not there")
	return ""
}

func TestTheHealthOfAnEndpoint(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	ep := s.endpoint(key, map[string]any{"disable_after": "72h"})
	path := "/v1/endpoints/" + ep.ID
	get := func(query string) EndpointHealth {
		t.Helper()
		return into[EndpointHealth](s.call(key, "GET", path+"/health"+query, nil).want(200, ""))
	}
	if h := get(""); h.State != "healthy" || h.Breaker != "closed" || h.Since != nil || len(h.Because) != 0 ||
		len(h.Windows) != 3 || h.Windows["5m"].SuccessRate != 1 || h.Pending == nil || *h.Pending != 0 || h.Position == 0 {
		t.Fatalf("%+v", h)
	}
	s.attempted(ep.ID, 0, 200)
	before := s.store.Head()
	var failures []string
	for i := range 10 {
		failures = append(failures, s.attempted(ep.ID, i, 503))
	}
	if err := s.proj.WaitFor(t.Context(), s.store.Head()); err != nil { // the rows, which know what is pending
		t.Fatal(err)
	}
	h := get("")
	if h.State != "failing" || h.Breaker != "open" || h.Failures != 10 || h.LastCode != "503" ||
		!slices.Equal(h.Because, []string{failures[0], failures[9]}) || h.Hold == nil || h.Hold.RecordID != failures[9] ||
		h.Hold.Reason != "breaker_open" || h.Reason != domain.BecauseRow || *h.Pending != 10 || h.Oldest == nil {
		t.Fatalf("%+v %+v, the failures are %v", h, h.Hold, failures)
	}
	if w := h.Windows["1h"]; w.Attempts != 11 || w.Failed != 10 || w.Errors["503"] != 10 || w.P50 < 15 || w.P50 > 30 {
		t.Fatalf("%+v", w)
	}
	var states []string
	for _, c := range h.Changes {
		states = append(states, c.State+" "+c.Breaker)
	}
	if want := []string{"degraded closed", "failing closed", "failing open"}; !slices.Equal(states, want) {
		t.Fatalf("%v, want %v", states, want)
	}

	then := get("?as_of=" + strconv.FormatUint(uint64(before), 10))
	if then.State != "healthy" || then.Windows["24h"].Attempts != 1 || then.Pending != nil || then.LastFailed != nil {
		t.Fatalf("as of before the failures: %+v", then)
	}
	if now := get("?as_of=" + strconv.FormatUint(uint64(s.store.Head()), 10)); now.State != h.State ||
		!slices.Equal(now.Because, h.Because) || now.Windows["24h"].Attempts != 11 {
		t.Fatalf("as of now: %+v", now)
	}

	// What comes now is held, and says so.
	s.call(key, "POST", "/v1/events", example("e_held")).want(202, "")
	list := into[List[Delivery]](s.call(key, "GET", "/v1/deliveries?status=held&min_position="+
		strconv.FormatUint(uint64(s.store.Head()), 10), nil).want(200, "")).Data
	if len(list) != 1 || list[0].EventID != "e_held" || list[0].Held == nil || list[0].Held.Reason != "breaker_open" ||
		!list[0].Held.Since.Equal(h.Hold.Since) {
		t.Fatalf("%+v", list)
	}
	s.call(key, "POST", path+"/disable", nil).want(200, "")
	d := into[Delivery](s.call(key, "GET", "/v1/deliveries/"+list[0].ID, nil).want(200, ""))
	if d.Status != "held" || d.Held == nil || d.Held.Reason != "disabled" {
		t.Fatalf("%+v", d)
	}
	if h := get(""); h.State != "disabled" || h.Reason != "manual" || h.Hold != nil {
		t.Fatalf("%+v", h)
	}

	s.call(key, "GET", "/v1/endpoints/ep_none/health", nil).want(404, "endpoint_not_found")
	s.call(key, "GET", path+"/health?as_of=1", nil).want(404, "endpoint_not_found")
}

func TestDisableAfterOfAnEndpoint(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	ep := s.endpoint(key, map[string]any{"disable_after": "72h"})
	path := "/v1/endpoints/" + ep.ID
	for _, c := range []struct{ set, want any }{{"0s", "0s"}, {"12h", "12h"}, {nil, nil}} {
		s.call(key, "PATCH", path, map[string]any{"disable_after": c.set}).want(200, "")
		e := into[map[string]any](s.call(key, "GET", path, nil).want(200, ""))
		if e["disable_after"] != c.want {
			t.Errorf("disable_after %v, want %v", e["disable_after"], c.want)
		}
	}
	s.call(key, "PATCH", path, map[string]any{"disable_after": "9000h"}).want(400, "invalid_disable_after")
}
