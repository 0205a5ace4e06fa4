package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"hookledger/audit/reconcile"
	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/replays"
	"hookledger/vault"
)

type createReconciliationInput struct {
	Body NewReconciliation
}

type createReconciliationOutput struct {
	Status   int
	Location string `header:"Location" doc:"Where the resource is."`
	Body     Reconciliation
}

// reconciling is a reconciliation in the making.
type reconciling struct {
	id      string
	spec    reconcile.Spec
	content domain.ReconciliationContent // as far as it was asked for
	asOf    domain.RecordRef
	closed  string
	dryRun  bool
}

// createReconciliation computes the report and, unless that is all, puts the run on the ledger. Nothing is written
// before the report is there.
func (a *api) createReconciliation(ctx context.Context, c *caller,
	in *createReconciliationInput) (*createReconciliationOutput, error) {
	r, err := a.reconciling(c, &in.Body, c.idempotency)
	if err != nil {
		return nil, err
	}
	if !r.dryRun && (in.Body.ID != "" || c.idempotency != "") {
		if out, err := a.reconciledBefore(ctx, c, r); out != nil || err != nil {
			return out, err
		}
	}
	if in.Body.AsOf == "" {
		if err := a.rowsAt(ctx, a.Store.Head()); err != nil {
			return nil, err
		}
		r.spec.AsOf, r.asOf, err = a.History.AsOf(ctx, c.tenant)
	} else {
		r.asOf, err = parseRef(in.Body.AsOf)
		if err == nil && r.asOf.Stream.Tenant() != c.tenant {
			err = errNoRef
		}
		if err == nil {
			err = a.positionOf(ctx, r)
		}
	}
	if err != nil {
		return nil, err
	}
	report, err := a.report(ctx, c.tenant, r)
	if err != nil {
		return nil, err
	}
	if r.dryRun {
		now := a.Now().UTC()
		run := domain.Reconciliation{Tenant: c.tenant, CreatedAt: now, Run: r.run(report)}
		shown := showReconciliation(&run, &r.content)
		shown.DryRun = true
		return &createReconciliationOutput{Status: http.StatusOK, Body: withReport(shown, report)}, nil
	}
	out, err := a.writeReconciliation(ctx, c, r, report)
	if errors.Is(err, ledger.ErrConflict) { // another request has made it since
		if out, err := a.reconciledBefore(ctx, c, r); out != nil || err != nil {
			return out, err
		}
	}
	return out, err
}

// reconciling checks what is asked for.
func (a *api) reconciling(c *caller, ask *NewReconciliation, key string) (*reconciling, error) {
	r := &reconciling{id: ask.ID, dryRun: ask.DryRun, spec: reconcile.Spec{Rules: ask.rules(), MaxListed: ask.MaxListed}}
	rules := &r.spec.Rules
	rules.From, rules.To = ask.From, ask.To
	if ask.Period != "" {
		if !ask.From.IsZero() || !ask.To.IsZero() {
			return nil, domain.Refuse(domain.KindInvalid, "invalid_period", "both a period and from or to are given",
				"leave one of them out")
		}
		var err error
		if rules.From, rules.To, err = reconcile.Period(ask.Period, cmp.Or(rules.TimeZone, "UTC")); err != nil {
			return nil, err
		}
	}
	if err := reconcile.Check(rules); err != nil {
		return nil, err
	}
	if r.id == "" {
		r.id = a.newID(domain.PrefixReconciliation, c.tenant, "create-reconciliation", key)
	}
	if !strings.HasPrefix(r.id, domain.PrefixReconciliation) || !domain.ValidEventID(r.id) {
		return nil, domain.Refuse(domain.KindInvalid, "invalid_id", "the reconciliation's id is not valid",
			"use rcn_ and up to 124 characters of A-Z a-z 0-9 _ -, or leave it out")
	}
	r.spec.Agents = slices.Compact(slices.Sorted(slices.Values(ask.Agents)))
	r.content = domain.ReconciliationContent{Agents: r.spec.Agents, Reason: ask.Reason}
	needsFile := rules.Against == domain.AgainstBilling || rules.Against == domain.AgainstReceiver
	if ask.File == "" && !needsFile {
		return r, nil
	}
	file, err := reconcile.ReadFile(rules.Against, cmp.Or(ask.Format, reconcile.FormatCSV), rules.TimeZone,
		[]byte(ask.File))
	if err != nil {
		return nil, err
	}
	r.spec.File, r.content.File, r.content.Rows = file, file.SHA256, file.Rows
	return r, nil
}

// positionOf finds the record that the report is fixed at.
func (a *api) positionOf(ctx context.Context, r *reconciling) (err error) {
	if r.spec.AsOf, err = replays.Find(ctx, a.Store, r.asOf); err != nil {
		return err
	}
	return a.rowsAt(ctx, r.spec.AsOf)
}

// report computes the report at the record.
func (a *api) report(ctx context.Context, tenant string, r *reconciling) (*reconcile.Report, error) {
	for _, id := range r.spec.Rules.Endpoints {
		first, err := a.firstRecord(ctx, domain.EndpointStream(tenant, id))
		if err != nil {
			return nil, err
		}
		if first == nil {
			return nil, domain.Refuse(domain.KindNotFound, "endpoint_not_found", "there is no endpoint "+id,
				"list them with: hookledger endpoint list")
		}
	}
	if err := a.closedBefore(ctx, tenant, r); err != nil {
		return nil, err
	}
	report, err := reconcile.Run(ctx, &reconcile.Book{Tenant: tenant, Store: a.Store, Rows: a.Projections,
		Vault: a.Vault}, r.spec)
	if err != nil {
		return nil, err
	}
	r.content.Digest = report.Digest
	r.content.Amounts = nil
	for _, m := range report.Amounts {
		r.content.Amounts = append(r.content.Amounts, domain.ReconciledAmount{Period: m.Period, Unit: m.Unit,
			Currency: m.Currency, Accounts: m.Accounts, Spent: m.Spent.String()})
	}
	return report, nil
}

// closedBefore finds the run that closed the period: the first one of the same events, made when the period was over,
// of what stood on the ledger at the report's record.
func (a *api) closedBefore(ctx context.Context, tenant string, r *reconciling) error {
	rules := &r.spec.Rules
	runs, err := a.History.ReconciliationsOf(ctx, tenant, rules, r.spec.AsOf)
	if err != nil {
		return err
	}
	for i := range runs {
		had := &runs[i].Run.Rules
		if !runs[i].Run.Closes(runs[i].CreatedAt) || had.By != rules.By || !slices.Equal(had.EventTypes, rules.EventTypes) {
			continue
		}
		content, err := a.reconciliationContent(ctx, &runs[i])
		if err != nil {
			return err
		}
		if content == nil || !slices.Equal(content.Agents, r.spec.Agents) {
			continue
		}
		r.spec.Closed, err = replays.Find(ctx, a.Store, runs[i].Run.AsOf)
		r.closed = runs[i].ID
		return err
	}
	return nil
}

func (r *reconciling) run(report *reconcile.Report) domain.ReconciliationRun {
	return domain.ReconciliationRun{Rules: r.spec.Rules, AsOf: r.asOf, Totals: report.Totals,
		Balanced: report.Balanced(), Closed: r.closed}
}

func withReport(shown Reconciliation, r *reconcile.Report) Reconciliation {
	shown.Report = &ReconciliationReport{Groups: r.Groups, Accounts: r.Accounts, Findings: r.Findings,
		Adjustments: r.Adjustments, Gaps: r.Gaps, Outside: r.Outside}
	return shown
}

// reconciledBefore answers a request that is repeated: the report is computed again at the same record. nil: nobody has
// asked for a run of this id.
func (a *api) reconciledBefore(ctx context.Context, c *caller, r *reconciling) (*createReconciliationOutput, error) {
	first, err := a.firstRecord(ctx, domain.ReconciliationStream(c.tenant, r.id))
	if err != nil || first == nil {
		return nil, err
	}
	had, err := a.reconciliation(ctx, c.tenant, r.id)
	if err != nil {
		return nil, err
	}
	content, err := a.reconciliationContent(ctx, &had)
	if err != nil {
		return nil, err
	}
	if content == nil {
		return nil, errReportChanged
	}
	asked := *content
	asked.Digest, asked.Amounts = "", nil
	if mustJSON(asked) != mustJSON(r.content) || mustJSON(had.Run.Rules) != mustJSON(r.spec.Rules) {
		return nil, domain.Refuse(domain.KindConflict, "reconciliation_exists", "there is a reconciliation "+r.id+
			" of another request", "use another id or Idempotency-Key for a new one")
	}
	report, err := a.reportAgain(ctx, c.tenant, r, &had, content)
	if err != nil {
		return nil, err
	}
	c.repeated()
	return &createReconciliationOutput{Status: http.StatusOK, Location: "/v1/reconciliations/" + r.id,
		Body: withReport(showReconciliation(&had, content), report)}, nil
}

// reportAgain computes a run's report again at its record; it must be the same.
func (a *api) reportAgain(ctx context.Context, tenant string, r *reconciling, had *domain.Reconciliation,
	content *domain.ReconciliationContent) (*reconcile.Report, error) {
	r.asOf = had.Run.AsOf
	if err := a.positionOf(ctx, r); err != nil {
		return nil, err
	}
	report, err := a.report(ctx, tenant, r)
	if err == nil && report.Digest != content.Digest {
		err = errReportChanged
	}
	return report, err
}

// reportKept computes a run's report again from what was kept of it.
func (a *api) reportKept(ctx context.Context, tenant string, had *domain.Reconciliation,
	content *domain.ReconciliationContent) (*reconcile.Report, error) {
	switch {
	case content == nil:
		return nil, errReportChanged
	case content.File != "":
		return nil, domain.Refuse(domain.KindInvalid, "file_needed",
			"the report was made with a file, which is not kept", "ask for it with the same id and the file")
	}
	r := &reconciling{id: had.ID, spec: reconcile.Spec{Rules: had.Run.Rules, Agents: content.Agents}, content: *content}
	return a.reportAgain(ctx, tenant, r, had, content)
}

var errReportChanged = domain.Refuse(domain.KindConflict, "report_changed", "computed again, the report is not what "+
	"it was: content that it was made of was erased since",
	"what was kept is answered by GET; use another id for a new run")

func mustJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("httpapi: " + err.Error()) // of texts and numbers: a broken build
	}
	return string(raw)
}

// writeReconciliation puts the run on the ledger.
func (a *api) writeReconciliation(ctx context.Context, c *caller, r *reconciling,
	report *reconcile.Report) (*createReconciliationOutput, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	s, stream, run := a.stamp(c), domain.ReconciliationStream(c.tenant, r.id), r.run(report)
	keyID, err := a.Vault.DataKey(ctx, vault.Scope{Tenant: c.tenant, Type: "reconciliation", At: s.At})
	if err != nil {
		return nil, err
	}
	run.Content, err = a.Vault.Seal(ctx, keyID, vault.Place{Tenant: c.tenant, Stream: stream, Record: s.Base,
		Type: run.RecordType()}, []byte(mustJSON(r.content)))
	if err != nil {
		return nil, err
	}
	records := s.Records(stream, c.tenant, "", ulid.ULID{}, &run)
	done, err := ledger.AppendKnown(ctx, a.Store, stream, domain.NoStream, records)
	if err != nil {
		return nil, err
	}
	if err := a.rowsAt(ctx, done.Position); err != nil {
		return nil, err
	}
	kept := domain.NewReconciliation(&records[0], &run)
	return &createReconciliationOutput{Status: http.StatusCreated, Location: "/v1/reconciliations/" + r.id,
		Body: withReport(showReconciliation(&kept, &r.content), report)}, nil
}
