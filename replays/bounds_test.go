package replays

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/ingest"
)

// planned names the pairs of a plan, in its order.
func (n *node) planned(s Spec) (out []string) {
	n.t.Helper()
	s.Tenant, s.Match = ten, domain.MatchThen
	n.must(n.proj.WaitFor(n.t.Context(), n.store.Head()))
	if s.AsOf == 0 {
		s.AsOf = n.store.Head()
	}
	for p, err := range n.plan.Pairs(n.t.Context(), s, domain.ReplayCursor{}) {
		n.must(err)
		if p.Event != "" {
			out = append(out, p.Event+" "+p.Endpoint)
		}
	}
	return out
}

// TestRecordsInThePlaceOfPositionsSelectTheSame: whatever the positions are, between, at or beside those of events.
func TestRecordsInThePlaceOfPositionsSelectTheSame(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := newNode(t)
	n.endpoint("ep_1", "*")
	for i := range 12 {
		n.post(name(i), "agent.status_changed", "")
		n.pass(time.Second)
	}
	head := n.store.Head()
	for range 40 {
		var s domain.ReplaySelector
		if rnd.IntN(3) > 0 {
			s.PositionAfter = domain.Position(rnd.Uint64N(uint64(head) * 5 / 4))
		}
		if rnd.IntN(3) > 0 {
			s.PositionBefore = s.PositionAfter + 1 + domain.Position(rnd.Uint64N(uint64(head)))
		}
		want := n.planned(Spec{Selector: s, AsOf: head})
		cited, err := n.plan.Cite(t.Context(), ten, s, head)
		n.must(err)
		if cited.PositionAfter != 0 || cited.PositionBefore != 0 {
			t.Errorf("%+v still has positions", cited)
		}
		if got := n.planned(Spec{Selector: cited, AsOf: head}); !slices.Equal(got, want) {
			t.Errorf("behind %d and before %d:\n%v\nis not\n%v", s.PositionAfter, s.PositionBefore, got, want)
		}
	}
}

// TestSelectByTheEventsOwnTimestamp: whenever it was received.
func TestSelectByTheEventsOwnTimestamp(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", "*")
	noon := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	for i := range 5 { // the later they come, the earlier they happened
		at := noon.Add(-time.Duration(i) * time.Hour)
		_, err := n.in.Post(t.Context(), ingest.Post{Tenant: ten, ID: name(i), Event: "agent.status_changed",
			Timestamp: &at, Actor: domain.System("test"),
			Data: []byte(`{"agentId":"a","from":"online","to":"offline"}`)})
		n.must(err)
		n.pass(time.Second)
	}
	got := n.planned(Spec{Selector: domain.ReplaySelector{OccurredAfter: noon.Add(-3 * time.Hour), OccurredBefore: noon}})
	if want := []string{name(1) + " ep_1", name(2) + " ep_1"}; !slices.Equal(got, want) {
		t.Errorf("%v is not %v", got, want)
	}
}

// TestSelectDeliveries: each goes where it went, once, and by its own status.
func TestSelectDeliveries(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", "*")
	n.endpoint("ep_2", "*")
	routed := map[string]string{}
	for i := range 3 {
		for ep, d := range n.post(name(i), "agent.status_changed", "") {
			routed[fmt.Sprint(i, ep)] = d
		}
		n.pass(time.Second)
	}
	n.attempt(domain.Due{Tenant: ten, Endpoint: "ep_2", Delivery: routed["0ep_2"], Event: name(0),
		Revision: domain.NoStream}, 200)
	ids := []string{routed["2ep_1"], routed["0ep_2"], routed["2ep_1"]}
	for _, c := range []struct {
		spec Spec
		want []string
	}{
		{Spec{Selector: domain.ReplaySelector{DeliveryIDs: ids}}, []string{name(0) + " ep_2", name(2) + " ep_1"}},
		{Spec{Selector: domain.ReplaySelector{DeliveryIDs: ids, Status: []domain.DeliveryStatus{domain.StatusSucceeded}}},
			[]string{name(0) + " ep_2"}},
		{Spec{Selector: domain.ReplaySelector{DeliveryIDs: ids, EndpointIDs: []string{"ep_1"}}}, []string{name(2) + " ep_1"}},
		{Spec{Selector: domain.ReplaySelector{DeliveryIDs: ids, EventIDs: []string{name(1)}}}, nil},
		{Spec{Endpoint: "ep_1", Selector: domain.ReplaySelector{DeliveryIDs: ids}},
			[]string{name(0) + " ep_1", name(2) + " ep_1"}},
	} {
		if got := n.planned(c.spec); !slices.Equal(got, c.want) {
			t.Errorf("%+v:\n%v\nis not\n%v", c.spec.Selector, got, c.want)
		}
	}
	_, err := n.plan.Plan(t.Context(), Spec{Tenant: ten, Match: domain.MatchThen, AsOf: n.store.Head(),
		Selector: domain.ReplaySelector{DeliveryIDs: []string{"dlv_none"}}})
	if domain.Code(err) != "delivery_not_found" {
		t.Error(err)
	}
}
