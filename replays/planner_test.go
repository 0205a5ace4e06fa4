package replays

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hookledger/domain"
)

// history is what a reader of the whole ledger, up to a position, knows: the oracle of what a plan must be.
type history struct {
	events     []*past
	endpoints  map[string]*domain.Endpoint
	registered map[string]domain.Position
	deliveries map[string]*domain.Delivery
}

type past struct {
	id, event string
	at        time.Time
	pos       domain.Position
	routed    *domain.EventRouted
}

func (n *node) read(until domain.Position) *history {
	h := &history{endpoints: map[string]*domain.Endpoint{}, registered: map[string]domain.Position{},
		deliveries: map[string]*domain.Delivery{}}
	for r, err := range n.store.ReadAll(n.t.Context(), 0) {
		n.must(err)
		if r.Position > until {
			break
		}
		id := r.Stream.ID()
		switch f := r.Fact.(type) {
		case *domain.EventReceived:
			h.events = append(h.events, &past{id: id, event: f.Event,
				at: r.RecordedAt.Truncate(time.Microsecond), pos: r.Position})
		case *domain.EventRouted:
			h.events[len(h.events)-1].routed = f
			for _, m := range f.Matches {
				h.deliveries[m.Delivery] = domain.NewDelivery()
			}
		case *domain.EndpointRegistered:
			h.endpoints[id], h.registered[id] = &domain.Endpoint{}, r.Position
		}
		if e := h.endpoints[id]; e != nil {
			e.Evolve(r)
		}
		if d := h.deliveries[id]; d != nil {
			d.Evolve(r)
		}
	}
	slices.SortFunc(h.events, func(a, b *past) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
	return h
}

// plan is a plan by a reader of everything, in the words of the rules.
func (h *history) plan(s Spec) (out []string) {
	send := func(e *past, to string) {
		if ep := h.endpoints[to]; ep.Exists() && !ep.Disabled {
			out = append(out, e.id+" "+to)
		}
	}
	for _, e := range h.events {
		if len(s.Selector.EventTypes) > 0 && !slices.Contains(s.Selector.EventTypes, e.event) ||
			e.pos <= s.Selector.PositionAfter {
			continue
		}
		if by := s.Selector.MissedBy; by != "" {
			missed := e.pos < h.registered[by] && domain.MatchAny(h.endpoints[by].Config.EventTypes, e.event)
			for _, l := range e.routed.LeftOut {
				missed = missed || l.Endpoint == by
			}
			for _, m := range e.routed.Matches {
				if m.Endpoint == by {
					missed = h.deliveries[m.Delivery].Status != domain.StatusSucceeded
				}
			}
			if missed {
				send(e, by)
			}
			continue
		}
		if s.Match == domain.MatchNow {
			if domain.MatchAny(h.endpoints[s.Endpoint].Config.EventTypes, e.event) {
				send(e, s.Endpoint)
			}
			continue
		}
		for _, m := range e.routed.Matches {
			d := h.deliveries[m.Delivery]
			status := d.Status
			if h.endpoints[m.Endpoint].Removed && !status.Terminal() {
				status = domain.StatusCancelled
			}
			if len(s.Selector.Status) == 0 || slices.Contains(s.Selector.Status, status) {
				if s.Endpoint != "" {
					send(e, s.Endpoint)
					break
				}
				send(e, m.Endpoint)
			}
		}
	}
	return out
}

// live makes a random history, and gives positions in it.
func (n *node) live(rnd *rand.Rand) (at []domain.Position) {
	type routed struct{ event, endpoint, delivery string }
	var waiting []routed
	ids, off := []string{"ep_a", "ep_b", "ep_c", "ep_d"}, map[string]bool{}
	names := rnd.Perm(90_000) // in no order, and none twice: another event under a name is refused
	there := 0
	for i := range 150 {
		switch op := rnd.IntN(20); {
		case there < len(ids) && (op == 0 || there < 2 || i == 100+there):
			types := [][]string{{"*"}, {"agent.*"}, {"cron.completed"}, {"agent.status_changed", "cron.*"}}
			n.endpoint(ids[there], types[there]...)
			there++
		case op == 1 && there > 1:
			id := ids[rnd.IntN(there)]
			if off[id] = !off[id]; off[id] {
				n.append(domain.EndpointStream(ten, id), &domain.EndpointDisabled{Reason: "manual"})
			} else {
				n.append(domain.EndpointStream(ten, id), &domain.EndpointEnabled{})
			}
		case op < 9 && len(waiting) > 0:
			at := rnd.IntN(len(waiting))
			w := waiting[at]
			waiting = slices.Delete(waiting, at, at+1)
			n.attempt(domain.Due{Tenant: ten, Endpoint: w.endpoint, Delivery: w.delivery, Event: w.event,
				Revision: domain.NoStream}, []int{200, 200, 500}[rnd.IntN(3)])
		default:
			event := name(names[i])
			for ep, d := range n.post(event, []string{"agent.status_changed", "cron.completed"}[rnd.IntN(2)], "") {
				waiting = append(waiting, routed{event, ep, d})
			}
			n.pass(time.Duration(rnd.IntN(3)) * time.Millisecond) // some at the same time
		}
		if rnd.IntN(12) == 0 {
			at = append(at, n.store.Head())
		}
	}
	slices.SortFunc(waiting, func(a, b routed) int { return cmp.Compare(a.delivery, b.delivery) })
	n.append(domain.EndpointStream(ten, "ep_b"), &domain.EndpointRemoved{})
	return append(at, n.store.Head())
}

// TestSemantics_APlanIsTheSameWheneverItIsComputed: at a position of the past, a plan is what a reader of the ledger up
// to there would have planned, whatever happened since; and read on behind any pair it goes on as it did.
func TestSemantics_APlanIsTheSameWheneverItIsComputed(t *testing.T) {
	t.Parallel()
	for range 3 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			n := newNode(t)
			for _, at := range n.live(rnd) {
				h := n.read(at)
				for id := range h.endpoints {
					for _, s := range []Spec{
						{Match: domain.MatchThen, Selector: domain.ReplaySelector{EventTypes: []string{"cron.completed"}}},
						{Match: domain.MatchThen, Selector: domain.ReplaySelector{Status: []domain.DeliveryStatus{domain.StatusExhausted,
							domain.StatusCancelled}}},
						{Match: domain.MatchThen, Endpoint: id, Selector: domain.ReplaySelector{PositionAfter: at / 2}},
						{Match: domain.MatchNow, Endpoint: id, Selector: domain.ReplaySelector{EventTypes: []string{"cron.completed",
							"agent.status_changed"}}},
						{Match: domain.MatchThen, Selector: domain.ReplaySelector{MissedBy: id}},
					} {
						s.Tenant, s.AsOf = ten, at
						n.check(rnd, h, s)
					}
				}
			}
		})
	}
}

func (n *node) check(rnd *rand.Rand, h *history, s Spec) {
	n.t.Helper()
	want := h.plan(s)
	var got []string
	var cursors []domain.ReplayCursor
	collect := func(after domain.ReplayCursor) (ids []string) {
		for p, err := range n.plan.Pairs(n.t.Context(), s, after) {
			n.must(err)
			if p.Event != "" {
				ids = append(ids, p.Event+" "+p.Endpoint)
				if after.Event == "" {
					cursors = append(cursors, domain.ReplayCursor{At: p.At, Event: p.Event, Endpoint: p.Endpoint})
				}
			}
		}
		return ids
	}
	if got = collect(domain.ReplayCursor{}); !slices.Equal(got, want) {
		n.t.Fatalf("at %d, %+v:\nplanned %v\nwant    %v", s.AsOf, s, got, want)
	}
	if len(got) > 0 {
		cut := rnd.IntN(len(got))
		if rest := collect(cursors[cut]); !slices.Equal(rest, want[cut+1:]) {
			n.t.Fatalf("at %d, %+v, behind %v:\nplanned %v\nwant    %v", s.AsOf, s, cursors[cut], rest, want[cut+1:])
		}
	}
}

func TestPlanCountsWhatItComesTo(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", "*")
	n.endpoint("ep_off", "*")
	for i := range 9 {
		n.post(name(i), "agent.status_changed", []string{"", "person_1"}[i%2])
		n.pass(time.Second)
	}
	at := n.append(domain.EndpointStream(ten, "ep_off"), &domain.EndpointDisabled{Reason: "manual"})
	plan, err := n.plan.Plan(t.Context(), Spec{Tenant: ten, Match: domain.MatchThen, AsOf: at,
		Selector: domain.ReplaySelector{EventTypes: []string{"agent.*"}}})
	n.must(err)
	if plan.Count != 9 || plan.Skipped["endpoint_disabled"] != 9 || plan.First.Event != name(0) ||
		plan.Last.Event != name(8) ||
		len(plan.Sample) != 4 || plan.Sample[3].Event != name(7) || plan.Bytes < 9*100 {
		t.Errorf("%+v", plan)
	}
	again, err := n.plan.Plan(t.Context(), Spec{Tenant: ten, Match: domain.MatchThen, AsOf: at,
		Selector: domain.ReplaySelector{EventTypes: []string{"agent.*"}}})
	if err != nil || again.Digest != plan.Digest {
		t.Errorf("planned twice: %v, %v (%v)", plan.Digest, again.Digest, err)
	}
	some, err := n.plan.Plan(t.Context(), Spec{Tenant: ten, Match: domain.MatchThen, AsOf: at,
		Selector: domain.ReplaySelector{Subject: "person_1"}})
	if err != nil || some.Count != 4 || some.First.Event != name(1) {
		t.Errorf("by subject: %+v, %v", some, err)
	}
	ids, err := n.plan.Plan(t.Context(), Spec{Tenant: ten, Match: domain.MatchThen, AsOf: at,
		Selector: domain.ReplaySelector{EventIDs: []string{name(7), name(2)}}})
	if err != nil || ids.Count != 2 || ids.First.Event != name(2) {
		t.Errorf("by id: %+v, %v", ids, err)
	}

	for code, s := range map[string]Spec{
		"endpoint_disabled":  {Endpoint: "ep_off", Selector: domain.ReplaySelector{EventTypes: []string{"*"}}},
		"endpoint_not_found": {Endpoint: "ep_none", Selector: domain.ReplaySelector{EventTypes: []string{"*"}}},
		"event_not_found":    {Selector: domain.ReplaySelector{EventIDs: []string{name(1), "evt_none"}}},
		"replay_not_found":   {Selector: domain.ReplaySelector{FailuresOf: "rpl_none"}},
		"empty_range":        {Selector: domain.ReplaySelector{PositionAfter: 9, PositionBefore: 3}},
	} {
		s.Tenant, s.Match, s.AsOf = ten, domain.MatchThen, at
		if plan, err := n.plan.Plan(t.Context(), s); domain.Code(err) != code {
			t.Errorf("want %s: %+v, %v", code, plan, err)
		}
	}
}
