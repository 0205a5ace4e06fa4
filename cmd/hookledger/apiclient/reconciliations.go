package apiclient

import "time"

// Reconciliation is what a period's budget events came to.
type Reconciliation struct {
	ID         string    `json:"id"`
	Balanced   bool      `json:"balanced"`
	DryRun     bool      `json:"dry_run"`
	Digest     string    `json:"digest"`
	AsOf       string    `json:"as_of"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	Closes     bool      `json:"closes"`
	Closed     string    `json:"closed"`
	By         string    `json:"by"`
	TZ         string    `json:"tz"`
	LateAfter  string    `json:"late_after"`
	Tolerance  string    `json:"tolerance"`
	EventTypes []string  `json:"event_types"`
	Endpoints  []string  `json:"endpoint_ids"`
	Agents     []string  `json:"agent_ids"`
	Against    string    `json:"against"`
	SourceID   string    `json:"source_id"`
	FileSHA256 string    `json:"file_sha256"`
	FileRows   int       `json:"file_rows"`
	Reason     string    `json:"reason"`
	CreatedBy  string    `json:"created_by"`
	CreatedAt  time.Time `json:"created_at"`
	Totals     struct {
		Events      int            `json:"events"`
		Erased      int            `json:"erased"`
		Deliveries  int            `json:"deliveries"`
		Delivered   int            `json:"delivered"`
		Late        int            `json:"late"`
		Failed      int            `json:"failed"`
		Pending     int            `json:"pending"`
		Duplicates  int            `json:"duplicates"`
		Findings    map[string]int `json:"findings"`
		Adjustments int            `json:"adjustments"`
	} `json:"totals"`
	Amounts []ReconciledAmount    `json:"amounts"`
	Report  *ReconciliationReport `json:"report"`
}

// ReconciledAmount is a sum of running totals.
type ReconciledAmount struct {
	Period   string `json:"period"`
	Unit     string `json:"unit"`
	Currency string `json:"currency,omitempty"`
	Accounts int    `json:"accounts"`
	Spent    string `json:"spent"`
}

// ReconciliationReport is all that was found, each entry as the server wrote it.
type ReconciliationReport struct {
	Groups      []Item[ReconciliationGroup] `json:"groups"`
	Accounts    []Item[RunningTotal]        `json:"accounts"`
	Findings    []Item[Finding]             `json:"findings"`
	Adjustments []Item[Adjustment]          `json:"adjustments"`
	Gaps        *NumberGaps                 `json:"gaps"`
	Outside     int                         `json:"outside"`
}

// ReconciliationGroup is what a day brought for an agent, at an endpoint, of a type.
type ReconciliationGroup struct {
	AgentID    string             `json:"agent_id"`
	EndpointID string             `json:"endpoint_id"`
	Event      string             `json:"event"`
	Day        string             `json:"day"`
	Events     int                `json:"events"`
	Delivered  int                `json:"delivered"`
	Late       int                `json:"late"`
	Failed     int                `json:"failed"`
	Pending    int                `json:"pending"`
	Duplicates int                `json:"duplicates"`
	Amounts    []ReconciledAmount `json:"amounts"`
}

// AccountKey tells running totals apart.
type AccountKey struct {
	AgentID     string    `json:"agent_id"`
	Period      string    `json:"period"`
	PeriodStart time.Time `json:"period_start"`
	Unit        string    `json:"unit"`
	Currency    string    `json:"currency"`
}

// RunningTotal is what an agent has spent in a period.
type RunningTotal struct {
	AccountKey
	Spent     string `json:"spent"`
	Budget    string `json:"budget"`
	Events    int    `json:"events"`
	EventID   string `json:"event_id"`
	Decreased bool   `json:"decreased"`
	Estimated bool   `json:"estimated"`
}

// Finding is something that does not balance.
type Finding struct {
	Kind        string      `json:"kind"`
	In          string      `json:"in"`
	EventID     string      `json:"event_id"`
	EndpointID  string      `json:"endpoint_id"`
	Account     *AccountKey `json:"account"`
	Differences []struct {
		Field, Ledger, Theirs string
	} `json:"differences"`
	Rows   []int    `json:"rows"`
	Detail string   `json:"detail"`
	Proof  []string `json:"proof"`
}

// Adjustment is an event that came after its period was closed.
type Adjustment struct {
	EventID    string      `json:"event_id"`
	Event      string      `json:"event"`
	Timestamp  time.Time   `json:"timestamp"`
	ReceivedAt time.Time   `json:"received_at"`
	Account    *AccountKey `json:"account"`
	Spent      string      `json:"spent"`
	Proof      []string    `json:"proof"`
}

// NumberGaps are the numbers of a producer that are missing.
type NumberGaps struct {
	Source   string `json:"source"`
	From     uint64 `json:"from"`
	To       uint64 `json:"to"`
	Present  uint64 `json:"present"`
	Missing  uint64 `json:"missing"`
	Complete bool   `json:"complete"`
	Ranges   []Span `json:"ranges"`
	Twice    []struct {
		Sequence uint64   `json:"sequence"`
		EventIDs []string `json:"event_ids"`
	} `json:"twice"`
}

// Span is some numbers in a row.
type Span struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}
