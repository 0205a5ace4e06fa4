package replays

import (
	"testing"

	"hookledger/domain"
)

// BenchmarkPlan is the cost of planning one event: by its type alone, and by its routing decision.
func BenchmarkPlan(b *testing.B) {
	n := newNode(b)
	n.endpoint("ep_1", "*")
	const events = 5000
	for i := range events {
		n.post(name(i), "agent.status_changed", "")
	}
	n.must(n.proj.WaitFor(b.Context(), n.store.Head()))
	for _, match := range []domain.ReplayMatch{domain.MatchNow, domain.MatchThen} {
		b.Run(string(match), func(b *testing.B) {
			for b.Loop() {
				plan, err := n.plan.Plan(b.Context(), Spec{Tenant: ten, Endpoint: "ep_1", Match: match, AsOf: n.store.Head(),
					Selector: domain.ReplaySelector{EventTypes: []string{"agent.*"}}})
				if err != nil || plan.Count != events {
					b.Fatal(plan, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*events), "µs/event")
		})
	}
}
