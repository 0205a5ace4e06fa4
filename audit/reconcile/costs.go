package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"hookledger/domain"
)

// costs is what AgenFleet's API showed: readings of running totals, between which each event must fit.
type costs struct {
	series    map[costKey]*series
	locations []*time.Location // that the source had; nearly always one
}

// costKey is an agent's period, by the date at which it begins in the source's time zone.
type costKey struct{ agent, period, date string }

type series struct {
	currency string
	start    time.Time
	points   []point   // where something changed, and the last before that
	crossed  time.Time // the first reading that has reached the budget
	record   string    // of that
	said     bool      // an event says so
}

type point struct {
	at           time.Time
	cost, budget Decimal
	record       string
}

func (c *costs) begin(ctx context.Context, e *engine) error {
	last := map[string]struct {
		key  costKey
		cost Decimal
	}{}
	for r, err := range e.ledger.Costs(ctx, e.rules.Source, e.AsOf) {
		if err != nil {
			return fmt.Errorf("read the costs of %s: %w", e.rules.Source, err)
		}
		if !slices.ContainsFunc(c.locations, func(l *time.Location) bool { return l.String() == r.Location.String() }) {
			c.locations = append(c.locations, r.Location)
		}
		for _, a := range r.Agents {
			cost, ok := ParseDecimal(string(a.Cost))
			if !ok {
				continue // the poll has refused it
			}
			budget, _ := ParseDecimal(string(a.Budget)) // none is 0
			start := domain.PeriodStart(r.At, r.Period, r.Location)
			k := costKey{a.ID, r.Period, dateOf(start, r.Location)}
			// Right after a period's begin, a cost that has not fallen is the former period's.
			if old, had := last[a.ID]; had && old.key != k && old.key.period == k.period && cost.Cmp(old.cost) >= 0 &&
				cost.Sign() > 0 && r.At.Sub(start) < r.Grace {
				k = old.key
			}
			old := last[a.ID]
			old.key, old.cost = k, cost
			last[a.ID] = old
			if len(e.agents) == 0 || e.agents[a.ID] {
				c.take(k, start, r, point{r.At, cost, budget, r.Record})
			}
		}
	}
	return nil
}

func dateOf(t time.Time, loc *time.Location) string { return t.In(loc).Format(time.DateOnly) }

func (c *costs) take(k costKey, start time.Time, r *Costs, p point) {
	s := c.series[k]
	if s == nil {
		s = &series{start: start}
		c.series[k] = s
	}
	s.currency = r.Currency
	same := func(q *point) bool { return q.cost.Cmp(p.cost) == 0 && q.budget.Cmp(p.budget) == 0 }
	if n := len(s.points); n > 1 && same(&s.points[n-1]) && same(&s.points[n-2]) {
		s.points[n-1] = p
	} else {
		s.points = append(s.points, p)
	}
	if s.crossed.IsZero() && p.budget.Sign() > 0 && p.cost.Cmp(p.budget) >= 0 {
		s.crossed, s.record = p.at, p.record
	}
}

func (c *costs) see(e *engine, f *fact) {
	if f.key == nil || f.key.Unit != "money" {
		return // costs are money, and say nothing about tokens
	}
	found := Finding{In: domain.AgainstAgenFleet, EventID: f.ID, Account: f.key, Proof: f.proof()}
	s := c.of(f.key)
	if s == nil {
		found.Kind, found.Detail = Extra, "no reading shows the agent in this period"
		e.out.add(found)
		return
	}
	if f.Type == "agent.budget_exhausted" && !s.said {
		s.said = true
		if !s.crossed.IsZero() && f.At.Sub(s.crossed) > time.Duration(e.rules.LateAfter) {
			late := found
			late.Kind, late.Proof = Late, f.proof(s.record)
			late.Detail = "the budget was seen exhausted " + f.At.Sub(s.crossed).String() + " before"
			e.out.add(late)
		}
	}
	if s.currency != f.key.Currency {
		found.Differences = append(found.Differences, Difference{"currency", f.key.Currency, s.currency})
	} else {
		found.Differences = s.differences(e, f, &found)
	}
	if len(found.Differences) > 0 {
		found.Kind, found.Detail = Differs, "the readings around it say something else"
		e.out.add(found)
	}
}

// of finds the readings of a running total.
func (c *costs) of(k *AccountKey) *series {
	for _, loc := range c.locations {
		if s := c.series[costKey{k.Agent, k.Period, dateOf(k.Start, loc)}]; s != nil {
			return s
		}
	}
	return nil
}

// differences holds an event between the last reading before it and the first one after it.
func (s *series) differences(e *engine, f *fact, found *Finding) []Difference {
	i, exact := slices.BinarySearchFunc(s.points, f.At, func(p point, t time.Time) int { return p.at.Compare(t) })
	var before, after *point
	if i > 0 {
		before = &s.points[i-1]
	}
	if i < len(s.points) {
		after = &s.points[i]
	}
	if exact {
		before = after
	}
	var out []Difference
	low := before != nil && f.spent.Cmp(before.cost) < 0 && !f.spent.near(before.cost, e.tolerance)
	high := after != nil && f.spent.Cmp(after.cost) > 0 && !f.spent.near(after.cost, e.tolerance)
	text := func(p *point, get func(*point) Decimal) string {
		if p == nil {
			return "?"
		}
		found.Proof = append(found.Proof, p.record)
		return get(p).String()
	}
	if low || high {
		cost := func(p *point) Decimal { return p.cost }
		out = append(out, Difference{"spent", f.spent.String(), text(before, cost) + " to " + text(after, cost)})
	}
	agrees := func(p *point) bool { return p == nil || p.budget.Sign() == 0 || p.budget.near(f.budget, e.tolerance) }
	if !agrees(before) && !agrees(after) {
		out = append(out, Difference{"budget", f.budget.String(), text(after, func(p *point) Decimal { return p.budget })})
	}
	return out
}

// rest is what the readings show and no event says: a budget that was exhausted within the period. One that came so
// close to its end that the event may stand behind it is left to the next.
func (c *costs) rest(_ context.Context, e *engine) error {
	if !slices.Contains(e.rules.EventTypes, "agent.budget_exhausted") {
		return nil
	}
	end := e.rules.To.Add(-time.Duration(e.rules.LateAfter))
	keys := slices.SortedFunc(maps.Keys(c.series), func(a, b costKey) int {
		return compareText(a.agent+"\x00"+a.period+"\x00"+a.date, b.agent+"\x00"+b.period+"\x00"+b.date)
	})
	for _, k := range keys {
		s := c.series[k]
		if s.said || s.crossed.IsZero() || s.crossed.Before(e.rules.From) || s.crossed.After(end) {
			continue
		}
		e.out.add(Finding{Kind: Missing, In: InLedger, Proof: []string{s.record},
			Account: &AccountKey{k.agent, k.period, s.start, "money", s.currency},
			Detail:  "the costs have reached the budget, and no event says so"})
	}
	return nil
}
