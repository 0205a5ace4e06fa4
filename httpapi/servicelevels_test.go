package httpapi

import (
	"fmt"
	"testing"
	"time"

	"hookledger/domain"
)

// TestServiceLevels: what is not delivered is not within the target, in every grouping; what can't be asked is
// refused.
func TestServiceLevels(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	ep := s.endpoint(key, map[string]any{"event_types": []string{"agent.*"}})
	for range 3 {
		s.call(key, "POST", "/v1/events", example("")).want(202, "")
	}
	month := time.Now().UTC().Format(monthForm)
	at := fmt.Sprintf("&min_position=%d", s.store.Head())
	const path = "/v1/service-levels?by=month,endpoint,event&target=1m"
	got := into[ServiceLevels](s.call(key, "GET", path+at, nil).want(200, ""))
	if len(got.Data) != 1 || got.Target != domain.Duration(time.Minute) || got.AsOf == nil {
		t.Fatalf("%+v", got)
	}
	r := got.Data[0]
	// The month may turn between the posts and the question.
	if r.EndpointID != ep.ID || r.Event != "agent.status_changed" || r.Deliveries != 3 || r.Open != 3 || r.P99MS != nil ||
		r.Within != 0 || r.Share == nil || *r.Share != 0 || r.Month < month {
		t.Errorf("%+v", r)
	}
	for query, code := range map[string]string{"month=2026-13": "invalid_request", "month=nov": "invalid_request",
		"month=2026-11&through=2026-10": "invalid_range", "month=2023-01&through=2026-10": "invalid_range",
		"target=soon": "invalid_duration", "target=-1s": "invalid_duration", "by=tenant": "invalid_request"} {
		s.call(key, "GET", "/v1/service-levels?"+query, nil).want(400, code)
	}
	empty := into[ServiceLevels](s.call(key, "GET", "/v1/service-levels?month=2020-01", nil).want(200, ""))
	if len(empty.Data) != 0 {
		t.Errorf("%+v", empty)
	}
}
