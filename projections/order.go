package projections

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hookledger/domain"
)

// order is how an endpoint's deliveries follow each other; the zero value: each when it is due.
type order struct {
	ordered bool // one after the other, as the ledger has them
	wait    bool // and behind an exhausted one the others wait
}

func orderOf(c *domain.EndpointConfig) order { return order{ordered: c.Ordered, wait: c.Waits()} }

// reorder takes in an endpoint's configuration. Where the order changes, all that waits is read from the rows anew, in
// the new order: from the record on, so that one configuration holds for each delivery.
func (b *Backlog) reorder(r *domain.Record, c *domain.EndpointConfig) {
	key, now := domain.EndpointKey{Tenant: r.Tenant, Endpoint: r.Stream.ID()}, orderOf(c)
	if b.orders[key] == now {
		return
	}
	b.orders[key] = now
	if now == (order{}) {
		delete(b.orders, key)
	}
	q := b.queues[key]
	if q == nil {
		return
	}
	head := slices.Concat(q.head, q.fresh)
	q.head, q.fresh, q.order = nil, nil, now
	for _, it := range head {
		it.fresh = false
		if it.open {
			q.insert(it)
			continue
		}
		it.pos = max(it.pos, r.Position)
		b.settle(it)
	}
	for _, it := range b.items {
		if it.queue == q && it.state == flying {
			it.stuck = it.stuck && now.wait
		}
	}
	q.edged, q.edge, q.behind, q.ahead = true, place{}, lost{}, lost{}
	q.since = r.Position
	b.schedule(q)
	signal(b.refill)
}

// over takes a delivery that has ended out of play, or puts it where others wait behind it.
func (b *Backlog) over(it *item) {
	if !it.stuck {
		b.settle(it)
		if it.queue != nil {
			b.schedule(it.queue)
		}
		return
	}
	it.due, it.row = it.next, 0
	it.open, it.returned, it.again, it.ended = false, false, false, false
	b.items[it.id] = it
	if b.keeps(it.queue, it.rowPlace()) {
		it.queue.insert(it)
		b.evict(it.queue)
	} else {
		b.leave(it)
	}
	b.schedule(it.queue)
}

// Blocked is the exhausted delivery that an ordered endpoint's others wait behind; the zero Blocked: they don't.
type Blocked struct {
	Delivery string
	Position domain.Position // where the ledger has its event
	Since    time.Time       // when it was exhausted
}

func (b *Blocked) by(d *DeliveryRow) bool { return b.Position > 0 && d.Routed > b.Position }

// Blocked says that an ordered endpoint's deliveries wait behind one that is exhausted.
func (b *Backlog) Blocked(tenant, endpoint string) (Blocked, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[domain.EndpointKey{Tenant: tenant, Endpoint: endpoint}]
	if q == nil || !q.order.wait || q.blind() {
		return Blocked{}, false
	}
	i := slices.IndexFunc(q.head, func(it *item) bool { return !it.open })
	if i < 0 || !q.head[i].stuck {
		return Blocked{}, false
	}
	first := q.head[i]
	return Blocked{first.id, first.line, fromMicros(first.due)}, true
}

// lag keeps an ordered queue from going on before the live fold has reached the position: what its last delivery came
// to stands at or below it.
func (b *Backlog) lag(q *queue, end domain.Position) {
	if !q.order.ordered {
		return
	}
	if q.decided = end; end > b.folded {
		b.lagging = append(b.lagging, q)
	}
	b.schedule(q)
}

// catchUp lets ordered queues go on for which the live fold has reached what they wait for.
func (b *Backlog) catchUp() {
	if len(b.lagging) == 0 {
		return
	}
	b.lagging = slices.DeleteFunc(b.lagging, func(q *queue) bool {
		if q.decided > b.folded {
			return false
		}
		b.schedule(q)
		return true
	})
}

func keyOf(r *domain.Record) domain.EndpointKey {
	return domain.EndpointKey{Tenant: r.Tenant, Endpoint: r.Stream.ID()}
}

// reorder takes in an endpoint's configuration, and says whether its order is another than before.
func (b *batch) reorder(r *domain.Record, c *domain.EndpointConfig) bool {
	key, now := keyOf(r), orderOf(c)
	was := b.orders[key]
	b.orders[key] = now
	if now == (order{}) {
		delete(b.orders, key)
	}
	return was != now
}

// holdsUp says whether a delivery ends with the record so that others may wait behind it. One that the receiver had
// confirmed holds nobody up: what failed is a repeat that a person forced.
func holdsUp(r *domain.Record) bool {
	f, ok := r.Fact.(*domain.DeliveryExhausted)
	return ok && !f.Confirmed
}

// inLine says of a delivery, as the record leaves it, whether it stands in the line of an ordered endpoint; ended says
// that it had ended before.
func (b *batch) inLine(d *deliveryState, r *domain.Record, ended bool) {
	if len(b.orders) == 0 && !d.line || d.replay != "" {
		return
	}
	o := b.orders[domain.EndpointKey{Tenant: d.Tenant, Endpoint: d.Endpoint}]
	switch {
	case d.Status != domain.StatusExhausted:
		d.line = o.ordered && d.dueAt() > 0
	case !ended:
		d.line = o.wait && holdsUp(r)
	}
}

// loadOrders reads the endpoints' orders from the configuration that the rows hold.
func (h *history) loadOrders(ctx context.Context) error {
	if h.orders != nil {
		return nil
	}
	b := batch{orders: map[domain.EndpointKey]order{}}
	err := scanConfig(ctx, h.db.write, func(r *domain.Record) {
		switch f := r.Fact.(type) {
		case *domain.EndpointRegistered:
			b.reorder(r, &f.Config)
		case *domain.EndpointReconfigured:
			b.reorder(r, &f.Config)
		case *domain.EndpointRemoved:
			delete(b.orders, keyOf(r))
		}
	})
	if err != nil {
		return fmt.Errorf("read the endpoints' orders: %w", err)
	}
	h.orders = b.orders
	return nil
}

// reorderEndpoint brings the rows of an endpoint, and those in the batch, into the order that it has from now on. Who
// stood in the line as exhausted leaves it, where nobody waits behind such any more.
func (h *history) reorderEndpoint(ctx context.Context, b *batch) (int, error) {
	r := b.reordered
	b.reordered = nil
	key := keyOf(r)
	o := b.orders[key]
	n, err := h.w.write(ctx, b)
	if err != nil {
		return 0, err
	}
	if err := h.w.reorder(ctx, key, o); err != nil {
		return 0, err
	}
	for _, d := range b.deliveries {
		if d != nil && d.Tenant == key.Tenant && d.Endpoint == key.Endpoint && d.replay == "" {
			d.line = o.ordered && d.dueAt() > 0 || o.wait && d.line && d.Status == domain.StatusExhausted
		}
	}
	return n, nil
}

func (w *writer) reorder(ctx context.Context, key domain.EndpointKey, o order) error {
	err := w.exec(ctx, "UPDATE deliveries SET line = ? WHERE tenant = ? AND endpoint_id = ? AND replay = '' "+
		"AND due_at > 0", o.ordered, key.Tenant, key.Endpoint)
	if err == nil && !o.wait {
		err = w.release(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("bring the deliveries of endpoint %s into order: %w", key.Endpoint, err)
	}
	return nil
}

// release takes the exhausted deliveries out of an endpoint's line.
func (w *writer) release(ctx context.Context, key domain.EndpointKey) error {
	return w.exec(ctx, "UPDATE deliveries SET line = 0 WHERE tenant = ? AND endpoint_id = ? AND line = 1 "+
		"AND due_at = 0", key.Tenant, key.Endpoint)
}
