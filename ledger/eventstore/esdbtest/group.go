package esdbtest

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// group is a persistent subscription: one reader of a stream or of $all, whose events several consumers share. It keeps
// the order in which it first saw the events, hands each to one consumer, and knows it as done once it is acked,
// skipped or parked. Its checkpoint is the last event up to which all are done; what it knows of those above is in
// memory only, and gone when the node or its leadership is.
//
//	appeared   a new event was written             ack, nack   a consumer answered
//	join       a consumer came                     leave       it went, and what it had is another's
//	tick       once a second: timeouts and checkpoints
//	reset      the subscription starts again at its checkpoint, without consumers
//
// Its lock may be held while the engine's is taken, never the other way round.
type group struct {
	key    string // stream::name, as the names of its own streams have it
	stream string // "" for $all
	name   string
	filter filter // nil: every event; only for $all
	engine *engine
	clock  func() time.Time
	faults *Faults

	mu        sync.Mutex
	gone      bool // deleted
	settings  groupSettings
	start     groupStart
	consumers []*consumer
	strategy  strategy
	next      uint64                 // the next revision to read, or for $all the position behind the last one read
	behind    bool                   // the buffer overflowed, or nothing was read yet: read history before what is live
	buffer    []*message             // seen, and not sent yet
	retry     []*message             // to be sent again, before the buffer, in the order in which they were seen
	window    []*message             // all that were seen, from the first that is not done
	inFlight  map[uuid.UUID]*message // at a consumer
	seen      uint64                 // how many messages were seen
	done      uint64                 // how many left the window
	lastDone  *event                 // the one before the window
	mark      groupMark              // what is written as the checkpoint
	stats     groupStats
}

// message is an event on its way through a group.
type message struct {
	event    *event // as it stands in the stream or the log: a link, not what it points to
	order    uint64 // of all that the group saw; a parked one that is replayed has none
	replayed bool
	retries  int32
	done     bool
	expires  time.Time // while it is in flight
}

// groupSettings are a group's settings, as the client gave them.
type groupSettings struct {
	resolveLinks, extraStatistics        bool
	maxRetries                           int32
	minCheckpoint, maxCheckpoint         int32
	maxSubscribers                       int32 // 0: no limit
	liveBuffer, readBatch, historyBuffer int32
	messageTimeout, checkpointAfter      time.Duration
	strategy                             string
}

// groupMark is the checkpoint: how far a group was written down.
type groupMark struct {
	at   *event // nil: never
	done uint64 // the group's count when it was written
	time time.Time
}

// groupStats is what a group's info counts.
type groupStats struct {
	sent     int64
	measured int64     // of sent, when the info was last asked for
	since    time.Time // when that was
	live     int32     // events seen live, up to the size of the live buffer
	last     *event    // the last event seen
}

// begin sets the group to its checkpoint, or to its start if it has none, and reads. The caller holds the lock.
func (g *group) begin() {
	g.strategy = newStrategy(g.settings.strategy, g.engine)
	g.buffer, g.retry, g.window, g.lastDone = nil, nil, nil, nil
	g.inFlight = map[uuid.UUID]*message{}
	g.seen, g.done, g.behind = 0, 0, true
	g.mark.done, g.mark.time = 0, g.clock()
	g.stats = groupStats{since: g.clock(), last: g.stats.last}
	switch at := g.mark.at; {
	case at == nil:
		g.next = g.start.next
	case g.stream == "":
		g.next = at.position + 1
	default:
		g.next = at.revision + 1
	}
	g.push()
}

// reset is what a restart of the node, a new leader, or an update of the group does: the consumers are dropped, and
// what was acked above the checkpoint comes again.
func (g *group) reset(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return
	}
	g.drop(why)
	g.begin()
}

// remove ends the group, its consumers and its own streams.
func (g *group) remove(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	g.drop(why)
	for _, name := range []string{g.checkpointStream(), g.parkedStream()} {
		g.engine.delete(name, expectAny, false)
	}
}

// drop ends every consumer's call. The caller holds the lock.
func (g *group) drop(why error) {
	for _, c := range g.consumers {
		c.end(why)
	}
	g.consumers = nil
}

// appeared takes an event that was just written. Events come in the order of the log.
func (g *group) appeared(e *event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone || !g.wants(e) {
		return
	}
	g.stats.live = min(g.stats.live+1, g.settings.liveBuffer)
	g.stats.last = e
	if g.behind {
		return // it will be read
	}
	if len(g.buffer) >= int(g.settings.historyBuffer) {
		g.behind = true
		return
	}
	g.see(e)
	g.push()
}

// wants says whether an event is one of the group's that it did not see yet. The caller holds the lock.
func (g *group) wants(e *event) bool {
	switch {
	case e.hidden:
		return false
	case g.stream == "":
		return e.position >= g.next && (g.filter == nil || g.filter(e))
	default:
		return e.stream == g.stream && e.revision >= g.next
	}
}

// see puts an event into the buffer. The caller holds the lock.
func (g *group) see(e *event) {
	g.seen++
	m := &message{event: e, order: g.seen}
	g.buffer = append(g.buffer, m)
	g.window = append(g.window, m)
	g.stats.last = e
	if g.stream == "" {
		g.next = e.position + 1
	} else {
		g.next = e.revision + 1
	}
}

// read fills the buffer from history and says whether it got anything. Once it has reached the end, what is written
// comes by appeared. The caller holds the lock.
func (g *group) read() bool {
	room := int(g.settings.historyBuffer) - len(g.buffer)
	if room < int(g.settings.readBatch) {
		return false
	}
	var batch []*event
	var end bool
	if g.stream != "" {
		v := g.engine.look(g.stream)
		batch = v.from(g.next)
		end = len(batch) <= room
		batch = batch[:min(room, len(batch))]
	} else {
		batch, end = g.readAll(room)
	}
	for _, e := range batch {
		g.see(e)
	}
	g.behind = !end
	return len(batch) > 0
}

// readAll gives the next events of $all that the filter lets pass, and whether they are the last. The caller holds the
// lock.
func (g *group) readAll(room int) (batch []*event, end bool) {
	log, _ := g.engine.after(max(g.next, 1) - 1)
	for _, e := range log {
		if len(batch) == room {
			return batch, false
		}
		if g.wants(e) {
			batch = append(batch, e)
		}
	}
	return batch, true
}

// push gives the consumers what they have room for. The caller holds the lock.
func (g *group) push() {
	for {
		g.retry = g.offer(g.retry)
		if len(g.retry) == 0 || g.strategy.skips() {
			g.buffer = g.offer(g.buffer)
		}
		if !g.behind || !g.read() {
			return
		}
	}
}

// offer sends the messages in their order, and gives back those that nobody took. The caller holds the lock.
func (g *group) offer(queue []*message) []*message {
	var left []*message
	for i, m := range queue {
		c, full := g.strategy.pick(g.consumers, m)
		if full && left == nil {
			clear(queue[:i])
			return queue[i:]
		}
		if full {
			return append(left, queue[i:]...)
		}
		if c == nil {
			left = append(left, m)
			continue
		}
		g.send(c, m)
	}
	return left
}

// send hands a message to a consumer. Of two events with one id only the first is waited for: an ack names an id. The
// caller holds the lock.
func (g *group) send(c *consumer, m *message) {
	id := m.event.id
	g.stats.sent++
	if _, twice := g.inFlight[id]; twice {
		g.finish(m)
	} else {
		g.inFlight[id] = m
		m.expires = g.clock().Add(g.settings.messageTimeout)
	}
	c.take(m, g.settings.resolveLinks || m.replayed)
}

// finish takes a message out of the window. The caller holds the lock.
func (g *group) finish(m *message) {
	m.done = true
	n := 0
	for n < len(g.window) && g.window[n].done {
		n++
	}
	if n > 0 {
		g.lastDone = g.window[n-1].event
		g.done += uint64(n)
		clear(g.window[:n])
		g.window = g.window[n:]
	}
}

// free says that a message is not at its consumer any more. The caller holds the lock.
func (g *group) free(id uuid.UUID) {
	delete(g.inFlight, id)
	for _, c := range g.consumers {
		c.release(id)
	}
}

// again puts a message among those to be sent before all others, in the order in which they were seen; a replayed one
// comes behind them. The caller holds the lock.
func (g *group) again(m *message) {
	g.free(m.event.id)
	m.retries++
	at := len(g.retry)
	if !m.replayed {
		at = slices.IndexFunc(g.retry, func(o *message) bool { return o.replayed || o.order > m.order })
		if at < 0 {
			at = len(g.retry)
		}
	}
	g.retry = slices.Insert(g.retry, at, m)
}
