package simulation

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"hookledger/domain"
)

// order is what an ordered endpoint gets, in the order of the ledger.
type order struct {
	waits bool // behind an exhausted delivery
	queue []*delivered
}

// released says that d has ended, and nobody waits behind it.
func (d *delivered) released() bool {
	return d.Status.Terminal() && !(d.Status == domain.StatusExhausted && d.holds)
}

// inTurn checks that the attempt which the record starts comes in its turn: nothing else of the endpoint is under way,
// and nobody waits for anything before it.
func (w *witness) inTurn(r *domain.Record, d *delivered) {
	if d.line == nil || w.removed(d.endpoint) {
		return
	}
	for _, other := range d.line.queue {
		switch {
		case other == d:
		case other.Open != nil:
			w.breaks(r, "beside it %s is under way%s%s", other.id, other.story(), d.story())
		case other.place > d.place || other.released():
		case other.reopened.Equal(r.RecordedAt):
			// The line had gone on when a person reopened it, and d begins in that moment: docs/adr/0011. Had anything
			// still waited for it, or had time passed since, d would overtake it.
			w.crossed++
		default:
			w.breaks(r, "it overtakes %s, which is %s%s%s", other.id, other.Status, other.story(), d.story())
		}
	}
}

// stuck names the exhausted deliveries that hold up an ordered endpoint.
func (w *witness) stuck() []string {
	var ids []string
	for endpoint, o := range w.ordered {
		for _, d := range o.queue {
			if d.Status == domain.StatusExhausted && d.holds && !w.removed(endpoint) {
				ids = append(ids, d.id)
			}
		}
	}
	return ids
}

// story is what the ledger says of a delivery up to now, for whoever must find out what went wrong.
func (d *delivered) story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %s:", d.id)
	for _, r := range d.records {
		fact, err := json.Marshal(r.Fact)
		if err != nil {
			fact = []byte(err.Error())
		}
		fmt.Fprintf(&b, "\n    %d at %s by %s: %s %.200s", r.Position, r.RecordedAt.Format(time.StampMicro), r.Actor.Kind,
			r.Fact.RecordType(), fact)
	}
	return b.String()
}
