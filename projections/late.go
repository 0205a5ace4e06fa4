package projections

import (
	"cmp"
	"slices"
	"time"

	"hookledger/domain"
)

// After an outage, or when its health lets it go on, an endpoint has deliveries that were due long ago. They take turns
// with those that are due now, so that what happens after the outage needs not wait for all that happened in it.

// earliest is the delivery whose time comes first, nil where none waits in memory, or rows may have an earlier one.
func (q *queue) earliest() *item {
	fresh := len(q.fresh) > 0 && (!q.edged || q.fresh[0].place().before(q.edge))
	switch {
	case len(q.head) > 0 && (!fresh || q.head[0].place().before(q.fresh[0].place())):
		return q.head[0]
	case fresh:
		return q.fresh[0]
	}
	return nil
}

// earliestFresh is the delivery whose time comes first, of those that are not late.
func (q *queue) earliestFresh(now time.Time) *item {
	from := now.Add(-domain.LateAfter).UnixMicro()
	i, _ := slices.BinarySearchFunc(q.head, from, func(it *item, from int64) int { return cmp.Compare(it.due, from) })
	fresh, _ := slices.BinarySearchFunc(q.fresh, from, func(it *item, from int64) int { return cmp.Compare(it.due, from) })
	switch {
	case i == len(q.head) && fresh == len(q.fresh):
		return nil
	case fresh == len(q.fresh) || i < len(q.head) && q.head[i].place().before(q.fresh[fresh].place()):
		return q.head[i]
	}
	return q.fresh[fresh]
}

// turnOf is the delivery whose turn it is, nil for none; that it is due is not said.
func (b *Backlog) turnOf(q *queue, now time.Time) *item {
	switch {
	case q.rests():
		return nil
	case q.order.ordered:
		return q.first(b.folded)
	}
	it := q.earliest()
	if it == nil || it.due >= now.Add(-domain.LateAfter).UnixMicro() {
		return it
	}
	if q.turn = !q.turn; q.turn {
		if fresh := q.earliestFresh(now); fresh != nil && fresh.due <= now.UnixMicro() {
			return fresh
		}
	}
	return it
}

// wakeOf is the delivery for which the queue becomes active, nil for none.
func (b *Backlog) wakeOf(q *queue) *item {
	switch {
	case q.active || q.rests():
		return nil
	case !q.onlyFresh && !q.order.ordered:
		return q.earliest()
	}
	now := b.now()
	if !q.order.ordered {
		return q.earliestFresh(now)
	}
	it := q.first(b.folded)
	if it != nil && q.onlyFresh && it.due < now.Add(-domain.LateAfter).UnixMicro() {
		return nil
	}
	return it
}

// TakeFresh is Take for a delivery that is not late. Where there is none but late ones are, the endpoint is inactive
// until Activate names it for one that is not; Take may be asked before.
func (b *Backlog) TakeFresh(ep domain.EndpointKey, now time.Time) (d domain.Due, late, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[ep]
	if q == nil {
		return domain.Due{}, false, false
	}
	it := b.turnOf(q, now)
	if it != nil && it.due < now.Add(-domain.LateAfter).UnixMicro() {
		late = true
		if it = nil; !q.order.ordered {
			it = q.earliestFresh(now)
		}
	}
	if it == nil || it.due > now.UnixMicro() {
		q.active, q.onlyFresh = false, late
		b.schedule(q)
		return domain.Due{}, late, false
	}
	return b.take(q, it), false, true
}

// take takes a waiting delivery out of its queue.
func (b *Backlog) take(q *queue, it *item) domain.Due {
	q.remove(it)
	it.state = flying
	q.flying++
	q.active, q.onlyFresh = true, false
	if q.order.ordered {
		q.last = it
	}
	b.schedule(q)
	if q.edged && len(q.head) < b.low {
		signal(b.refill)
	}
	return domain.Due{Tenant: q.key.Tenant, Endpoint: q.key.Endpoint, Replay: q.key.Replay, Delivery: it.id,
		Event: it.event, DueAt: time.UnixMicro(it.due).UTC(), Revision: it.rev}
}

// takesFresh says whether a delivery is kept in memory that has no place in the head. Who became late there makes room.
func (b *Backlog) takesFresh(q *queue, due int64) bool {
	if q.order.ordered || q.key.Replay != "" || len(q.fresh) > 0 && due < q.fresh[len(q.fresh)-1].due {
		return false
	}
	if len(q.fresh) < b.freshSize {
		return true
	}
	first := q.fresh[0]
	if first.due >= b.now().Add(-domain.LateAfter).UnixMicro() {
		return false
	}
	q.remove(first)
	b.leave(first)
	return true
}

func (b *Backlog) keepFresh(it *item, due int64, pos domain.Position) {
	it.due, it.row, it.pos, it.state, it.fresh = due, due, pos, waiting, true
	b.items[it.id] = it
	q := it.queue
	at, _ := slices.BinarySearchFunc(q.fresh, it.place(), func(a *item, p place) int { return a.place().compare(p) })
	q.fresh = slices.Insert(q.fresh, at, it)
	b.schedule(q)
}
