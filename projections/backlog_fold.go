package projections

import (
	"slices"
	"strings"
	"time"

	"hookledger/domain"
)

// fold takes in one record: what it says about who waits, and until when.
func (b *Backlog) fold(r *domain.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch f := r.Fact.(type) {
	case *domain.EventRouted:
		for i := range f.Matches {
			m := &f.Matches[i]
			b.routed(r, domain.EndpointKey{Tenant: r.Tenant, Endpoint: m.Endpoint}, m.Delivery, r.Stream.ID(),
				dueMicros(r.RecordedAt))
		}
	case *domain.AttemptStarted:
		b.started(r, time.Duration(f.Timeout))
	case *domain.RetryScheduled:
		b.waits(r, f.DueAt)
	case *domain.RetryRequested:
		b.waits(r, r.RecordedAt)
	case *domain.DeliverySucceeded, *domain.DeliveryExhausted, *domain.DeliveryCancelled:
		b.ends(r)
	case *domain.EndpointRegistered:
		b.reorder(r, &f.Config)
	case *domain.EndpointReconfigured:
		b.reorder(r, &f.Config)
	case *domain.EndpointDisabled, *domain.EndpointEnabled, *domain.EndpointRemoved:
		b.endpoint(r)
	case *domain.ReplayPageScheduled, *domain.ReplayPaused, *domain.ReplayResumed, *domain.ReplayCancelled,
		*domain.ReplayCompleted:
		b.replay(r)
	}
	b.folded = r.Position
	b.decide()
	b.catchUp()
}

func (b *Backlog) endpoint(r *domain.Record) {
	own := b.queue(domain.EndpointKey{Tenant: r.Tenant, Endpoint: r.Stream.ID()})
	if _, gone := r.Fact.(*domain.EndpointRemoved); gone {
		delete(b.orders, own.key)
	}
	for key, q := range b.queues {
		if key.Tenant != own.key.Tenant || key.Endpoint != own.key.Endpoint {
			continue // neither its own nor a replay's to it
		}
		switch r.Fact.(type) {
		case *domain.EndpointDisabled:
			q.disabled = true
		case *domain.EndpointEnabled:
			q.disabled = false
			signal(b.refill)
		case *domain.EndpointRemoved:
			b.removed(q, r.Position)
		}
		b.schedule(q)
	}
}

// doubt lets a settled item wait again, at it.next, unless a record up to it.pos says otherwise: its handler had
// appended up to there when it was done, and not all of that is folded.
func (b *Backlog) doubt(it *item) {
	it.again = true
	b.doubts = append(b.doubts, doubt{it, it.pos})
}

// decide offers those in doubt again about which nothing more was said.
func (b *Backlog) decide() {
	n := 0
	for ; n < len(b.doubts) && b.doubts[n].until <= b.folded; n++ {
		if it := b.doubts[n].item; it.state == settled && it.again {
			b.offer(it, it.next, it.pos)
		}
	}
	clear(b.doubts[:n])
	b.doubts = b.doubts[n:]
}

// routed: a delivery waits for its first attempt.
func (b *Backlog) routed(r *domain.Record, key domain.EndpointKey, delivery, event string, due int64) {
	q := b.queues[key]
	if q == nil {
		key.Replay = strings.Clone(key.Replay)
		q = b.queue(key)
	}
	if p := q.place(r.Position, due, delivery); !b.keeps(q, p) {
		// No row of it can be read before the rows have reached the record, so it needs not be remembered.
		if b.takesFresh(q, due) {
			b.keepFresh(newItem(r, q, delivery, event), due, r.Position)
			return
		}
		p.id = strings.Clone(delivery)
		q.lower(p)
		q.miss(p, r.Position, b.held())
		return
	}
	b.offer(newItem(r, q, delivery, event), due, r.Position)
}

func newItem(r *domain.Record, q *queue, delivery, event string) *item {
	both := delivery + event // one allocation, and the record itself is not held in memory
	return &item{queue: q, id: both[:len(delivery)], event: both[len(delivery):], rev: domain.NoStream, line: r.Position}
}

// started: an attempt is open. Where a handler of this node made it, the item is flying; else nobody here will close it
// before it must be over.
func (b *Backlog) started(r *domain.Record, timeout time.Duration) {
	it := b.known(r)
	if it.state == settled && it.pos >= r.Position {
		it.again = false
		return // its handler is done with it already, and what follows stands behind this record
	}
	it.open, it.rev = true, r.Revision
	switch over := dueMicros(r.RecordedAt.Add(timeout + takeover)); {
	case it.state == flying:
		it.pos, it.again, it.ended = r.Position, false, false
	case it.state == waiting && it.returned:
		it.pos = r.Position
	case it.state == waiting:
		it.queue.remove(it)
		b.offer(it, over, r.Position)
		b.schedule(it.queue)
	case it.queue == nil:
		b.orphan(it, r)
	default:
		b.offer(it, over, r.Position)
	}
}

// waits: the next attempt is due at the time.
func (b *Backlog) waits(r *domain.Record, at time.Time) {
	it, due := b.known(r), dueMicros(at)
	it.open, it.rev = false, r.Revision
	switch {
	case it.state == flying:
		it.pos, it.again, it.ended, it.next = r.Position, true, false, due
	case it.state == waiting:
		it.queue.remove(it)
		b.offer(it, due, r.Position)
		b.schedule(it.queue)
	case it.queue == nil:
		b.orphan(it, r)
	case it.pos > r.Position:
		it.next = due
		b.doubt(it)
	default:
		b.offer(it, due, r.Position)
	}
}

func (b *Backlog) ends(r *domain.Record) {
	it := b.known(r)
	it.open, it.rev = false, r.Revision
	it.pos = max(it.pos, r.Position)
	delete(b.orphans, it.id)
	stuck := holdsUp(r)
	it.next = dueMicros(r.RecordedAt)
	switch {
	case it.state == flying:
		it.again, it.ended, it.stuck = false, true, stuck && it.queue.order.wait
	case it.state == waiting:
		it.queue.remove(it)
		it.stuck = stuck && it.queue.order.wait
		b.over(it)
	case it.queue == nil && stuck && len(b.orders) > 0:
		b.orphan(it, r)
	default:
		it.stuck = stuck && it.queue != nil && it.queue.order.wait
		b.over(it)
	}
}

// known finds the delivery of a record, or makes an item of which only the id is known.
func (b *Backlog) known(r *domain.Record) *item {
	if it := b.items[r.Stream.ID()]; it != nil {
		return it
	}
	return &item{id: strings.Clone(r.Stream.ID()), state: settled}
}

// orphan keeps in mind that the delivery waits; where, its row will say.
func (b *Backlog) orphan(it *item, r *domain.Record) {
	it.pos = r.Position
	b.orphans[it.id] = orphan{strings.Clone(r.Tenant), r.Position}
	b.settle(it)
	signal(b.refill)
}

// removed ends what waits at an endpoint without an open attempt, as its rows are ended by the same record. What comes
// to wait there later is offered: its handler ends it.
func (b *Backlog) removed(q *queue, pos domain.Position) {
	head := slices.Concat(q.head, q.fresh)
	q.head, q.fresh, q.order = nil, nil, order{}
	for _, it := range head {
		it.fresh = false
		if it.open {
			q.insert(it)
			continue
		}
		it.pos = pos
		b.settle(it)
	}
	for _, it := range b.items {
		if it.queue == q && it.state == flying && !it.open {
			it.pos, it.again, it.ended = pos, false, true
		}
	}
	q.edged, q.edge, q.behind, q.ahead = false, place{}, lost{}, lost{}
	// What is routed here later, by a snapshot older than the removal, must come to a handler: nothing is held any more.
	q.disabled = false
	q.since = pos
	b.gone = append(b.gone, q)
}

// drop forgets the queues of removed endpoints that are as a new one would be, and that nothing refers to. b.mu is
// held.
func (b *Backlog) drop() {
	if len(b.gone) == 0 || b.reading {
		return
	}
	used := map[*queue]bool{}
	for _, it := range b.items {
		used[it.queue] = true
	}
	for _, d := range b.doubts {
		used[d.item.queue] = true
	}
	b.gone = slices.DeleteFunc(b.gone, func(q *queue) bool {
		q.settle(b.rows)
		if used[q] || q.since > b.rows || len(q.head) > 0 || len(q.fresh) > 0 || q.edged || q.active || q.wakeIndex >= 0 ||
			q.behind.last != 0 || q.ahead.last != 0 {
			return false
		}
		if b.queues[q.key] == q {
			delete(b.queues, q.key)
		}
		return true
	})
}
