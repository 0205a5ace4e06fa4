package delivery

import (
	"fmt"
	"testing"
	"time"

	"hookledger/domain"
)

// endpointTable is a table of endpoints that are there.
type endpointTable map[string]*domain.Endpoint

func (e endpointTable) Endpoint(_, id string) (*domain.Endpoint, bool) {
	found, ok := e[id]
	return found, ok
}

// Who makes endpoints and removes them all day leaves nothing behind.
func TestLanesOfRemovedEndpointsAreForgotten(t *testing.T) {
	t.Parallel()
	there, due := endpointTable{}, newMemBacklog()
	s := newLanes(&Config{Window: 8, MaxInFlightPerEndpoint: 4, Endpoints: there, Backlog: due})
	const kept = 3
	now := time.Now()
	for i := range 5 * leastSweep {
		id := fmt.Sprintf("ep%d", i)
		there[id] = &domain.Endpoint{Tenant: "acme", ID: id, Config: domain.EndpointConfig{Scheme: "https", Host: id}}
		fill(due, "acme", id, 1, now)
		s.activate(domain.EndpointKey{Tenant: "acme", Endpoint: id})
		it, _ := s.next(now)
		if it == nil || it.due.Endpoint != id {
			t.Fatalf("%s has no turn: %+v", id, it)
		}
		s.settle(it, now)
		if again, _ := s.next(now); again != nil {
			t.Fatalf("%s has another turn: %+v", id, again)
		}
		if i >= kept {
			delete(there, id)
		}
	}
	if len(s.all) > leastSweep || len(s.sites) > leastSweep || len(s.hosts) > leastSweep {
		t.Errorf("%d lanes, %d sites and %d hosts are held of %d endpoints", len(s.all), len(s.sites), len(s.hosts), kept)
	}
	for i := range kept {
		if key := (domain.EndpointKey{Tenant: "acme", Endpoint: fmt.Sprintf("ep%d", i)}); s.all[key] == nil {
			t.Errorf("the lane of %s, which is there, is forgotten", key.Endpoint)
		}
	}
}
