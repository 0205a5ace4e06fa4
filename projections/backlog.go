package projections

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"hookledger/domain"
)

// Bounds of what the backlog holds in memory.
const (
	headSize  = 750              // waiting deliveries of one endpoint
	lowHead   = headSize / 4     // below this the head is filled again
	freshSize = 250              // and of those that came when the head was full
	horizon   = 60 * time.Second // what is due later is left to the rows
	// maxFading bounds the deliveries that are remembered only because the rows are behind: beyond it the live fold
	// waits for the rows.
	maxFading = 250_000
	// takeover is how long after its timeout an open attempt of which this node has no handler is offered.
	takeover = 30 * time.Second
)

// Backlog holds the deliveries that wait for an attempt: of each endpoint a bounded head in memory, the rest in rows.
// What the head lacks is read back from the rows; newer deliveries come from the live fold; none comes from both. All
// exported methods are safe for concurrent use and never block on I/O.
type Backlog struct {
	now      func() time.Time
	end      func() domain.Position // of the ledger
	changed  chan struct{}          // cap 1
	refill   chan struct{}          // cap 1: a queue may need rows
	headSize int
	low      int
	// freshSize is how many are held beside the head.
	freshSize int

	mu     sync.Mutex // guards what stands below, queues and items included
	queues map[domain.EndpointKey]*queue
	items  map[string]*item // by delivery
	wakes  wakes
	folded domain.Position // what the live fold has taken in
	rows   domain.Position // what the rows hold
	gone   []*queue        // of removed endpoints, until nothing refers to them
	doubts []doubt         // in about the order of their positions
	// fading are the settled items in about the order of their positions: once the rows have reached those, they are
	// forgotten.
	fading []*item
	// orphans wait for an attempt, and only their rows know where: by delivery.
	orphans map[string]orphan
	resting map[heldReplay]bool // replays whose deliveries wait for somebody
	orders  map[domain.EndpointKey]order
	lagging []*queue        // ordered, and waiting for the live fold
	reading bool            // rows are being read
	floor   domain.Position // of the rows, when that began
	faded   chan struct{}   // closed and made anew whenever the rows have moved on
}

// orphan is a delivery whose row is looked for.
type orphan struct {
	tenant string
	pos    domain.Position // that the rows must reach
}

// doubt is a settled item that waits again if nothing up to the position says otherwise.
type doubt struct {
	item  *item
	until domain.Position
}

func newBacklog(now func() time.Time, end func() domain.Position) *Backlog {
	return &Backlog{now: now, end: end, changed: make(chan struct{}, 1), refill: make(chan struct{}, 1),
		headSize: headSize, low: lowHead, freshSize: freshSize, queues: map[domain.EndpointKey]*queue{},
		items:   map[string]*item{},
		orphans: map[string]orphan{}, resting: map[heldReplay]bool{}, orders: map[domain.EndpointKey]order{},
		faded: make(chan struct{})}
}

// Changed signals, once for any number of changes, that Activate may give more.
func (b *Backlog) Changed() <-chan struct{} { return b.changed }

// Activate names the endpoints that came to hold something due and are not active yet, and makes them active. next is
// when the next one will, as far as it is known; zero: not known.
func (b *Backlog) Activate(now time.Time) (active []domain.EndpointKey, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.wakes) > 0 && b.wakes[0].wake <= now.UnixMicro() {
		q := heap.Pop(&b.wakes).(*queue)
		q.active = true
		active = append(active, q.key)
	}
	if len(b.wakes) > 0 {
		next = time.UnixMicro(b.wakes[0].wake)
	}
	return active, next
}

// Take gives the endpoint's earliest due delivery, and where that is late, every second time one that is not; it then
// is in flight until Return or Done. It says false when none is due or the endpoint is disabled: the endpoint then is
// inactive until Activate names it again.
func (b *Backlog) Take(ep domain.EndpointKey, now time.Time) (domain.Due, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[ep]
	if q == nil {
		return domain.Due{}, false
	}
	it := b.turnOf(q, now)
	if it == nil || it.due > now.UnixMicro() {
		q.active, q.onlyFresh = false, false
		b.schedule(q)
		return domain.Due{}, false
	}
	return b.take(q, it), true
}

// Return gives back a delivery that was not dealt with; it is due again at the time given, or when what was decided
// about it meanwhile says so.
func (b *Backlog) Return(d domain.Due, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.items[d.Delivery]
	if it == nil || it.state != flying {
		return
	}
	it.queue.flying--
	switch {
	case it.ended:
		b.over(it)
	case it.again:
		b.offer(it, it.next, it.pos)
	default:
		it.due, it.returned = dueMicros(at), true
		it.queue.insert(it)
		b.evict(it.queue)
		b.schedule(it.queue)
	}
}

// Done says that the delivery was dealt with and all that came of it is on the ledger; what follows comes by the fold.
func (b *Backlog) Done(d domain.Due) {
	end := b.end() // what the caller appended stands at or below it
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.items[d.Delivery]
	if it == nil || it.state != flying {
		return
	}
	it.queue.flying--
	switch {
	case it.again && end <= b.folded:
		b.offer(it, it.next, it.pos)
	case it.stuck:
		b.over(it)
	default:
		again := it.again
		it.pos = max(it.pos, end)
		b.settle(it)
		if again {
			b.doubt(it)
		}
	}
	b.lag(it.queue, end)
}

func (b *Backlog) queue(key domain.EndpointKey) *queue {
	q := b.queues[key]
	if q == nil {
		q = &queue{key: key, wakeIndex: -1}
		if key.Replay != "" {
			q.held = b.resting[heldReplay{key.Tenant, key.Replay}]
			own := b.queues[domain.EndpointKey{Tenant: key.Tenant, Endpoint: key.Endpoint}]
			q.disabled = own != nil && own.disabled
		} else {
			q.order = b.orders[key]
		}
		b.queues[key] = q
	}
	return q
}

// offer lets an item wait until due, which the record at pos said: in memory, or where that is not its place, in rows.
func (b *Backlog) offer(it *item, due int64, pos domain.Position) {
	it.due, it.row, it.pos = due, due, pos
	it.returned, it.again, it.ended, it.stuck = false, false, false, false
	b.items[it.id] = it
	if !it.open && !b.keeps(it.queue, it.rowPlace()) {
		b.leave(it)
		return
	}
	it.queue.insert(it)
	b.evict(it.queue)
	b.schedule(it.queue)
}

// keeps says whether the place is one that is held in memory.
func (b *Backlog) keeps(q *queue, p place) bool {
	return (!q.edged || p.before(q.edge)) && (q.order.ordered || p.at <= b.now().Add(horizon).UnixMicro())
}

// leave leaves an item to the rows.
func (b *Backlog) leave(it *item) {
	it.queue.lower(it.rowPlace())
	it.queue.miss(it.rowPlace(), it.pos, b.held())
	b.settle(it)
}

// held is the position that the rows have for certain, for whoever reads them now too.
func (b *Backlog) held() domain.Position {
	if b.reading {
		return b.floor
	}
	return b.rows
}

// evict leaves to the rows what the head has too much.
func (b *Backlog) evict(q *queue) {
	for i := len(q.head) - 1; i >= 0 && len(q.head) > b.headSize; i-- {
		if it := q.head[i]; !it.open {
			q.remove(it)
			b.leave(it)
		}
	}
}

// settle takes an item out of play; it is remembered until the rows show what it.pos says.
func (b *Backlog) settle(it *item) {
	it.state = settled
	it.again, it.ended, it.stuck = false, false, false
	b.items[it.id] = it
	if !it.fading {
		it.fading = true
		b.fading = append(b.fading, it)
	}
}

// schedule brings the queue's time of waking up to date.
func (b *Backlog) schedule(q *queue) {
	first := b.wakeOf(q)
	if first == nil {
		if q.wakeIndex >= 0 {
			heap.Remove(&b.wakes, q.wakeIndex)
		}
		return
	}
	switch wake := first.due; {
	case q.wakeIndex < 0:
		q.wake = wake
		heap.Push(&b.wakes, q)
	case q.wake != wake:
		q.wake = wake
		heap.Fix(&b.wakes, q.wakeIndex)
	default:
		return
	}
	signal(b.changed)
}

// advanced says that the rows have reached the position.
func (b *Backlog) advanced(pos domain.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = pos
	b.forget()
	b.drop()
	close(b.faded)
	b.faded = make(chan struct{})
	signal(b.refill)
}

// forget drops the settled items that the rows show.
func (b *Backlog) forget() {
	n := 0
	for ; n < len(b.fading); n++ {
		it := b.fading[n]
		if it.state == settled && it.pos > b.held() {
			break
		}
		it.fading = false
		if it.state == settled && b.items[it.id] == it {
			delete(b.items, it.id)
		}
	}
	clear(b.fading[:n])
	b.fading = b.fading[n:]
}

// room returns once there is room to fold more, for the live fold at the position: it waits for rows that are far
// behind.
func (b *Backlog) room(ctx context.Context, at domain.Position) error {
	for {
		b.mu.Lock()
		ok, faded := len(b.fading) < maxFading || b.rows >= at, b.faded
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-faded:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waitingInMemory is the number of waiting deliveries in memory.
func (b *Backlog) waitingInMemory() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, q := range b.queues {
		n += len(q.head) + len(q.fresh)
	}
	return n
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
