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
	// top is the highest name of the stream's family, empty if there is none; topped says that it was looked for.
	top    domain.Stream
	topped bool
}

// maxFrontiers bounds how many families of streams have a frontier.
const maxFrontiers = 4096

// heads are the heads of the streams that were appended to last, durable or not: every append behind position floor is
// in it. It is bounded, first in, first out. Only the committer uses it.
type heads struct {
	byStream map[domain.Stream]head
	// frontiers: of each family (category and tenant), a name above which there is no stream that byStream lacks. Ids
	// that sort by time make nearly every new stream the highest, so that nobody has to look for it.
	frontiers map[string]domain.Stream
	ring      []touched
	next      int
	floor     domain.Position
}

type touched struct {
	stream domain.Stream
	pos    domain.Position
}

func newHeads(size int, floor domain.Position) *heads {
	return &heads{byStream: make(map[domain.Stream]head), frontiers: make(map[string]domain.Stream),
		ring: make([]touched, size), floor: floor}
}

// family is the part of a stream's name that its category and tenant make.
func family(s domain.Stream) string {
	for i := range len(s) {
		if s[i] == '.' {
			return string(s[:i+1])
		}
	}
	return string(s)
}

// find gives the stream's head from the cache; from the lookup, if no newer append can have been forgotten; or from the
// frontier: a stream above it is none.
func (h *heads) find(stream domain.Stream, l lookup) (head, bool) {
	if at, ok := h.byStream[stream]; ok {
		return at, true
	}
	if l.known && l.asOf >= h.floor {
		if l.topped && len(h.frontiers) < maxFrontiers {
			h.frontiers[family(stream)] = l.top
		}
		return l.head, true
	}
	if top, ok := h.frontiers[family(stream)]; ok && stream > top {
		return head{rev: domain.NoStream}, true
	}
	return head{}, false
}

// knows says whether the family of the stream has a frontier; it does not say that the stream is above it.
func (h *heads) knows(stream domain.Stream) bool {
	_, ok := h.frontiers[family(stream)]
	return ok
}

func (h *heads) put(stream domain.Stream, at head) {
	h.byStream[stream] = at
	old := &h.ring[h.next]
	if old.pos != 0 {
		h.floor = old.pos
		if h.byStream[old.stream].pos == old.pos {
			delete(h.byStream, old.stream)
			if top, ok := h.frontiers[family(old.stream)]; ok && old.stream > top {
				h.frontiers[family(old.stream)] = old.stream
			}
		}
	}
	*old = touched{stream, at.pos}
	h.next = (h.next + 1) % len(h.ring)
}
