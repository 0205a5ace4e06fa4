package reconcile

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"time"

	"hookledger/domain"
)

// Ledger is what a report is computed from. Everything is as it stood at one position.
type Ledger interface {
	// Events yields the events of a query in the order of receipt.
	Events(ctx context.Context, q domain.EventQuery) iter.Seq2[*Event, error]
	// Known says which of the ids are events.
	Known(ctx context.Context, ids []string, upTo domain.Position) (map[string]bool, error)
	// Costs yields the costs that a source has read, in order.
	Costs(ctx context.Context, source string, upTo domain.Position) iter.Seq2[*Costs, error]
	// Numbered yields the numbers of a source's events within the range, in order; those used twice, twice.
	Numbered(ctx context.Context, r domain.NumberRange, upTo domain.Position) iter.Seq2[domain.NumberedEvent, error]
}

// Event is an event with what became of it.
type Event struct {
	ID         string
	Type       string
	At         time.Time // when it happened
	Received   time.Time
	Position   domain.Position
	Record     string // its EventReceived
	Erased     bool
	Data       json.RawMessage
	Deliveries []Delivery
}

// Delivery is one delivery of an event.
type Delivery struct {
	ID        string
	Endpoint  string
	Ended     bool           // nothing more will happen by itself
	Confirmed []Confirmation // each 2xx that came, in order
}

// Confirmation is a receiver's 2xx.
type Confirmation struct {
	Attempt string
	At      time.Time
}

// Costs is one reading of the costs of agents.
type Costs struct {
	At       time.Time
	Record   string // that holds it
	Currency string
	Period   string // "daily" or "monthly"
	Location *time.Location
	Grace    time.Duration // how long after a period's begin costs may still be the former one's
	Agents   []domain.CostReading
}

// fact is an event as the comparisons see it.
type fact struct {
	*Event
	ref    time.Time // the one of its times that counts
	agent  string
	key    *AccountKey // nil: it states no amount
	spent  Decimal
	budget Decimal
	repeat string // the event that said the same before
	places []place
}

// place is what became of an event at one endpoint.
type place struct {
	endpoint   string
	deliveries []string
	confirmed  []Confirmation // in order
	pending    bool
	late       bool
}

// budget is the data of a budget event.
type budget struct {
	AgentID   string      `json:"agentId"`
	Period    string      `json:"period"`
	Unit      string      `json:"unit"`
	Currency  string      `json:"currency"`
	Spent     json.Number `json:"spent"`
	Budget    json.Number `json:"budget"`
	Start     time.Time   `json:"periodStart"`
	Estimated bool        `json:"estimated"`
}

// read tells what an event says. What is no budget event has no amount; an amount that can't be read is told apart.
func (e *engine) read(ev *Event) (f *fact, b budget, unread string) {
	f = &fact{Event: ev, ref: ev.Received}
	if e.rules.By == domain.ByEvent {
		f.ref = ev.At
	}
	f.places = e.placesOf(f)
	if ev.Erased {
		return f, b, ""
	}
	if json.Unmarshal(ev.Data, &b) != nil {
		var agent struct {
			AgentID string `json:"agentId"`
		}
		_ = json.Unmarshal(ev.Data, &agent) // of another shape: it has none
		f.agent = agent.AgentID
		return f, b, ""
	}
	f.agent = b.AgentID
	if b.Spent == "" || b.Period == "" || b.Unit != "tokens" && b.Unit != "money" {
		return f, b, ""
	}
	spent, ok := ParseDecimal(string(b.Spent))
	if !ok {
		return f, b, "spent is " + short(string(b.Spent))
	}
	if b.Unit == "tokens" {
		b.Currency = ""
	}
	if b.Start.IsZero() {
		b.Start = domain.PeriodStart(ev.At, b.Period, e.loc)
	}
	f.key = &AccountKey{Agent: b.AgentID, Period: b.Period, Start: b.Start.UTC(), Unit: b.Unit, Currency: b.Currency}
	f.spent = spent
	f.budget, _ = ParseDecimal(string(b.Budget)) // what can't be read is compared with nothing
	return f, b, ""
}

// placesOf brings the deliveries of an event together by endpoint: a replay's count with those that were routed.
func (e *engine) placesOf(f *fact) []place {
	var out []place
	for _, d := range f.Deliveries {
		if len(e.endpoints) > 0 && !e.endpoints[d.Endpoint] {
			continue
		}
		i := slices.IndexFunc(out, func(p place) bool { return p.endpoint == d.Endpoint })
		if i < 0 {
			i = len(out)
			out = append(out, place{endpoint: d.Endpoint})
		}
		p := &out[i]
		p.deliveries = append(p.deliveries, d.ID)
		p.confirmed = append(p.confirmed, d.Confirmed...)
		p.pending = p.pending || !d.Ended
	}
	for i := range out {
		p := &out[i]
		slices.SortStableFunc(p.confirmed, func(a, b Confirmation) int { return a.At.Compare(b.At) })
		p.late = len(p.confirmed) > 0 && e.isLate(f, p.confirmed[0].At)
	}
	slices.SortFunc(out, func(a, b place) int { return compareText(a.endpoint, b.endpoint) })
	return out
}

// isLate says whether what came at a time came too late for the event.
func (e *engine) isLate(f *fact, at time.Time) bool {
	return at.Sub(f.ref) > time.Duration(e.rules.LateAfter)
}

// proof names an event and its record, and what else is given.
func (f *fact) proof(ids ...string) []string { return append([]string{f.ID, f.Record}, ids...) }

func (p *place) proof() []string {
	out := slices.Clone(p.deliveries)
	for _, c := range p.confirmed {
		out = append(out, c.Attempt)
	}
	return out
}
