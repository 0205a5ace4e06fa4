package reconcile

import (
	"context"
	"slices"
	"strconv"
	"time"

	"hookledger/domain"
)

// receiver is the list of webhook-ids that a receiver has.
type receiver struct {
	rows  map[string]*receivedID
	order []*receivedID
}

type receivedID struct {
	receiverRow
	first time.Time // the earliest of its rows; zero: no row says
	rows  []int
	seen  bool
}

func newReceiver(f *File) *receiver {
	v := &receiver{rows: make(map[string]*receivedID, len(f.ids))}
	for _, r := range f.ids {
		id := v.rows[r.id]
		if id == nil {
			id = &receivedID{receiverRow: r, first: r.received}
			v.rows[r.id] = id
			v.order = append(v.order, id)
		}
		if !r.received.IsZero() && (id.first.IsZero() || r.received.Before(id.first)) {
			id.first = r.received
		}
		id.rows = append(id.rows, r.row)
	}
	return v
}

func (v *receiver) begin(context.Context, *engine) error { return nil }

func (v *receiver) see(e *engine, f *fact) {
	endpoint := e.rules.Endpoints[0]
	theirs := v.rows[f.ID]
	i := slices.IndexFunc(f.places, func(p place) bool { return p.endpoint == endpoint })
	if i < 0 {
		if theirs != nil {
			theirs.seen = true
			v.add(e, f, Finding{Kind: Extra, Rows: theirs.rows, Detail: "it was never sent to this endpoint"}, nil)
		}
		return
	}
	p := &f.places[i]
	status := "failed"
	if p.pending {
		status = "pending"
	}
	switch confirmed := len(p.confirmed) > 0; {
	case confirmed && theirs == nil:
		v.add(e, f, Finding{Kind: Missing, Detail: "the receiver confirmed it, and does not have it"}, p)
	case !confirmed && theirs == nil:
		v.add(e, f, Finding{Kind: Missing, Detail: "it was not delivered: " + status}, p)
	case !confirmed:
		v.add(e, f, Finding{Kind: Differs, Rows: theirs.rows, Detail: "the receiver has it, and never confirmed it",
			Differences: []Difference{{"status", status, "received"}}}, p)
	}
	var rows []int
	late, at := p.late, time.Time{}
	if p.late {
		at = p.confirmed[0].At
	}
	if theirs != nil {
		theirs.seen = true
		rows = theirs.rows
		if !theirs.first.IsZero() && e.isLate(f, theirs.first) {
			late, at = true, theirs.first
		}
	}
	if late {
		v.add(e, f, Finding{Kind: Late, Rows: rows,
			Detail: "the receiver got it " + at.Sub(f.ref).String() + " after it was due to count"}, p)
	}
	if len(p.confirmed) > 1 || len(rows) > 1 {
		v.add(e, f, Finding{Kind: Duplicate, Rows: rows, Detail: "the receiver has it " + strconv.Itoa(len(rows)) +
			" times, and confirmed it " + strconv.Itoa(len(p.confirmed)) + " times"}, p)
	}
}

func (v *receiver) add(e *engine, f *fact, found Finding, p *place) {
	found.In, found.EventID, found.Endpoint = domain.AgainstReceiver, f.ID, e.rules.Endpoints[0]
	found.Account, found.Proof = f.key, f.proof()
	if p != nil {
		found.Proof = f.proof(p.proof()...)
	}
	e.out.add(found)
}

// rest is what the receiver has and the period has not: other types and other periods are on the ledger too.
func (v *receiver) rest(ctx context.Context, e *engine) error {
	var left []*receivedID
	var ids []string
	for _, r := range v.order {
		if !r.seen {
			left, ids = append(left, r), append(ids, r.id)
		}
	}
	known, err := e.known(ctx, ids)
	if err != nil {
		return err
	}
	for _, r := range left {
		if known[r.id] {
			e.report.Outside += len(r.rows)
			continue
		}
		e.out.add(Finding{Kind: Extra, In: domain.AgainstReceiver, EventID: r.id, Endpoint: e.rules.Endpoints[0],
			Rows: r.rows, Detail: "the ledger has no such event", Proof: []string{r.id}})
	}
	return nil
}
