package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hookledger/audit/reconcile"
	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// reconcileParts are what --show takes.
var reconcileParts = []string{"findings", "groups", "accounts", "adjustments"}

func checkPart(name string) error {
	if name != "" && !slices.Contains(reconcileParts, name) {
		return usage("--show: there is no "+strconv.Quote(name), "use "+strings.Join(reconcileParts, ", "))
	}
	return nil
}

// showReconciliation prints a report: JSON whole, a table with all its parts, CSV and NDJSON one part.
func (a *app) showReconciliation(r apiclient.Item[apiclient.Reconciliation], part string) error {
	v := r.Value
	if v.Report == nil || part == "" && a.printer.Format == output.JSON {
		return output.One(a.printer, reconciliationColumns(), r.Raw, v)
	}
	if part == "" && a.printer.Format != output.Table {
		part = reconcileParts[0]
	}
	if part != "" {
		return a.reconcilePart(v.Report, part)
	}
	if err := output.One(a.printer, reconciliationColumns(), r.Raw, v); err != nil {
		return err
	}
	if g := v.Report.Gaps; g != nil {
		fmt.Fprintf(a.out, "\nnumbers of %s, %d to %d: %s\n", output.Clean(g.Source), g.From, g.To, gapsText(g))
	}
	for _, p := range []struct {
		name string
		n    int
	}{{"groups", len(v.Report.Groups)}, {"accounts", len(v.Report.Accounts)},
		{"adjustments", len(v.Report.Adjustments)}, {"findings", len(v.Report.Findings)}} {
		if p.n == 0 {
			continue
		}
		fmt.Fprintf(a.out, "\n%s\n", a.printer.Paint.Bold(p.name))
		if err := a.reconcilePart(v.Report, p.name); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) reconcilePart(r *apiclient.ReconciliationReport, part string) error {
	switch part {
	case "groups":
		return printAll(a, groupColumns(), r.Groups)
	case "accounts":
		return printAll(a, accountColumns(), r.Accounts)
	case "adjustments":
		return printAll(a, adjustmentColumns(), r.Adjustments)
	}
	return printAll(a, findingColumns(), r.Findings)
}

func printAll[T any](a *app, columns []output.Column[T], rows []apiclient.Item[T]) error {
	out := output.NewList(a.printer, columns)
	for _, r := range rows {
		if err := out.Add(r.Raw, r.Value); err != nil {
			return err
		}
	}
	return out.Close()
}

func gapsText(g *reconcile.Gaps) string {
	if g.Complete {
		return "nothing is missing"
	}
	var parts []string
	for _, s := range g.Ranges {
		parts = append(parts, strconv.FormatUint(s.From, 10)+"-"+strconv.FormatUint(s.To, 10))
	}
	text := fmt.Sprintf("%d of %d are there", g.Present, g.To-g.From+1)
	if len(parts) > 0 {
		text += ", missing: " + output.Join(parts)
	}
	for _, t := range g.Twice {
		text += fmt.Sprintf(", %d is used by %s", t.Sequence, output.Clean(output.Join(t.Events)))
	}
	return text
}

func reconciliationColumns() []output.Column[apiclient.Reconciliation] {
	type run = apiclient.Reconciliation
	return []output.Column[run]{
		column("id", func(r run) string { return r.ID }),
		status("balanced", func(r run) string { return output.YesNo(r.Balanced) }),
		column("from", func(r run) string { return output.Time(r.From) }),
		column("to", func(r run) string { return output.Time(r.To) }),
		column("against", func(r run) string { return r.Against }),
		detail("warnings", func(r run) string { return strings.Join(doubts(&r), "; ") }),
		column("findings", func(r run) string { return joinCounts(r.Totals.Findings) }),
		column("created_at", func(r run) string { return output.Time(r.CreatedAt) }),
		detail("rules", func(r run) string {
			return fmt.Sprintf("by %s time, days of %s, late after %s, tolerance %s", r.By, r.TZ, r.LateAfter, r.Tolerance)
		}),
		detail("event_types", func(r run) string { return output.Join(r.EventTypes) }),
		detail("endpoint_ids", func(r run) string { return output.Join(r.Endpoints) }),
		detail("agent_ids", func(r run) string { return output.Join(r.Agents) }),
		detail("source_id", func(r run) string { return r.SourceID }),
		detail("file_rows", func(r run) string { return output.NonZero(r.FileRows) }),
		detail("file_sha256", func(r run) string { return r.FileSHA256 }),
		detail("events", func(r run) string { return output.Int(r.Totals.Events) }),
		detail("erased", func(r run) string { return output.NonZero(r.Totals.Erased) }),
		detail("deliveries", func(r run) string { return output.Int(r.Totals.Deliveries) }),
		detail("delivered", func(r run) string { return output.Int(r.Totals.Delivered) }),
		detail("late", func(r run) string { return output.NonZero(r.Totals.Late) }),
		detail("failed", func(r run) string { return output.NonZero(r.Totals.Failed) }),
		detail("pending", func(r run) string { return output.NonZero(r.Totals.Pending) }),
		detail("duplicates", func(r run) string { return output.NonZero(r.Totals.Duplicates) }),
		detail("spent", func(r run) string { return amountsText(r.Amounts) }),
		detail("adjustments", func(r run) string { return output.NonZero(r.Totals.Adjustments) }),
		detail("closes", func(r run) string { return output.YesNo(r.Closes) }),
		detail("closed_by", func(r run) string { return r.Closed }),
		detail("digest", func(r run) string { return r.Digest }),
		detail("as_of", func(r run) string { return r.AsOf }),
		detail("reason", func(r run) string { return r.Reason }),
		detail("created_by", func(r run) string { return r.CreatedBy }),
	}
}

// doubts are why a run that balances shows little.
func doubts(r *apiclient.Reconciliation) []string {
	var out []string
	if r.Totals.Events == 0 {
		out = append(out, "there were no events to balance: check the period, --by and what else selects them")
	}
	nobody := 0
	if r.Report != nil {
		for _, g := range r.Report.Groups {
			if g.Value.Endpoint == "" {
				nobody += g.Value.Events
			}
		}
	}
	if nobody > 0 {
		out = append(out, fmt.Sprintf("%d of %s went to no endpoint that was looked at: nothing of their delivery is checked",
			nobody, plural(r.Totals.Events, "event")))
	}
	if r.To.After(r.CreatedAt) {
		out = append(out, "the period is not over before "+output.Time(r.To)+": what comes until then is not in it")
	}
	return out
}

func amountsText(amounts []reconcile.Amount) string {
	var parts []string
	for _, m := range amounts {
		unit := m.Currency
		if unit == "" {
			unit = m.Unit
		}
		parts = append(parts, m.Spent.String()+" "+unit+" "+m.Period)
	}
	return output.Join(parts)
}

func groupColumns() []output.Column[reconcile.Group] {
	type group = reconcile.Group
	return []output.Column[group]{
		column("agent_id", func(g group) string { return g.Agent }),
		column("endpoint_id", func(g group) string { return g.Endpoint }),
		column("event", func(g group) string { return g.Event }),
		column("day", func(g group) string { return g.Day }),
		column("events", func(g group) string { return output.Int(g.Events) }),
		column("delivered", func(g group) string { return output.Int(g.Delivered) }),
		column("late", func(g group) string { return output.Int(g.Late) }),
		column("failed", func(g group) string { return output.Int(g.Failed) }),
		column("pending", func(g group) string { return output.Int(g.Pending) }),
		column("duplicates", func(g group) string { return output.Int(g.Duplicates) }),
		column("spent", func(g group) string { return amountsText(g.Amounts) }),
	}
}

func accountColumns() []output.Column[reconcile.Account] {
	type total = reconcile.Account
	return []output.Column[total]{
		column("agent_id", func(t total) string { return t.Agent }),
		column("period", func(t total) string { return t.Period }),
		column("period_start", func(t total) string { return output.Time(t.Start) }),
		column("unit", func(t total) string { return t.Unit }),
		column("currency", func(t total) string { return t.Currency }),
		column("spent", func(t total) string { return t.Spent.String() }),
		column("budget", func(t total) string { return t.Budget.String() }),
		column("events", func(t total) string { return output.Int(t.Events) }),
		column("event_id", func(t total) string { return t.EventID }),
		detail("estimated", func(t total) string { return output.YesNo(t.Estimated) }),
		detail("decreased", func(t total) string { return output.YesNo(t.Decreased) }),
	}
}

// account gives a part of a key that may be absent.
func account(k *reconcile.AccountKey, get func(*reconcile.AccountKey) string) string {
	if k == nil {
		return ""
	}
	return get(k)
}

func findingColumns() []output.Column[reconcile.Finding] {
	type finding = reconcile.Finding
	type key = reconcile.AccountKey
	differences := func(f finding, get func(field, ledger, theirs string) string) string {
		var parts []string
		for _, d := range f.Differences {
			parts = append(parts, get(d.Field, d.Ledger, d.Theirs))
		}
		return strings.Join(parts, "; ")
	}
	return []output.Column[finding]{
		status("kind", func(f finding) string { return f.Kind }),
		column("in", func(f finding) string { return f.In }),
		column("event_id", func(f finding) string { return f.EventID }),
		detail("endpoint_id", func(f finding) string { return f.Endpoint }),
		column("agent_id", func(f finding) string { return account(f.Account, func(k *key) string { return k.Agent }) }),
		detail("period", func(f finding) string { return account(f.Account, func(k *key) string { return k.Period }) }),
		detail("period_start", func(f finding) string {
			return account(f.Account, func(k *key) string { return output.Time(k.Start) })
		}),
		detail("unit", func(f finding) string { return account(f.Account, func(k *key) string { return k.Unit }) }),
		detail("currency", func(f finding) string { return account(f.Account, func(k *key) string { return k.Currency }) }),
		column("field", func(f finding) string {
			return differences(f, func(field, _, _ string) string { return field })
		}),
		column("ledger", func(f finding) string {
			return differences(f, func(_, ledger, _ string) string { return ledger })
		}),
		column("theirs", func(f finding) string {
			return differences(f, func(_, _, theirs string) string { return theirs })
		}),
		column("rows", func(f finding) string {
			var rows []string
			for _, n := range f.Rows {
				rows = append(rows, strconv.Itoa(n))
			}
			return output.Join(rows)
		}),
		column("detail", func(f finding) string { return f.Detail }),
		detail("proof", func(f finding) string { return strings.Join(f.Proof, " ") }),
	}
}

func adjustmentColumns() []output.Column[reconcile.Adjustment] {
	type adjustment = reconcile.Adjustment
	type key = reconcile.AccountKey
	of := func(get func(*key) string) func(adjustment) string {
		return func(d adjustment) string { return account(d.Account, get) }
	}
	return []output.Column[adjustment]{
		column("event_id", func(d adjustment) string { return d.EventID }),
		column("event", func(d adjustment) string { return d.Event }),
		column("timestamp", func(d adjustment) string { return output.Time(d.At) }),
		column("received_at", func(d adjustment) string { return output.Time(d.Received) }),
		column("agent_id", of(func(k *key) string { return k.Agent })),
		column("spent", func(d adjustment) string {
			if d.Spent == nil {
				return ""
			}
			return d.Spent.String()
		}),
		column("unit", of(func(k *key) string { return k.Unit })),
		column("currency", of(func(k *key) string { return k.Currency })),
		detail("proof", func(d adjustment) string { return strings.Join(d.Proof, " ") }),
	}
}
