package delivery

import (
	"fmt"
	"testing"
	"time"

	"hookledger/domain"
)

// TestWhoWaitsAtAFullHostGoesWhereItsEndpointWent: a lane that waits at a host whose attempts hang goes on
// within a second where its endpoint's url leads elsewhere by then, or the tenant may have more there; a replay's lane
// does, too. Those that did not move keep their turns.
func TestWhoWaitsAtAFullHostGoesWhereItsEndpointWent(t *testing.T) {
	t.Parallel()
	there, due, places := endpointTable{}, newMemBacklog(), 1
	s := newLanes(&Config{Window: 8, MaxInFlightPerEndpoint: 4, Endpoints: there, Backlog: due,
		HostLimit: func(string) int { return places }})
	now := time.Now()
	leads := func(id, host string) {
		there[id] = &domain.Endpoint{Tenant: "acme", ID: id, Config: domain.EndpointConfig{Scheme: "https", Host: host}}
	}
	next := func(want string) *item {
		t.Helper()
		it, _ := s.next(now)
		if got := fmt.Sprint(itemName(it)); got != want {
			t.Fatalf("it is the turn of %q, want %q", got, want)
		}
		return it
	}
	for _, id := range []string{"hangs", "stays", "moves", "again"} {
		leads(id, "full.example")
		key := domain.EndpointKey{Tenant: "acme", Endpoint: id}
		if id == "again" {
			key.Replay = "rep_1"
		}
		due.add(domain.Due{Tenant: "acme", Endpoint: id, Replay: key.Replay, Delivery: id, Event: id, DueAt: now,
			Revision: domain.NoStream})
		s.activate(key)
	}
	hanging := next("hangs")
	next("") // the host is full
	leads("moves", "free.example")
	leads("again", "other.example")
	_, wake := s.next(now)
	if wait := wake.Sub(now); wake.IsZero() || wait > maxPark {
		t.Fatalf("it is looked again in %s, at %s", wait, wake)
	}
	now = wake
	next("moves")
	next("again")
	next("")
	leads("moves", "full.example") // while its attempt is under way: what it counts for stays where it went
	now = now.Add(maxPark)
	next("")
	places = 2
	now = now.Add(maxPark)
	next("stays")
	s.settle(hanging, now)
	next("") // nothing is due any more
	for _, h := range s.hosts {
		if h.waiting.len() > 0 {
			t.Errorf("%d wait at %s", h.waiting.len(), h.key.host)
		}
	}
	if len(s.crowded) > 0 {
		t.Errorf("%d hosts are full", len(s.crowded))
	}
}

func itemName(it *item) string {
	if it == nil {
		return ""
	}
	return it.due.Endpoint
}
