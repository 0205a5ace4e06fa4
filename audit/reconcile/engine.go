package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hookledger/domain"
)

// DefaultMaxListed is how many findings, adjustments and gaps a report lists where nothing else is said.
const DefaultMaxListed = 10_000

// Spec is all that a report is computed from.
type Spec struct {
	Rules  domain.ReconciliationRules // checked
	Agents []string                   // whose events count; none: all
	AsOf   domain.Position            // nothing behind it counts
	// Closed is the position of the run that closed the period; what came behind it is an adjustment. 0: none did.
	Closed    domain.Position
	File      *File // of billing or a receiver
	MaxListed int   // of each list; 0: DefaultMaxListed
}

// other is what the ledger is compared with.
type other interface {
	begin(ctx context.Context, e *engine) error
	// see compares an event; it says whether the other side answers for the deliveries to the endpoint by itself.
	see(e *engine, f *fact)
	rest(ctx context.Context, e *engine) error
}

type groupKey struct{ agent, endpoint, event, day string }

type engine struct {
	Spec
	rules     domain.ReconciliationRules
	ledger    Ledger
	loc       *time.Location
	tolerance Decimal
	agents    map[string]bool
	endpoints map[string]bool
	groups    map[groupKey]*Group
	accounts  map[AccountKey]*Account
	other     other
	out       *findings
	report    *Report
}

// Run computes a report.
func Run(ctx context.Context, l Ledger, s Spec) (*Report, error) {
	if err := Check(&s.Rules); err != nil {
		return nil, err
	}
	if s.MaxListed <= 0 {
		s.MaxListed = DefaultMaxListed
	}
	e := &engine{Spec: s, rules: s.Rules, ledger: l, agents: set(s.Agents), endpoints: set(s.Rules.Endpoints),
		groups: map[groupKey]*Group{}, accounts: map[AccountKey]*Account{}, out: newFindings(s.MaxListed),
		report: &Report{Groups: []Group{}, Accounts: []Account{}, Amounts: []Amount{}, Adjustments: []Adjustment{}}}
	e.loc, _ = Location(s.Rules.TimeZone)            // checked
	e.tolerance, _ = ParseDecimal(s.Rules.Tolerance) // likewise
	if err := e.against(); err != nil {
		return nil, err
	}
	if err := e.run(ctx); err != nil {
		return nil, err
	}
	return e.finish(), nil
}

func (e *engine) against() error {
	switch e.rules.Against {
	case domain.AgainstAgenFleet:
		e.other = &costs{series: map[costKey]*series{}}
	case domain.AgainstBilling, domain.AgainstReceiver:
		if e.File == nil {
			return refuse("no_file", "the file to compare with is missing", "give it")
		}
		e.other = e.File.comparison()
	default:
		e.other = none{}
	}
	return nil
}

func (e *engine) run(ctx context.Context) error {
	if err := e.other.begin(ctx, e); err != nil {
		return err
	}
	for _, name := range e.rules.EventTypes {
		q := domain.EventQuery{Type: name, From: e.rules.From, To: e.rules.To, By: e.rules.By, UpTo: e.AsOf}
		for ev, err := range e.ledger.Events(ctx, q) {
			if err != nil {
				return fmt.Errorf("read the period's events: %w", err)
			}
			e.see(ev)
		}
	}
	if err := e.other.rest(ctx, e); err != nil {
		return err
	}
	return e.numbers(ctx)
}

// see takes in one event.
func (e *engine) see(ev *Event) {
	f, b, unread := e.read(ev)
	if len(e.agents) > 0 && !e.agents[f.agent] {
		return
	}
	t := &e.report.Totals
	t.Events++
	if ev.Erased {
		t.Erased++
	}
	if unread != "" {
		e.out.add(Finding{Kind: Differs, In: InLedger, EventID: ev.ID, Detail: "the amount can't be read",
			Differences: []Difference{{Field: "spent", Ledger: unread}}, Proof: f.proof()})
	}
	if f.key != nil {
		e.account(f, &b)
	}
	e.group(f)
	if f.repeat != "" {
		t.Duplicates++
		e.out.add(Finding{Kind: Duplicate, In: InLedger, EventID: ev.ID, Account: f.key, Proof: f.proof(f.repeat),
			Detail: "it says again what event " + f.repeat + " said"})
	}
	if e.Closed > 0 && ev.Position > e.Closed {
		e.adjust(f)
	}
	e.other.see(e, f)
}

// account counts an event for its running total.
func (e *engine) account(f *fact, b *budget) {
	a := e.accounts[*f.key]
	if a == nil {
		a = &Account{AccountKey: *f.key, last: map[string]said{}}
		e.accounts[*f.key] = a
	}
	if s, ok := a.last[f.Type]; ok && s.at.Equal(f.At) && s.spent.Cmp(f.spent) == 0 && s.budget.Cmp(f.budget) == 0 {
		f.repeat = s.event
	} else {
		a.last[f.Type] = said{f.spent, f.budget, f.At, f.ID}
	}
	a.Events++
	a.Estimated = a.Estimated || b.Estimated
	counts := a.Events == 1
	switch f.spent.Cmp(a.Spent) {
	case 1:
		a.Decreased = a.Decreased || !counts && f.At.Before(a.at)
		counts = true
	case 0: // the last of several
		counts = counts || f.At.After(a.at) || f.At.Equal(a.at) && f.ID > a.EventID && f.repeat == ""
	default:
		a.Decreased = a.Decreased || f.At.After(a.at)
	}
	if !counts {
		return
	}
	a.Spent, a.Budget, a.EventID, a.at = f.spent, f.budget, f.ID, f.At
	a.place = e.groupOf(f, "")
	a.routed = a.routed[:0]
	for i := range f.places {
		a.routed = append(a.routed, f.places[i].endpoint)
	}
}

func (e *engine) groupOf(f *fact, endpoint string) groupKey {
	return groupKey{f.agent, endpoint, f.Type, f.ref.In(e.loc).Format(time.DateOnly)}
}

// group counts an event and its deliveries, and finds what is wrong with those.
func (e *engine) group(f *fact) {
	at := func(endpoint string) *Group {
		k := e.groupOf(f, endpoint)
		g := e.groups[k]
		if g == nil {
			g = &Group{Agent: k.agent, Endpoint: k.endpoint, Event: k.event, Day: k.day}
			e.groups[k] = g
		}
		g.Events++
		if f.repeat != "" {
			g.Duplicates++
		}
		return g
	}
	if len(f.places) == 0 {
		at("")
	}
	t := &e.report.Totals
	for i := range f.places {
		p := &f.places[i]
		g := at(p.endpoint)
		t.Deliveries++
		wrong := func(kind, detail string) {
			if e.rules.Against == domain.AgainstReceiver {
				return // the comparison says it, with what the receiver has
			}
			e.out.add(Finding{Kind: kind, In: InEndpoint, EventID: f.ID, Endpoint: p.endpoint, Account: f.key,
				Detail: detail, Proof: f.proof(p.proof()...)})
		}
		switch {
		case len(p.confirmed) > 0:
			g.Delivered++
			t.Delivered++
		case p.pending:
			g.Pending++
			t.Pending++
			wrong(Missing, "it is not delivered yet")
		default:
			g.Failed++
			t.Failed++
			wrong(Missing, "its delivery failed")
		}
		if p.late {
			g.Late++
			t.Late++
			wrong(Late, "it was confirmed "+p.confirmed[0].At.Sub(f.ref).String()+" after it was due to count")
		}
		if n := len(p.confirmed); n > 1 {
			g.Duplicates += n - 1
			t.Duplicates += n - 1
			wrong(Duplicate, "it was confirmed "+strconv.Itoa(n)+" times")
		}
	}
}

func (e *engine) adjust(f *fact) {
	e.report.Totals.Adjustments++
	a := Adjustment{EventID: f.ID, Event: f.Type, At: f.At.UTC(), Received: f.Received.UTC(), Account: f.key,
		Proof: f.proof()}
	if f.key != nil {
		a.Spent = &f.spent
	}
	e.out.hash(a)
	if len(e.report.Adjustments) < e.MaxListed {
		e.report.Adjustments = append(e.report.Adjustments, a)
	}
}

// finish puts the report into its order and seals it with its digest.
func (e *engine) finish() *Report {
	r := e.report
	sums := map[Amount]*Amount{}
	for _, a := range e.accounts {
		r.Accounts = append(r.Accounts, *a)
		add(sums, a)
		if len(a.routed) == 0 {
			a.routed = []string{""}
		}
		for _, endpoint := range a.routed {
			k := a.place
			k.endpoint = endpoint
			e.groups[k].count(a)
		}
	}
	slices.SortFunc(r.Accounts, func(a, b Account) int { return a.compare(&b.AccountKey) })
	r.Amounts = sorted(sums)
	for _, g := range e.groups {
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Endpoint, b.Endpoint),
			cmp.Compare(a.Event, b.Event), cmp.Compare(a.Day, b.Day))
	})
	for i := range r.Groups {
		slices.SortFunc(r.Groups[i].Amounts, compareAmounts)
	}
	r.Findings, r.Totals.Findings = e.out.list, e.out.counts
	r.Digest = e.digest()
	return r
}

// count adds a running total to the group of the event that it comes from.
func (g *Group) count(a *Account) {
	i := slices.IndexFunc(g.Amounts, func(m Amount) bool { return m.kind() == kindOf(a) })
	if i < 0 {
		i = len(g.Amounts)
		g.Amounts = append(g.Amounts, kindOf(a))
	}
	g.Amounts[i].Accounts++
	g.Amounts[i].Spent = g.Amounts[i].Spent.Add(a.Spent)
}

// kindOf is the kind of amounts that a running total can be added to.
func kindOf(a *Account) Amount { return Amount{Period: a.Period, Unit: a.Unit, Currency: a.Currency} }

func (m *Amount) kind() Amount { return Amount{Period: m.Period, Unit: m.Unit, Currency: m.Currency} }

func add(sums map[Amount]*Amount, a *Account) {
	k := kindOf(a)
	if sums[k] == nil {
		sum := k
		sums[k] = &sum
	}
	sums[k].Accounts++
	sums[k].Spent = sums[k].Spent.Add(a.Spent)
}

func sorted(sums map[Amount]*Amount) []Amount {
	out := []Amount{}
	for _, m := range sums {
		out = append(out, *m)
	}
	slices.SortFunc(out, compareAmounts)
	return out
}

func compareAmounts(a, b Amount) int {
	return cmp.Or(cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Currency, b.Currency), cmp.Compare(a.Period, b.Period))
}

func (k *AccountKey) compare(o *AccountKey) int {
	return cmp.Or(cmp.Compare(k.Agent, o.Agent), cmp.Compare(k.Period, o.Period), k.Start.Compare(o.Start),
		cmp.Compare(k.Unit, o.Unit), cmp.Compare(k.Currency, o.Currency))
}

func compareText(a, b string) int { return strings.Compare(a, b) }

func set(list []string) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, s := range list {
		out[s] = true
	}
	return out
}

// none is no comparison.
type none struct{}

func (none) begin(context.Context, *engine) error { return nil }
func (none) see(*engine, *fact)                   {}
func (none) rest(context.Context, *engine) error  { return nil }
