package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hookledger/domain"
)

// knownPage is how many ids are looked up at once.
const knownPage = 500

// billed is billing's file by event: each row says what one event said.
type billed struct {
	rows  map[string]*billedEvent
	order []*billedEvent // of the first row of each
}

type billedEvent struct {
	billingRow
	again []int // rows that name the event once more
	seen  bool
}

func newBillingByEvent(f *File) *billed {
	b := &billed{rows: make(map[string]*billedEvent, len(f.billing))}
	for _, r := range f.billing {
		if first := b.rows[r.event]; first != nil {
			first.again = append(first.again, r.row)
			continue
		}
		b.rows[r.event] = &billedEvent{billingRow: r}
		b.order = append(b.order, b.rows[r.event])
	}
	return b
}

func (b *billed) begin(context.Context, *engine) error { return nil }

func (b *billed) see(e *engine, f *fact) {
	const in = domain.AgainstBilling
	r := b.rows[f.ID]
	if r == nil {
		if f.repeat == "" { // else the ledger has it twice, which is said already
			e.out.add(Finding{Kind: Missing, In: in, EventID: f.ID, Account: f.key, Proof: f.proof(),
				Detail: "billing has no row of it"})
		}
		return
	}
	r.seen = true
	if diffs := r.differences(e, f); len(diffs) > 0 {
		e.out.add(Finding{Kind: Differs, In: in, EventID: f.ID, Account: f.key, Differences: diffs, Rows: []int{r.row},
			Detail: "billing says something else", Proof: f.proof()})
	}
	if !r.received.IsZero() && e.isLate(f, r.received) {
		e.out.add(Finding{Kind: Late, In: in, EventID: f.ID, Account: f.key, Rows: []int{r.row}, Proof: f.proof(),
			Detail: "billing got it " + r.received.Sub(f.ref).String() + " after it was due to count"})
	}
	b.duplicate(e, r, f.key, f.proof())
}

func (b *billed) duplicate(e *engine, r *billedEvent, key *AccountKey, proof []string) {
	if len(r.again) > 0 {
		rows := append([]int{r.row}, r.again...)
		e.out.add(Finding{Kind: Duplicate, In: domain.AgainstBilling, EventID: r.event, Account: key, Rows: rows,
			Detail: "billing has it " + strconv.Itoa(len(rows)) + " times", Proof: proof})
	}
}

// differences compares what a row says with what its event says. Amounts of two kinds are not compared.
func (r *billedEvent) differences(e *engine, f *fact) []Difference {
	if f.Erased {
		return nil // nobody can tell any more
	}
	if f.key == nil {
		return []Difference{{Field: "spent", Theirs: r.spent.String()}}
	}
	var out []Difference
	text := func(field, ledger, theirs string) bool {
		if theirs != "" && theirs != ledger {
			out = append(out, Difference{field, ledger, theirs})
			return true
		}
		return false
	}
	text("event", f.Type, r.kind)
	text("agent_id", f.agent, r.agent)
	kind := text("period", f.key.Period, r.period)
	kind = text("period_start", timeText(f.key.Start), timeText(r.start)) || kind
	kind = text("unit", f.key.Unit, r.unit) || kind
	if r.unit == f.key.Unit {
		kind = text("currency", f.key.Currency, r.currency) || kind
	}
	if !kind && !f.spent.near(r.spent, e.tolerance) {
		out = append(out, Difference{"spent", f.spent.String(), r.spent.String()})
	}
	return out
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func (b *billed) rest(ctx context.Context, e *engine) error {
	var left []*billedEvent
	var ids []string
	for _, r := range b.order {
		switch {
		case r.seen:
		case len(e.agents) > 0 && r.agent != "" && !e.agents[r.agent]:
			e.report.Outside += 1 + len(r.again)
		default:
			left, ids = append(left, r), append(ids, r.event)
		}
	}
	known, err := e.known(ctx, ids)
	if err != nil {
		return err
	}
	for _, r := range left {
		detail := "the ledger has no such event"
		if known[r.event] {
			detail = "the ledger has it, outside of this period or of what was asked for"
		}
		e.out.add(Finding{Kind: Extra, In: domain.AgainstBilling, EventID: r.event, Rows: []int{r.row}, Detail: detail,
			Proof: []string{r.event}})
		b.duplicate(e, r, nil, []string{r.event})
	}
	return nil
}

func (e *engine) known(ctx context.Context, ids []string) (map[string]bool, error) {
	out := map[string]bool{}
	for page := range slices.Chunk(ids, knownPage) {
		valid := slices.DeleteFunc(slices.Clone(page), func(id string) bool { return !domain.ValidEventID(id) })
		known, err := e.ledger.Known(ctx, valid, e.AsOf)
		if err != nil {
			return nil, fmt.Errorf("look up events: %w", err)
		}
		for id := range known {
			out[id] = true
		}
	}
	return out, nil
}

// totalled is billing's file by running total.
type totalled struct{ rows []billingRow }

func newBillingByAccount(f *File) *totalled { return &totalled{f.billing} }

func (*totalled) begin(context.Context, *engine) error { return nil }
func (*totalled) see(*engine, *fact)                   {}

func (b *totalled) rest(_ context.Context, e *engine) error {
	rows, order := map[AccountKey][]billingRow{}, []AccountKey{}
	for _, r := range b.rows {
		if len(e.agents) > 0 && !e.agents[r.agent] {
			e.report.Outside++
			continue
		}
		k := AccountKey{r.agent, r.period, r.start, r.unit, r.currency}
		if rows[k] == nil {
			order = append(order, k)
		}
		rows[k] = append(rows[k], r)
	}
	accounts := make([]*Account, 0, len(e.accounts))
	for _, a := range e.accounts {
		accounts = append(accounts, a)
	}
	slices.SortFunc(accounts, func(a, b *Account) int { return a.compare(&b.AccountKey) })
	var unmatched []*Account
	for _, a := range accounts {
		theirs := rows[a.AccountKey]
		if theirs == nil {
			unmatched = append(unmatched, a)
			continue
		}
		b.compare(e, a, theirs)
		delete(rows, a.AccountKey)
	}
	for _, a := range unmatched {
		if k, ok := sibling(a, unmatched, rows); ok {
			b.compare(e, a, rows[k])
			delete(rows, k)
			continue
		}
		e.out.add(Finding{Kind: Missing, In: domain.AgainstBilling, EventID: a.EventID, Account: &a.AccountKey,
			Detail: "billing has no row of it", Proof: []string{a.EventID}})
	}
	for _, k := range order {
		if theirs := rows[k]; theirs != nil {
			e.out.add(Finding{Kind: Extra, In: domain.AgainstBilling, Account: &k, Rows: rowsOf(theirs),
				Detail: "no event of the period states it"})
		}
	}
	return nil
}

// sibling is the one row that must mean the running total, though it has another unit or currency.
func sibling(a *Account, others []*Account, rows map[AccountKey][]billingRow) (found AccountKey, ok bool) {
	alike := func(k *AccountKey) bool {
		return k.Agent == a.Agent && k.Period == a.Period && k.Start.Equal(a.Start)
	}
	for _, o := range others {
		if o != a && alike(&o.AccountKey) {
			return found, false
		}
	}
	for k := range rows {
		if alike(&k) {
			if ok {
				return found, false
			}
			found, ok = k, true
		}
	}
	return found, ok
}

func (b *totalled) compare(e *engine, a *Account, theirs []billingRow) {
	first, rows := &theirs[0], rowsOf(theirs)
	finding := Finding{In: domain.AgainstBilling, EventID: a.EventID, Account: &a.AccountKey, Proof: []string{a.EventID}}
	var diffs []Difference
	switch {
	case first.unit != a.Unit:
		diffs = append(diffs, Difference{"unit", a.Unit, first.unit})
	case first.currency != a.Currency:
		diffs = append(diffs, Difference{"currency", a.Currency, first.currency})
	case !a.Spent.near(first.spent, e.tolerance):
		diffs = append(diffs, Difference{"spent", a.Spent.String(), first.spent.String()})
	}
	if len(diffs) > 0 {
		finding.Kind, finding.Differences, finding.Rows = Differs, diffs, rows[:1]
		finding.Detail = "billing says something else"
		e.out.add(finding)
	}
	if len(rows) > 1 {
		finding.Kind, finding.Differences, finding.Rows = Duplicate, nil, rows
		finding.Detail = "billing has it " + strconv.Itoa(len(rows)) + " times"
		e.out.add(finding)
	}
}

func rowsOf(list []billingRow) []int {
	var out []int
	for _, r := range list {
		out = append(out, r.row)
	}
	slices.SortFunc(out, cmp.Compare[int])
	return out
}
