package reconcile

import (
	"time"

	"hookledger/domain"
)

// Kinds of findings.
const (
	Missing   = "missing"   // the ledger has it, the other side does not; or it was not delivered
	Extra     = "extra"     // the other side has it, the ledger does not
	Duplicate = "duplicate" // it is there more than once
	Late      = "late"      // it came later than the rules allow
	Differs   = "differs"   // both have it, and say something else
)

// InLedger and InEndpoint are where something is wrong, beside what the ledger was compared with.
const (
	InLedger   = "ledger"
	InEndpoint = "endpoint"
)

// Report is what a period comes to.
type Report struct {
	Totals      domain.ReconciliationTotals `json:"totals"`
	Amounts     []Amount                    `json:"amounts"`
	Groups      []Group                     `json:"groups"`
	Accounts    []Account                   `json:"accounts"`
	Findings    []Finding                   `json:"findings"` // at most Spec.MaxListed; Totals counts all
	Adjustments []Adjustment                `json:"adjustments"`
	Gaps        *Gaps                       `json:"gaps,omitempty"`
	Outside     int                         `json:"outside"` // rows of the file about what the report is not about
	Digest      string                      `json:"-"`       // SHA-256 over all of the above and the rules, hex
}

// Balanced says that nothing was found.
func (r *Report) Balanced() bool {
	return len(r.Totals.Findings) == 0 && (r.Gaps == nil || r.Gaps.Complete)
}

// Amount is the sum of the running totals of one kind.
type Amount struct {
	Period   string  `json:"period"`
	Unit     string  `json:"unit"`
	Currency string  `json:"currency,omitempty"`
	Accounts int     `json:"accounts"`
	Spent    Decimal `json:"spent"`
}

// Group is what a day brought for an agent, at one endpoint, of one type. Amounts are those of the running totals that
// count and whose event is here: they can be added over days and types, and stand at each endpoint once more.
type Group struct {
	Agent      string   `json:"agent_id"`
	Endpoint   string   `json:"endpoint_id"` // empty: it was routed nowhere
	Event      string   `json:"event"`
	Day        string   `json:"day"`
	Events     int      `json:"events"`
	Delivered  int      `json:"delivered"`
	Late       int      `json:"late"`
	Failed     int      `json:"failed"`
	Pending    int      `json:"pending"`
	Duplicates int      `json:"duplicates"`
	Amounts    []Amount `json:"amounts,omitempty"`
}

// Account is a running total: of an agent, a period and its start, a unit and a currency.
type Account struct {
	AccountKey
	Spent     Decimal `json:"spent"`
	Budget    Decimal `json:"budget"`
	Events    int     `json:"events"`
	EventID   string  `json:"event_id"`            // that counts
	Decreased bool    `json:"decreased,omitempty"` // a later event said less
	Estimated bool    `json:"estimated,omitempty"`

	at     time.Time // of the event that counts
	place  groupKey  // its group, of no endpoint
	routed []string  // the endpoints of its groups
	last   map[string]said
}

// said is what the last event of a type said.
type said struct {
	spent, budget Decimal
	at            time.Time
	event         string
}

// AccountKey tells running totals apart.
type AccountKey struct {
	Agent    string    `json:"agent_id"`
	Period   string    `json:"period"`
	Start    time.Time `json:"period_start"`
	Unit     string    `json:"unit"`
	Currency string    `json:"currency,omitempty"`
}

// Finding is something that does not balance, with the ids that prove it.
type Finding struct {
	Kind        string       `json:"kind"`
	In          string       `json:"in"`
	EventID     string       `json:"event_id,omitempty"`
	Endpoint    string       `json:"endpoint_id,omitempty"`
	Account     *AccountKey  `json:"account,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
	Rows        []int        `json:"rows,omitempty"` // of the file; the line with the columns' names is row 1
	Detail      string       `json:"detail"`
	Proof       []string     `json:"proof"` // ids of events, deliveries, attempts and records
}

// Difference is a field on which both sides disagree.
type Difference struct {
	Field  string `json:"field"`
	Ledger string `json:"ledger"`
	Theirs string `json:"theirs"`
}

// Adjustment is an event of a period that was closed before it came.
type Adjustment struct {
	EventID  string      `json:"event_id"`
	Event    string      `json:"event"`
	At       time.Time   `json:"timestamp"`
	Received time.Time   `json:"received_at"`
	Account  *AccountKey `json:"account,omitempty"`
	Spent    *Decimal    `json:"spent,omitempty"`
	Proof    []string    `json:"proof"`
}

// Gaps says which of a producer's numbers are not there.
type Gaps struct {
	Source   string      `json:"source"`
	From     uint64      `json:"from"`
	To       uint64      `json:"to"`
	Present  uint64      `json:"present"`
	Missing  uint64      `json:"missing"`
	Complete bool        `json:"complete"`        // nothing is missing, and nothing is there twice
	Ranges   []Span      `json:"ranges"`          // that are missing; at most Spec.MaxListed
	Twice    []TwiceUsed `json:"twice,omitempty"` // likewise
}

// Span is some numbers in a row.
type Span struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// TwiceUsed is a number that several events have.
type TwiceUsed struct {
	Sequence uint64   `json:"sequence"`
	Events   []string `json:"event_ids"`
}
