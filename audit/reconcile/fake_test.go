package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hookledger/domain"
)

// fake is a ledger in memory.
type fake struct {
	events   []*Event
	costs    []*Costs
	numbered []domain.NumberedEvent
}

var _ Ledger = (*fake)(nil)

func (l *fake) Events(_ context.Context, q domain.EventQuery) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for _, e := range l.events {
			ref := e.Received
			if q.By == domain.ByEvent {
				ref = e.At
			}
			if e.Type != q.Type || e.Position > q.UpTo || ref.Before(q.From) || !ref.Before(q.To) {
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l *fake) Known(_ context.Context, ids []string, upTo domain.Position) (map[string]bool, error) {
	out := map[string]bool{}
	for _, e := range l.events {
		if slices.Contains(ids, e.ID) && e.Position <= upTo {
			out[e.ID] = true
		}
	}
	return out, nil
}

func (l *fake) Costs(context.Context, string, domain.Position) iter.Seq2[*Costs, error] {
	return func(yield func(*Costs, error) bool) {
		for _, c := range l.costs {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (l *fake) Numbered(_ context.Context, r domain.NumberRange, _ domain.Position) iter.Seq2[domain.NumberedEvent,
	error] {
	return func(yield func(domain.NumberedEvent, error) bool) {
		for _, n := range l.numbered {
			if n.Sequence >= r.From && n.Sequence <= r.To && !yield(n, nil) {
				return
			}
		}
	}
}

var march = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const (
	ep1 = "ep_1"
	ep2 = "ep_2"
)

func rules() domain.ReconciliationRules {
	return domain.ReconciliationRules{From: march, To: march.AddDate(0, 1, 0),
		LateAfter: domain.Duration(DefaultLateAfter)}
}

// event adds a budget event of an agent that was delivered to both endpoints at once.
func (l *fake) event(at time.Time, agent, period, unit, currency, spent string) *Event {
	n := len(l.events) + 1
	data := map[string]any{"agentId": agent, "period": period, "unit": unit, "spent": json.Number(spent),
		"budget": json.Number("1000000"), "threshold": 0.8, "periodStart": domain.PeriodStart(at, period, time.UTC)}
	if currency != "" {
		data["currency"] = currency
	}
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	e := &Event{ID: fmt.Sprintf("evt_%05d", n), Type: DefaultTypes()[0], At: at, Received: at.Add(time.Second),
		Position: domain.Position(n), Record: fmt.Sprintf("rec_%05d", n), Data: raw}
	for _, ep := range []string{ep1, ep2} {
		e.Deliveries = append(e.Deliveries, Delivery{ID: fmt.Sprintf("dlv_%05d_%s", n, ep), Endpoint: ep, Ended: true,
			Confirmed: []Confirmation{{Attempt: fmt.Sprintf("att_%05d_%s", n, ep), At: e.Received.Add(time.Second)}}})
	}
	l.events = append(l.events, e)
	return e
}

// history is a month of random budget events, each of a running total of its own day.
func history(rng *rand.Rand, n int) *fake {
	l := &fake{}
	for i := range n {
		at := march.Add(time.Duration(rng.IntN(30*24*3600)) * time.Second).Add(time.Hour)
		unit, currency, spent := "tokens", "", fmt.Sprint(1+rng.IntN(1_000_000))
		if rng.IntN(2) == 0 {
			unit, currency = "money", []string{"USD", "EUR"}[rng.IntN(2)]
			spent = fmt.Sprintf("%d.%02d", rng.IntN(1000), rng.IntN(100))
		}
		l.event(at, fmt.Sprintf("agent_%04d", i), []string{"daily", "monthly"}[rng.IntN(2)], unit, currency, spent)
	}
	slices.SortFunc(l.events, func(a, b *Event) int { return cmp.Compare(a.Received.UnixNano(), b.Received.UnixNano()) })
	return l
}

func compute(t *testing.T, l Ledger, s Spec) *Report {
	t.Helper()
	if s.AsOf == 0 {
		s.AsOf = 1 << 40
	}
	r, err := Run(t.Context(), l, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// found is what a report lists, as "kind in id".
func found(r *Report) []string {
	out := []string{}
	for _, f := range r.Findings {
		id := f.EventID
		if id == "" && f.Account != nil {
			id = f.Account.Agent
		}
		out = append(out, f.Kind+" "+f.In+" "+id)
	}
	slices.Sort(out)
	return out
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(want)
	if slices.Equal(got, want) {
		return
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s: found, and not planted: %s", what, g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s: planted, and not found: %s", what, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d found, %d planted", what, len(got), len(want))
	}
}
