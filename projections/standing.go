package projections

import (
	"slices"

	"hookledger/domain"
)

// Standing says where a delivery stands that waits, as its row says. It says false where more is known than the row
// shows: the delivery does not wait any more, or is under way.
func (b *Backlog) Standing(ep domain.EndpointKey, delivery string) (domain.Standing, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := domain.Standing{Ahead: -1}
	q, it := b.queues[ep], b.items[delivery]
	switch {
	case it == nil || it.queue == nil || it.state == settled && it.pos <= b.rows:
		if q != nil && q.order.ordered {
			at.InOrder, at.Behind = true, q.holder(b.folded)
		}
		return at, true
	case it.state == settled || it.state == waiting && (it.open || it.stuck):
		return at, false
	case it.state == flying:
		at.Taken = true
		return at, !it.ended
	}
	at.DueAt, at.Returned = fromMicros(it.due), it.returned
	at.Ahead = q.before(it)
	if q.order.ordered && q.first(b.folded) != it {
		at.InOrder, at.Behind = true, q.holder(b.folded)
	}
	return at, true
}

// before is how many wait before the item, -1 where rows may hold some of them. In an ordered queue the one that is
// under way counts.
func (q *queue) before(it *item) int {
	p := it.place()
	if q.edged && !p.before(q.edge) {
		return -1
	}
	of := func(list []*item) int {
		n, _ := slices.BinarySearchFunc(list, p, func(a *item, p place) int { return a.place().compare(p) })
		return n
	}
	n := of(q.head) + of(q.fresh)
	if q.order.ordered {
		n += q.flying
	}
	return n
}

// holder is the delivery that an ordered queue waits for, empty where that is not known.
func (q *queue) holder(folded domain.Position) string {
	switch {
	case (q.flying > 0 || q.decided > folded) && q.last != nil:
		return q.last.id
	case q.flying > 0 || q.decided > folded || len(q.head) == 0:
		return ""
	}
	if i := slices.IndexFunc(q.head, func(it *item) bool { return it.open }); i >= 0 {
		return q.head[i].id
	}
	if q.blind() {
		return ""
	}
	return q.head[0].id
}
