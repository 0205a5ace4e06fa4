package projections

import (
	"cmp"
	"slices"

	"hookledger/domain"
)

// place is a delivery's place among those that wait at an endpoint: by due time, or in an ordered queue by where the
// ledger has it, then by id. Rows are read in this order.
type place struct {
	at int64 // microseconds, or a position
	id string
}

func (p place) compare(o place) int {
	if c := cmp.Compare(p.at, o.at); c != 0 {
		return c
	}
	return cmp.Compare(p.id, o.id)
}

func (p place) before(o place) bool { return p.compare(o) < 0 }

type itemState uint8

const (
	waiting itemState = iota // in its queue's head
	flying                   // taken
	settled                  // not in memory any more; what its row says holds only if the rows have reached pos
)

// item is a delivery that the backlog knows of.
type item struct {
	queue *queue // nil where only the id is known
	id    string
	event string
	rev   domain.Revision
	line  domain.Position // of the record that routed it
	due   int64           // when it is to be offered
	row   int64           // the due time that its row has, once the rows reach pos
	pos   domain.Position // the last record that decided about it, 0 where that is at or below the rows
	state itemState
	// open: an attempt of it has no outcome. Its row does not wait, so that no refill brings it back: it is never evicted.
	open bool
	// returned: it was given back, and due is when the taker wants it again, not what its row says.
	returned bool
	// stuck: it is exhausted, and what stands behind it waits. It is never offered.
	stuck  bool
	fresh  bool // waits in its queue's fresh, and not in its head
	fading bool // in the backlog's fading
	// What was folded while it was flying; it holds once it comes back.
	ended bool // it has ended, or what follows is another's
	again bool // it waits again, at nextDue
	next  int64
}

func (i *item) place() place    { return i.queue.place(i.line, i.due, i.id) }
func (i *item) rowPlace() place { return i.queue.place(i.line, i.row, i.id) }

// lost says what was left to the rows before they had it: the first place, and the last position. Rows from that place
// on are complete once they have reached that position.
type lost struct {
	first place
	last  domain.Position // 0: nothing
}

// queue is what one endpoint's deliveries wait in. Invariant: of those that wait, every one whose row's place is before
// the edge is in memory (in head, or flying), all others are left to the rows, which are complete for any place before
// those of lost. Without an edge all are in memory.
type queue struct {
	key  domain.EndpointKey
	head []*item // in the order of their places
	// fresh are some that came when the head was full, in the order of their places: those that happen now need not
	// wait until all late ones are gone. They are behind the edge and in memory all the same, as open ones may be.
	fresh []*item
	turn  bool // the next one is taken from those that are not late
	edged bool
	edge  place
	// What was left to the rows at a position beyond them: behind keeps its last until the rows have passed it, while
	// ahead gathers what comes meanwhile; so a stream of new deliveries never puts off the refill for good.
	behind, ahead lost
	disabled      bool            // its endpoint is
	held          bool            // its replay is
	order         order           // of its endpoint; the zero value for a replay's
	flying        int             // deliveries that are taken
	last          *item           // in an ordered queue: that was taken last
	decided       domain.Position // in an ordered queue: until this is folded, it is not known who is first
	since         domain.Position // rows below it are of no use until they have reached it
	active        bool            // Activate has named it, and Take has not yet said false
	onlyFresh     bool            // its late ones must wait: it is active again for one that is not late
	wake          int64           // when it next has something due; holds while it is in the backlog's wakes
	wakeIndex     int             // in the backlog's wakes; -1: not there
}

// place is where a delivery stands in this queue.
func (q *queue) place(line domain.Position, due int64, id string) place {
	if q.order.ordered {
		return place{int64(line), id}
	}
	return place{due, id}
}

// rests says that nothing is taken from it for now.
func (q *queue) rests() bool { return q.disabled || q.held }

// insert puts an item into the head.
func (q *queue) insert(it *item) {
	it.state = waiting
	if n := len(q.head); n == 0 || q.head[n-1].place().before(it.place()) {
		q.head = append(q.head, it)
		return
	}
	at, _ := q.find(it)
	q.head = slices.Insert(q.head, at, it)
}

// remove takes a waiting item out of the head.
func (q *queue) remove(it *item) {
	if it.fresh {
		it.fresh = false
		if i := slices.Index(q.fresh, it); i > 0 {
			q.fresh = slices.Delete(q.fresh, i, i+1)
		} else {
			q.fresh[0] = nil
			q.fresh = q.fresh[1:]
		}
		return
	}
	if len(q.head) > 0 && q.head[0] == it {
		q.pop()
		return
	}
	if at, ok := q.find(it); ok {
		q.head = slices.Delete(q.head, at, at+1)
	}
}

// first is the first delivery of an ordered queue's line, nil where it is nobody's turn: while an attempt is under way,
// and while it is not known how the last one ended, or who stands before; folded is what the live fold has taken in.
func (q *queue) first(folded domain.Position) *item {
	if len(q.head) == 0 || q.flying > 0 || q.decided > folded {
		return nil
	}
	if i := slices.IndexFunc(q.head, func(it *item) bool { return it.open }); i >= 0 {
		return q.head[i] // of another node, or of a former life: it must end before anything else is sent
	}
	if q.head[0].stuck || q.blind() {
		return nil
	}
	return q.head[0]
}

// blind says that rows may hold deliveries before all that are in memory.
func (q *queue) blind() bool {
	return q.edged && (len(q.head) == 0 || !q.head[0].place().before(q.edge))
}

func (q *queue) pop() *item {
	it := q.head[0]
	q.head[0] = nil
	q.head = q.head[1:]
	return it
}

func (q *queue) find(it *item) (int, bool) {
	return slices.BinarySearchFunc(q.head, it.place(), func(a *item, p place) int { return a.place().compare(p) })
}

// lower moves the edge down to the place.
func (q *queue) lower(p place) {
	if !q.edged || p.before(q.edge) {
		q.edged, q.edge = true, p
	}
}

// miss notes that a delivery was left to rows that do not have it yet.
func (q *queue) miss(p place, pos, rows domain.Position) {
	if pos <= rows {
		return
	}
	if q.ahead.last == 0 || p.before(q.ahead.first) {
		q.ahead.first = p
	}
	q.ahead.last = max(q.ahead.last, pos)
	q.settle(rows)
}

// settle forgets what the rows have by now.
func (q *queue) settle(rows domain.Position) {
	for range 2 {
		if q.behind.last <= rows {
			q.behind, q.ahead = q.ahead, lost{}
		}
	}
}

// complete is the place up to which rows at the position are complete; false: all of them are.
func (q *queue) complete(rows domain.Position) (place, bool) {
	q.settle(rows)
	switch {
	case q.behind.last == 0:
		return place{}, false
	case q.ahead.last != 0 && q.ahead.first.before(q.behind.first):
		return q.ahead.first, true
	}
	return q.behind.first, true
}

// wakes orders the inactive queues by when they next have something due (container/heap).
type wakes []*queue

func (w wakes) Len() int           { return len(w) }
func (w wakes) Less(i, j int) bool { return w[i].wake < w[j].wake }
func (w wakes) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].wakeIndex, w[j].wakeIndex = i, j
}
func (w *wakes) Push(x any) {
	q := x.(*queue)
	q.wakeIndex = len(*w)
	*w = append(*w, q)
}
func (w *wakes) Pop() any {
	last := len(*w) - 1
	q := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	q.wakeIndex = -1
	return q
}
