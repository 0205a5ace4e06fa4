package domain

import "time"

// PrefixReconciliation begins the id of every reconciliation.
const PrefixReconciliation = "rcn_"

// By which of its two times an event belongs to a period.
const (
	ByReceived = "received" // when it came to us
	ByEvent    = "event"    // when it happened, as its producer says
)

// What the ledger is compared with.
const (
	AgainstBilling   = "billing"   // a file of amounts
	AgainstAgenFleet = "agenfleet" // the costs that a source has read
	AgainstReceiver  = "receiver"  // a file of the webhook-ids that a receiver has
)

// ReconciliationRules say how a report is computed: with the same rules, at the same record, it is the same.
type ReconciliationRules struct {
	From       time.Time    `json:"from"`       // inclusive
	To         time.Time    `json:"to"`         // exclusive
	By         string       `json:"by"`         // ByReceived or ByEvent
	TimeZone   string       `json:"tz"`         // IANA name: in which days, and periods without a start, begin
	LateAfter  Duration     `json:"late_after"` // from that time to the receiver's confirmation
	Tolerance  string       `json:"tolerance"`  // amounts that differ by no more than this decimal are equal
	EventTypes []string     `json:"event_types"`
	Endpoints  []string     `json:"endpoints,omitempty"` // whose deliveries count; none: all
	Against    string       `json:"against,omitempty"`
	Source     string       `json:"source,omitempty"`   // of AgainstAgenFleet
	Numbered   *NumberRange `json:"numbered,omitempty"` // the numbers to look for gaps in
}

// NumberRange is a part of the numbers that a producer gives its events.
type NumberRange struct {
	Source string `json:"source"` // as the producer names it
	From   uint64 `json:"from"`
	To     uint64 `json:"to"` // inclusive
}

// ReconciliationTotals count what a report found.
type ReconciliationTotals struct {
	Events      int            `json:"events"`
	Erased      int            `json:"erased,omitempty"` // of them, without content
	Deliveries  int            `json:"deliveries"`       // pairs of event and endpoint
	Delivered   int            `json:"delivered"`
	Late        int            `json:"late,omitempty"` // of those delivered
	Failed      int            `json:"failed,omitempty"`
	Pending     int            `json:"pending,omitempty"`
	Duplicates  int            `json:"duplicates,omitempty"` // confirmations beyond the first, and events said twice
	Findings    map[string]int `json:"findings,omitempty"`   // by kind
	Adjustments int            `json:"adjustments,omitempty"`
}

// ReconciliationRun is a report that was computed at one record of the ledger.
type ReconciliationRun struct {
	Rules    ReconciliationRules  `json:"rules"`
	AsOf     RecordRef            `json:"as_of"`
	Totals   ReconciliationTotals `json:"totals"`
	Balanced bool                 `json:"balanced"`
	// Closed is the run that closed the same period before: what came after it is counted as adjustments.
	Closed  string  `json:"closed,omitempty"`
	Content *Sealed `json:"content"` // ReconciliationContent
}

// ReconciliationContent is what ReconciliationRun seals: it quotes events, or confirms a guess at them.
type ReconciliationContent struct {
	Digest  string             `json:"digest"` // SHA-256 over the report, hex
	Amounts []ReconciledAmount `json:"amounts,omitempty"`
	Agents  []string           `json:"agents,omitempty"` // that were asked for; none: all
	File    string             `json:"file,omitempty"`   // SHA-256 of the file that was compared with, hex
	Rows    int                `json:"rows,omitempty"`   // of that file
	Reason  string             `json:"reason,omitempty"`
}

// ReconciledAmount is the sum of running totals of one kind: never of two units, currencies or lengths of periods.
type ReconciledAmount struct {
	Period   string `json:"period"`
	Unit     string `json:"unit"`
	Currency string `json:"currency,omitempty"`
	Accounts int    `json:"accounts"` // running totals in it
	Spent    string `json:"spent"`    // an exact decimal
}

// Closes says that the run was made when its period was over: what comes later is an adjustment.
func (r *ReconciliationRun) Closes(at time.Time) bool { return !at.Before(r.Rules.To) }

func (*ReconciliationRun) RecordType() string { return "ReconciliationRun" }
func (*ReconciliationRun) RecordVersion() int { return 1 }
func (*ReconciliationRun) fact()              {}

// Reconciliation is a run as a read model keeps it.
type Reconciliation struct {
	ID        string            `json:"id"`
	Tenant    string            `json:"tenant"`
	Run       ReconciliationRun `json:"run"`
	Ref       RecordRef         `json:"ref"`      // the run's own record
	Position  Position          `json:"position"` // of that
	CreatedAt time.Time         `json:"created_at"`
	CreatedBy Actor             `json:"created_by"`
}

// NewReconciliation is what a run's record says.
func NewReconciliation(r *Record, f *ReconciliationRun) Reconciliation {
	return Reconciliation{ID: r.Stream.ID(), Tenant: r.Tenant, Run: *f, Position: r.Position, CreatedAt: r.RecordedAt,
		Ref: RecordRef{Record: r.ID, Stream: r.Stream, Revision: r.Revision}, CreatedBy: r.Actor}
}

// EventQuery is the part of a tenant's events that a reconciliation looks at. It is of what never changes in an event.
type EventQuery struct {
	Type     string
	From, To time.Time // inclusive, exclusive; in whole microseconds
	By       string    // ByReceived or ByEvent
	UpTo     Position  // inclusive
}

// DeliveryTo is a delivery of an event that somebody names, with where it goes.
type DeliveryTo struct {
	ID       string
	Endpoint string
}

// NumberedEvent is an event with the number that its producer gave it.
type NumberedEvent struct {
	ID       string
	Sequence uint64
}
