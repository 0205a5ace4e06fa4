package apiclient

import (
	"time"

	"hookledger/audit/reconcile"
	"hookledger/domain"
)

// Reconciliation is what a period's budget events came to.
type Reconciliation struct {
	ID         string                      `json:"id"`
	Balanced   bool                        `json:"balanced"`
	DryRun     bool                        `json:"dry_run"`
	Digest     string                      `json:"digest"`
	AsOf       string                      `json:"as_of"`
	From       time.Time                   `json:"from"`
	To         time.Time                   `json:"to"`
	Closes     bool                        `json:"closes"`
	Closed     string                      `json:"closed"`
	By         string                      `json:"by"`
	TZ         string                      `json:"tz"`
	LateAfter  string                      `json:"late_after"`
	Tolerance  string                      `json:"tolerance"`
	EventTypes []string                    `json:"event_types"`
	Endpoints  []string                    `json:"endpoint_ids"`
	Agents     []string                    `json:"agent_ids"`
	Against    string                      `json:"against"`
	SourceID   string                      `json:"source_id"`
	FileSHA256 string                      `json:"file_sha256"`
	FileRows   int                         `json:"file_rows"`
	Reason     string                      `json:"reason"`
	CreatedBy  string                      `json:"created_by"`
	CreatedAt  time.Time                   `json:"created_at"`
	Numbered   *domain.NumberRange         `json:"numbered"`
	Totals     domain.ReconciliationTotals `json:"totals"`
	Amounts    []reconcile.Amount          `json:"amounts"`
	Report     *ReconciliationReport       `json:"report"`
}

// ReconciliationReport is all that was found, each entry as the server wrote it.
type ReconciliationReport struct {
	Groups      []Item[reconcile.Group]      `json:"groups"`
	Accounts    []Item[reconcile.Account]    `json:"accounts"`
	Findings    []Item[reconcile.Finding]    `json:"findings"`
	Adjustments []Item[reconcile.Adjustment] `json:"adjustments"`
	Gaps        *reconcile.Gaps              `json:"gaps"`
	Outside     int                          `json:"outside"`
}
