package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// reconcilePatience is how long the server may take: it reads the period's events one by one.
const reconcilePatience = 11 * time.Minute

// reconcileFlags hold what a reconciliation is asked for with.
type reconcileFlags struct {
	period, from, to, by, tz, tolerance  string
	lateAfter                            span
	types, endpoints, agents             []string
	billing, receiver, agenfleet, format string
	numbers, asOf, id, reason, show      string
	maxListed                            int
	dryRun                               bool
}

func newReconcile(a *app) *cobra.Command {
	r, f := &remote{}, &reconcileFlags{}
	c := &cobra.Command{Use: "reconcile", Short: "Check a period's budget events against billing, AgenFleet or a receiver",
		Long: `Check what a period's budget events come to: counted by agent, endpoint, event type and day, with the amounts
that they state, and compared with a source of truth. Without one the deliveries alone are checked.

spent is a running total: for each agent, period, period's start, unit and currency the highest and last counts
once. Tokens and money, and two currencies, are never added.

It exits 0 only when it balances, and 5 when it does not. What balances because little was there to compare is said
as a warning. The run is kept on the ledger: with the same --id, or at the same --as-of, it has the same digest.

closes in the report says that the period was over when the run was made. The first such run closes the period: an
event that comes later is counted, and listed as an adjustment. --dry-run shows the same report, and keeps and closes
nothing.`,
		Example: `  hookledger reconcile --period 2026-03 --billing march.csv
  hookledger reconcile --period 2026-03 --receiver received.csv \
    --endpoint-id ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C -o csv
  hookledger reconcile --period 2026-03-17 --tz Europe/Berlin \
    --agenfleet src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C
  hookledger reconcile --period 2026-03 --numbers billing-core:100-200 --dry-run`,
		Args: noSuchCommand, RunE: func(cmd *cobra.Command, _ []string) error { return a.reconcile(cmd, r, f) }}
	flags := c.Flags()
	flags.StringVar(&f.period, "period", "", "a month or a day, 2026-03 or 2026-03-17")
	flags.StringVar(&f.from, "from", "", "the period's begin, in place of --period: a time (RFC 3339), or how long ago")
	flags.StringVar(&f.to, "to", "", "the period's end, exclusive, likewise")
	flags.StringVar(&f.by, "by", "", "which time of an event counts: received (the default) or event")
	flags.StringVar(&f.tz, "tz", "", "time zone of days and periods (default UTC)")
	flags.Var(&f.lateAfter, "late-after", "what is confirmed later than this is late (default 5m)")
	flags.StringVar(&f.tolerance, "tolerance", "", "amounts that differ by no more than this are equal (default 0)")
	flags.StringSliceVar(&f.types, "event", nil, "of this type (default agent.budget_alert, agent.budget_exhausted)")
	flags.StringSliceVar(&f.endpoints, "endpoint-id", nil, "only deliveries to this endpoint")
	flags.StringSliceVar(&f.agents, "agent-id", nil, "only events of this agent")
	flags.StringVar(&f.billing, "billing", "", "compare with billing's file; - for stdin")
	flags.StringVar(&f.receiver, "receiver", "",
		"compare with the list of webhook-ids of the one --endpoint-id; - for stdin")
	flags.StringVar(&f.agenfleet, "agenfleet", "", "compare with the costs that this source has read")
	flags.StringVar(&f.format, "format", "", "of the file: csv or ndjson (default: by its name, else csv)")
	flags.StringVar(&f.numbers, "numbers", "", "look for gaps in a producer's numbers: SOURCE:FROM-TO")
	flags.StringVar(&f.asOf, "as-of", "", "compute at this record, as an earlier run named it")
	flags.StringVar(&f.id, "id", "", "an id of your own, rcn_...: a repeated command is then the same run")
	flags.StringVar(&f.reason, "reason", "", "why; kept on the ledger")
	flags.BoolVar(&f.dryRun, "dry-run", false, "keep nothing on the ledger")
	flags.IntVar(&f.maxListed, "max-listed", 0, "findings that are listed; all are counted (default 10000)")
	flags.StringVar(&f.show, "show", "", "only "+strings.Join(reconcileParts, ", ")+
		" (default: all as a table, findings as csv and ndjson)")
	choices(c, "show", reconcileParts...)
	choices(c, "by", "received", "event")
	choices(c, "format", "csv", "ndjson")
	c.MarkFlagsMutuallyExclusive("billing", "receiver", "agenfleet")
	c.AddCommand(newReconcileList(a, r), newReconcileGet(a, r))
	return withRemote(c, r)
}

// body is what the API is asked with.
func (f *reconcileFlags) body(a *app) (map[string]any, error) {
	if (f.from == "") != (f.to == "") {
		return nil, usage("--from and --to go together, and one of them is missing", "for a period until now give --to 0s")
	}
	body := map[string]any{}
	given := func(name string, v any, is bool) {
		if is {
			body[name] = v
		}
	}
	for name, v := range map[string]string{"from": f.from, "to": f.to} {
		if v == "" {
			continue
		}
		t, err := moment("--"+name, v)
		if err != nil {
			return nil, err
		}
		body[name] = t.UTC().Format(time.RFC3339Nano)
	}
	for name, v := range map[string]string{"period": f.period, "by": f.by, "tz": f.tz, "late_after": string(f.lateAfter),
		"tolerance": f.tolerance, "as_of": f.asOf, "id": f.id, "reason": f.reason, "source_id": f.agenfleet} {
		given(name, v, v != "")
	}
	given("event_types", f.types, len(f.types) > 0)
	given("endpoint_ids", f.endpoints, len(f.endpoints) > 0)
	given("agent_ids", f.agents, len(f.agents) > 0)
	given("dry_run", true, f.dryRun)
	given("max_listed", f.maxListed, f.maxListed != 0)
	given("against", "agenfleet", f.agenfleet != "")
	if f.numbers != "" {
		n, err := numberRange(f.numbers)
		if err != nil {
			return nil, err
		}
		body["numbered"] = n
	}
	for against, name := range map[string]string{"billing": f.billing, "receiver": f.receiver} {
		if name == "" {
			continue
		}
		raw, err := a.readInput(name, "--"+against)
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(raw) { // else what is no UTF-8 would be replaced on the way
			return nil, usage("--"+against+" is not UTF-8", "export it as UTF-8")
		}
		body["against"], body["file"], body["format"] = against, string(raw), f.formatOf(name)
	}
	return body, nil
}

func (f *reconcileFlags) formatOf(name string) string {
	switch ext := strings.ToLower(filepath.Ext(name)); {
	case f.format != "":
		return f.format
	case ext == ".ndjson" || ext == ".jsonl":
		return "ndjson"
	}
	return "csv"
}

// numberRange reads SOURCE:FROM-TO.
func numberRange(s string) (map[string]any, error) {
	i := strings.LastIndexByte(s, ':')
	from, to, ok := strings.Cut(s[i+1:], "-")
	n, err1 := strconv.ParseUint(from, 10, 64)
	m, err2 := strconv.ParseUint(to, 10, 64)
	if i < 1 || !ok || err1 != nil || err2 != nil {
		return nil, usage(fmt.Sprintf("--numbers: %q is no range of numbers", s), "write it like billing-core:100-200")
	}
	return map[string]any{"source": s[:i], "from": n, "to": m}, nil
}

func (a *app) reconcile(cmd *cobra.Command, r *remote, f *reconcileFlags) error {
	if err := checkPart(f.show); err != nil {
		return err
	}
	body, err := f.body(a)
	if err != nil {
		return err
	}
	c, err := a.reconciler(r)
	if err != nil {
		return err
	}
	var out apiclient.Item[apiclient.Reconciliation]
	if err := c.Post(cmd.Context(), "/v1/reconciliations", body, &out); err != nil {
		return err
	}
	if err := a.showReconciliation(out, f.show); err != nil {
		return err
	}
	for _, w := range doubts(&out.Value) {
		a.note("warning: %s", w)
	}
	if !out.Value.Balanced {
		return &unverifiedError{fmt.Errorf("it does not balance: %s", imbalance(&out.Value))}
	}
	if out.Value.Totals.Events > 0 {
		a.note("it balances: %s", plural(out.Value.Totals.Events, "event"))
	}
	return nil
}

// reconciler is a client that waits for a report.
func (a *app) reconciler(r *remote) (*apiclient.Client, error) {
	patient := *r
	patient.timeout = reconcilePatience
	return a.connect(&patient)
}

func imbalance(r *apiclient.Reconciliation) string {
	var parts []string
	if counts := joinCounts(r.Totals.Findings); counts != "" {
		parts = append(parts, counts)
	}
	if r.Report != nil && r.Report.Gaps != nil && !r.Report.Gaps.Complete {
		g := r.Report.Gaps
		parts = append(parts, fmt.Sprintf("numbers missing: %d, used twice: %d", g.Missing, len(g.Twice)))
	}
	return output.Join(parts)
}

func newReconcileList(a *app, r *remote) *cobra.Command {
	l := &listing{}
	c := &cobra.Command{Use: "list", Short: "List reconciliations, newest first", Example: "  hookledger reconcile list",
		Args: args(), RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, "/v1/reconciliations", nil, l, reconciliationColumns())
		}}
	l.flags(c.Flags())
	return c
}
