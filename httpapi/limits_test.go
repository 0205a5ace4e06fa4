package httpapi

import (
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"

	"hookledger/domain"
)

// TestAClientOverTheRateIsToldHowLong: the 429 of a tenant's ingest rate has a Retry-After that is true to the second.
// Who repeats the post before it is over is refused again, and who waits for it is taken, whatever the rate.
func TestAClientOverTheRateIsToldHowLong(t *testing.T) {
	t.Parallel()
	s, now := newClockedStack(t)
	root := s.key(platform, domain.RoleAdmin)
	s.tenant("free")
	free := s.key("free", domain.RoleProducer)
	for i, c := range []struct {
		rate float64
		want int // seconds
	}{{4, 1}, {1, 1}, {0.9997, 2}, {0.7, 2}, {0.125, 8}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			s := s.on(t)
			tenant := fmt.Sprintf("limited%d", i)
			s.call(root, "POST", "/v1/tenants", map[string]any{"name": tenant,
				"settings": map[string]any{"ingest_rate": c.rate}}).want(201, "")
			key := s.key(tenant, domain.RoleProducer)
			post := func(id string) *answer { return s.call(key, "POST", "/v1/events", example(id)) }
			taken := 0
			for post(fmt.Sprintf("burst_%d", taken)).status == 202 {
				if taken++; taken == 100 {
					t.Fatalf("%d events at once are within the rate", taken)
				}
			}
			refused := post("over").want(429, "rate_limited")
			seconds, err := strconv.Atoi(refused.header.Get("Retry-After"))
			if err != nil || seconds != c.want {
				t.Fatalf("Retry-After: %q, want %d", refused.header.Get("Retry-After"), c.want)
			}
			s.call(free, "POST", "/v1/events", example("")).want(202, "") // it is this tenant's alone
			now.Add(int64(time.Duration(seconds-1) * time.Second))
			post("over").want(429, "rate_limited")
			now.Add(int64(time.Second))
			if receipt := into[Receipt](post("over").want(202, "")); receipt.Duplicate {
				t.Error("what was refused was written")
			}
			// Of a batch as many as fit are taken, and the answer says when the next would be.
			batch := make([]any, taken+5)
			for i := range batch {
				batch[i] = example("")
			}
			now.Add(int64(time.Hour))
			got := s.call(key, "POST", "/v1/events/batch", batch).want(200, "")
			results := into[BatchAnswer](got)
			if results.Accepted != taken || results.Refused != 5 || results.Data[taken].Error.Code != "rate_limited" ||
				got.header.Get("Retry-After") != refused.header.Get("Retry-After") ||
				results.Data[taken].Error.RetryAfter != seconds || into[Problem](refused).RetryAfter != seconds {
				t.Errorf("%v %s", got.header, got.body)
			}
		})
	}
}

// TestATenantsOwnKeyChangesNoLimit: its administrator reads them, and changes what is the tenant's.
func TestATenantsOwnKeyChangesNoLimit(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	root := s.key(platform, domain.RoleAdmin)
	limits := map[string]any{"ingest_rate": 100.0, "max_endpoints": 50, "max_in_flight_per_host": 16}
	s.call(root, "POST", "/v1/tenants", map[string]any{"name": "acme", "settings": limits}).want(201, "")
	own := s.key("acme", domain.RoleAdmin)
	patch := func(key string, settings map[string]any) *answer {
		return s.call(key, "PATCH", "/v1/tenants/acme", map[string]any{"settings": settings},
			"Content-Type", "application/merge-patch+json")
	}
	for name := range limits {
		for _, value := range []any{1000, 1, 0, nil} {
			patch(own, map[string]any{name: value, "accept_unknown_types": true}).want(403, "limits_are_the_platforms")
		}
	}
	same := maps.Clone(limits)
	same["accept_unknown_types"] = true
	after := into[Tenant](patch(own, same).want(200, ""))
	if want := (TenantSettings{AcceptUnknownTypes: true, IngestRate: 100, MaxEndpoints: 50,
		MaxInFlightPerHost: 16}); after.Settings != want || after.Revision != 1 {
		t.Errorf("%+v", after)
	}
	patch(root, map[string]any{"ingest_rate": 200}).want(200, "")
}
