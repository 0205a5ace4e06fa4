package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hookledger/audit/reconcile"
	"hookledger/domain"
	"hookledger/vault"
)

// ReconciliationRules say how a report is computed.
type ReconciliationRules struct {
	By         string                 `json:"by,omitempty" enum:"received,event" doc:"Which of an event's times counts: when it came (the default), or when it happened."`
	TZ         string                 `json:"tz,omitempty" maxLength:"64" doc:"Time zone of days and periods; absent: UTC." example:"Europe/Berlin"`
	LateAfter  *domain.Duration       `json:"late_after,omitempty" nullable:"false" doc:"What is confirmed later than this after that time is late; absent: 5m." example:"5m"`
	Tolerance  string                 `json:"tolerance,omitempty" maxLength:"40" doc:"Amounts that differ by no more than this decimal are equal; absent: 0." example:"0.01"`
	EventTypes []string               `json:"event_types,omitempty" maxItems:"1000" nullable:"false" doc:"Absent: agent.budget_alert and agent.budget_exhausted."`
	Endpoints  []string               `json:"endpoint_ids,omitempty" maxItems:"1000" nullable:"false" doc:"Whose deliveries count; absent: all."`
	Agents     []string               `json:"agent_ids,omitempty" maxItems:"1000" nullable:"false" doc:"Whose events count; absent: all."`
	Against    string                 `json:"against,omitempty" enum:"billing,agenfleet,receiver" doc:"What the ledger is compared with; absent: nothing, only the deliveries are checked."`
	SourceID   string                 `json:"source_id,omitempty" maxLength:"128" doc:"The source that has read the costs, for agenfleet."`
	Numbered   *ReconciliationNumbers `json:"numbered,omitempty" nullable:"false" doc:"Numbers of a producer to look for gaps in, whatever the period."`
}

// ReconciliationNumbers are some of the numbers that a producer gives its events.
type ReconciliationNumbers struct {
	Source string `json:"source" minLength:"1" maxLength:"256" doc:"As its posts say it." example:"billing-core"`
	From   uint64 `json:"from" doc:"The first number."`
	To     uint64 `json:"to" doc:"The last number."`
}

// NewReconciliation is what a reconciliation is asked for with.
type NewReconciliation struct {
	ID     string    `json:"id,omitempty" maxLength:"128" doc:"Your own, rcn_…: a repeated request is the same reconciliation."`
	Period string    `json:"period,omitempty" maxLength:"10" doc:"A month or a day of the time zone, in place of from and to." example:"2026-03"`
	From   time.Time `json:"from,omitzero" required:"false" doc:"The period's begin."`
	To     time.Time `json:"to,omitzero" required:"false" doc:"The period's end, exclusive."`
	ReconciliationRules
	Format    string `json:"format,omitempty" enum:"csv,ndjson" doc:"Of the file; absent: csv."`
	File      string `json:"file,omitempty" doc:"Billing's amounts, or the receiver's webhook-ids: the file's text, at most 8 MiB."`
	AsOf      string `json:"as_of,omitempty" maxLength:"512" doc:"As an earlier run answered it: compute at that record; absent: now."`
	MaxListed int    `json:"max_listed,omitempty" minimum:"1" maximum:"100000" doc:"Findings, adjustments and gaps that are listed; all are counted. Absent: 10000."`
	Reason    string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept on the ledger."`
	DryRun    bool   `json:"dry_run,omitempty" doc:"Compute it, and keep nothing on the ledger."`
}

// Reconciliation is a run as the ledger keeps it.
type Reconciliation struct {
	ID         string    `json:"id,omitempty" example:"rcn_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Balanced   bool      `json:"balanced" doc:"Nothing was found, and no number is missing."`
	DryRun     bool      `json:"dry_run,omitempty" doc:"Nothing was kept."`
	Digest     string    `json:"digest,omitempty" doc:"SHA-256 over the rules and the whole report; absent where it was erased."`
	AsOf       string    `json:"as_of" doc:"The record that it is fixed at."`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Closes     bool      `json:"closes" doc:"The period was over: what comes later is an adjustment."`
	Closed     string    `json:"closed,omitempty" doc:"The run that closed the period before this one."`
	FileSHA256 string    `json:"file_sha256,omitempty"`
	FileRows   int       `json:"file_rows,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	CreatedBy  string    `json:"created_by,omitempty" doc:"The API key."`
	CreatedAt  time.Time `json:"created_at"`
	ReconciliationRules
	Totals  domain.ReconciliationTotals `json:"totals"`
	Amounts []domain.ReconciledAmount   `json:"amounts" nullable:"false" doc:"Sums of running totals, by length of period, unit and currency."`
	Report  *ReconciliationReport       `json:"report,omitempty" doc:"In the answer to POST."`
}

// ReconciliationReport is all that a run found.
type ReconciliationReport struct {
	Groups      []reconcile.Group      `json:"groups" nullable:"false" doc:"By agent, endpoint, event type and day."`
	Accounts    []reconcile.Account    `json:"accounts" nullable:"false" doc:"The running totals: each counts once, by its highest and last event."`
	Findings    []reconcile.Finding    `json:"findings" nullable:"false" doc:"What does not balance, with the ids that prove it."`
	Adjustments []reconcile.Adjustment `json:"adjustments" nullable:"false" doc:"What came after the period was closed."`
	Gaps        *reconcile.Gaps        `json:"gaps,omitempty"`
	Outside     int                    `json:"outside" doc:"Rows of the file about what the report is not about."`
}

func (in *ReconciliationRules) rules() domain.ReconciliationRules {
	out := domain.ReconciliationRules{By: in.By, TimeZone: in.TZ, Tolerance: in.Tolerance, EventTypes: in.EventTypes,
		Endpoints: in.Endpoints, Against: in.Against, Source: in.SourceID,
		LateAfter: domain.Duration(reconcile.DefaultLateAfter)}
	if in.LateAfter != nil {
		out.LateAfter = *in.LateAfter
	}
	if n := in.Numbered; n != nil {
		out.Numbered = &domain.NumberRange{Source: n.Source, From: n.From, To: n.To}
	}
	return out
}

func showRules(r *domain.ReconciliationRules, agents []string) ReconciliationRules {
	out := ReconciliationRules{By: r.By, TZ: r.TimeZone, LateAfter: &r.LateAfter, Tolerance: r.Tolerance,
		EventTypes: r.EventTypes, Endpoints: r.Endpoints, Agents: agents, Against: r.Against, SourceID: r.Source}
	if n := r.Numbered; n != nil {
		out.Numbered = &ReconciliationNumbers{Source: n.Source, From: n.From, To: n.To}
	}
	return out
}

// Bounds of a reconciliation's request: a file's text is escaped in it, and the period's events are read one by one.
const (
	maxReconcileBody  = 2*reconcile.MaxFile + 1<<20
	reconcilePatience = 10 * time.Minute
)

func (a *api) registerReconciliations() {
	const tag = "Reconciliations"
	register(a, operation{id: "create-reconciliation", tag: tag, summary: "Reconcile a period's budget events",
		status: http.StatusCreated, maxBody: maxReconcileBody, patience: reconcilePatience,
		description: "Computes the report at one record of the ledger, and keeps its rules, totals and digest. A run changes " +
			"nothing else, so an auditor may ask for one. A repeated request with the same id is computed again at the same " +
			"record, and answered where it has the same digest.",
		document: func(op *huma.Operation) {
			ok := *op.Responses[statusText(http.StatusCreated)]
			ok.Description = "A dry run's report, or the one that an earlier request with this id made."
			op.Responses[statusText(http.StatusOK)] = &ok
		}}, a.createReconciliation)
	register(a, operation{id: "list-reconciliations", tag: tag, summary: "List reconciliations"},
		a.listReconciliations)
	register(a, operation{id: "get-reconciliation", tag: tag, summary: "Get a reconciliation as it was kept",
		patience: reconcilePatience,
		description: "With report=true its report, too, computed again at the same record: where it was compared with a file, " +
			"which is not kept, POST with the same id and the file answers it."}, a.getReconciliation)
}

type getReconciliationInput struct {
	ID     string `path:"id" maxLength:"128" doc:"The reconciliation's id." example:"rcn_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Report bool   `query:"report" doc:"Compute its report again."`
}

type reconciliationOutput struct {
	Body Reconciliation
}

func (a *api) listReconciliations(ctx context.Context, c *caller, in *PageInput) (*listOutput[Reconciliation], error) {
	if err := a.rowsAt(ctx, domain.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	page, err := a.History.Reconciliations(ctx, in.list(c.tenant))
	var failed error
	out, err := answerPage(page, err, func(r *domain.Reconciliation) Reconciliation {
		content, err := a.reconciliationContent(ctx, r)
		failed = errors.Join(failed, err)
		return showReconciliation(r, content)
	})
	return out, errors.Join(err, failed)
}

func (a *api) getReconciliation(ctx context.Context, c *caller,
	in *getReconciliationInput) (*reconciliationOutput, error) {
	r, err := a.reconciliation(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	content, err := a.reconciliationContent(ctx, &r)
	if err != nil || !in.Report {
		return &reconciliationOutput{showReconciliation(&r, content)}, err
	}
	report, err := a.reportKept(ctx, c.tenant, &r, content)
	if err != nil {
		return nil, err
	}
	return &reconciliationOutput{withReport(showReconciliation(&r, content), report)}, nil
}

// reconciliation finds a run's row.
func (a *api) reconciliation(ctx context.Context, tenant, id string) (domain.Reconciliation, error) {
	return lookAgain(ctx, a, a.rowsAt, func() (domain.Reconciliation, error) {
		return a.History.Reconciliation(ctx, tenant, id)
	})
}

// reconciliationContent opens what a run seals; nil where it was erased.
func (a *api) reconciliationContent(ctx context.Context, r *domain.Reconciliation) (*domain.ReconciliationContent,
	error) {
	plain, err := a.Vault.Open(ctx, vault.Place{Tenant: r.Tenant, Stream: r.Ref.Stream, Record: r.Ref.Record,
		Type: r.Run.RecordType()}, r.Run.Content)
	if errors.Is(err, vault.ErrErased) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	content := &domain.ReconciliationContent{}
	return content, json.Unmarshal(plain, content)
}

func showReconciliation(r *domain.Reconciliation, content *domain.ReconciliationContent) Reconciliation {
	out := Reconciliation{ID: r.ID, Balanced: r.Run.Balanced, AsOf: showRef(r.Run.AsOf), From: r.Run.Rules.From,
		To: r.Run.Rules.To, Closes: r.Run.Closes(r.CreatedAt), Closed: r.Run.Closed, CreatedBy: r.CreatedBy.ID,
		CreatedAt: r.CreatedAt, Totals: r.Run.Totals, Amounts: []domain.ReconciledAmount{}}
	var agents []string
	if content != nil {
		agents = content.Agents
		out.Digest, out.FileSHA256, out.FileRows = content.Digest, content.File, content.Rows
		out.Reason, out.Amounts = content.Reason, append(out.Amounts, content.Amounts...)
	}
	out.ReconciliationRules = showRules(&r.Run.Rules, agents)
	return out
}
