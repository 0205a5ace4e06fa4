package delivery

import (
	"fmt"
	"testing"
	"time"

	"hookledger/domain"
)

// onceReplayed is lanes with one endpoint, and a function that takes the one delivery of a replay, ends it, and says
// how long it waited. The attempt ends before or after the lane is seen to have nothing more.
func onceReplayed(t *testing.T, perSecond float64, endsFirst bool) (*lanes, func(replay string) time.Duration) {
	t.Helper()
	ep := &domain.Endpoint{Tenant: "default", ID: "ep", Config: domain.EndpointConfig{Scheme: "https",
		Host: "example.com", RateLimit: perSecond}}
	due, now := newMemBacklog(), time.Now()
	s := newLanes(&Config{Window: 8, MaxInFlightPerEndpoint: 4, Endpoints: endpointTable{"ep": ep}, Backlog: due})
	return s, func(replay string) time.Duration {
		t.Helper()
		fillReplay(due, replay, "ep", 1, now)
		s.activate(domain.EndpointKey{Tenant: "default", Endpoint: "ep", Replay: replay})
		asked := now
		it, wake := s.next(now)
		for ; it == nil && !wake.IsZero(); it, wake = s.next(now) {
			now = wake
		}
		if it == nil || it.due.Replay != replay {
			t.Fatalf("it is the turn of %+v, not of %s", it, replay)
		}
		if endsFirst {
			s.settle(it, now)
		}
		for _, wake = s.next(now); !wake.IsZero(); _, wake = s.next(now) {
			now = wake
		}
		if !endsFirst {
			s.settle(it, now)
		}
		return now.Sub(asked)
	}
}

// TestLanesOfReplaysAreForgotten: an endpoint that is replayed to all day keeps the lane of one replay at most.
func TestLanesOfReplaysAreForgotten(t *testing.T) {
	t.Parallel()
	for _, endsFirst := range []bool{false, true} {
		s, replayed := onceReplayed(t, 0, endsFirst)
		for i := range 100 {
			replayed(fmt.Sprintf("rep_%d", i))
		}
		at := s.sites[domain.EndpointKey{Tenant: "default", Endpoint: "ep"}]
		if len(s.all) > 1 || at != nil && len(at.again) > 1 {
			t.Errorf("%d lanes are held (the attempt ends first: %v)", len(s.all), endsFirst)
		}
	}
}

// TestOneReplayAfterTheOtherKeepsTheEndpointsRate: what the rate allows outlives the lanes that spend it.
func TestOneReplayAfterTheOtherKeepsTheEndpointsRate(t *testing.T) {
	t.Parallel()
	for _, endsFirst := range []bool{false, true} {
		_, replayed := onceReplayed(t, 20, endsFirst)
		var waited time.Duration
		const n, burst = 42, 2
		for i := range n {
			waited += replayed(fmt.Sprintf("rep_%d", i))
		}
		if least := (n - burst) * time.Second / 20; waited < least-time.Millisecond {
			t.Errorf("%d requests at 20/s took %s, not %s (the attempt ends first: %v)", n, waited, least, endsFirst)
		}
	}
}

// TestALaneIsForgottenWithItsEndpoint: the last of a replay's lanes goes when its endpoint is removed.
func TestALaneIsForgottenWithItsEndpoint(t *testing.T) {
	t.Parallel()
	s, replayed := onceReplayed(t, 0, false)
	replayed("rep_1")
	delete(s.endpoints.(endpointTable), "ep")
	replayed("rep_2") // whose delivery is cancelled
	s.sweep()
	if len(s.all)+len(s.sites)+len(s.hosts)+len(s.byTenant) > 0 {
		t.Errorf("%d lanes, %d sites, %d hosts and %d tenants are held", len(s.all), len(s.sites), len(s.hosts),
			len(s.byTenant))
	}
}
