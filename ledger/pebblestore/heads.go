package pebblestore

import "hookledger/domain"

// head is where a stream ends: its last record, and no stream at NoStream.
type head struct {
	rev domain.Revision
	pos domain.Position
}

// lookup is what an appender found about its stream's head. It holds for the ledger up to position asOf; whether the
// stream has moved since, the heads know.
type lookup struct {
	known bool
	head  head
	asOf  domain.Position
}

// heads are the heads of the streams that were appended to last, durable or not: every append behind position floor is
// in it. It is bounded, first in, first out. Only the committer uses it.
type heads struct {
	byStream map[domain.Stream]head
	ring     []touched
	next     int
	floor    domain.Position
}

type touched struct {
	stream domain.Stream
	pos    domain.Position
}

func newHeads(size int, floor domain.Position) *heads {
	return &heads{byStream: make(map[domain.Stream]head), ring: make([]touched, size), floor: floor}
}

// find gives the stream's head from the cache, or from the lookup if no newer append can have been forgotten.
func (h *heads) find(stream domain.Stream, l lookup) (head, bool) {
	if at, ok := h.byStream[stream]; ok {
		return at, true
	}
	if l.known && l.asOf >= h.floor {
		return l.head, true
	}
	return head{}, false
}

func (h *heads) put(stream domain.Stream, at head) {
	h.byStream[stream] = at
	old := &h.ring[h.next]
	if old.pos != 0 {
		h.floor = old.pos
		if h.byStream[old.stream].pos == old.pos {
			delete(h.byStream, old.stream)
		}
	}
	*old = touched{stream, at.pos}
	h.next = (h.next + 1) % len(h.ring)
}
