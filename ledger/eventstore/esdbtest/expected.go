package esdbtest

import "github.com/google/uuid"

// What an append or a delete expects of its stream: a revision, or one of these.
const (
	expectNoStream     = int64(-1)
	expectAny          = int64(-2)
	expectStreamExists = int64(-4)
)

// verdict is what comes of an append or a delete.
type verdict int

const (
	accepted verdict = iota // written
	repeated                // it had been written before: the same answer again, and nothing is written
	wrongRevision
	streamDeleted
)

// check decides on an append of these ids to a stream. Of a repeated one it gives the last event's revision.
//
// With a revision, or NoStream, the ids are compared with the events that stand there, for ever. With Any and
// StreamExists a bounded memory of recent ids is asked, which knows one stream per id. Nobody ever compares data or
// types. The caller holds the lock.
func (e *engine) check(s *stream, expected int64, ids []newEvent) (verdict, uint64) {
	if e.dead(s) {
		return streamDeleted, 0
	}
	current := s.last()
	if expected == expectStreamExists {
		if s.meta.softDeleted() {
			return streamDeleted, 0
		}
		if current < 0 && e.at(metadataStream(s.name)).last() < 0 {
			return wrongRevision, 0
		}
	}
	switch {
	case expected == expectAny || expected == expectStreamExists:
		return e.checkRecent(s, ids)
	case expected < current:
		return checkRepeat(s, expected, ids)
	case expected > current:
		return wrongRevision, 0
	}
	return accepted, 0
}

// checkRecent asks the memory of ids: the first id decides whether this is a repetition, the others must then be known
// too, in whichever order.
func (e *engine) checkRecent(s *stream, ids []newEvent) (verdict, uint64) {
	var last uint64
	for i := range ids {
		seen, ok := e.recent.get(ids[i].id)
		if !ok || seen.stream != s.name {
			if i == 0 {
				return accepted, 0
			}
			return wrongRevision, 0
		}
		last = seen.revision
	}
	if len(ids) == 0 {
		return accepted, 0
	}
	return repeated, last
}

// checkRepeat compares the ids with the events behind the expected revision, which is below the stream's.
func checkRepeat(s *stream, expected int64, ids []newEvent) (verdict, uint64) {
	for i := range ids {
		r := s.find(uint64(expected + 1 + int64(i)))
		if r != nil && r.id == ids[i].id {
			continue
		}
		if i == 0 && expected == expectNoStream && s.meta.softDeleted() {
			return accepted, 0 // a deleted stream begins anew
		}
		return wrongRevision, 0
	}
	if len(ids) == 0 {
		return wrongRevision, 0
	}
	return repeated, uint64(expected) + uint64(len(ids))
}

// dead says whether a stream, or the stream that it is the metadata of, is tombstoned. The caller holds the lock.
func (e *engine) dead(s *stream) bool {
	if s.tomb != nil {
		return true
	}
	of, ok := metadataOf(s.name)
	return ok && e.streams[of] != nil && e.streams[of].tomb != nil
}

// idCacheSize is about how many ids a real node remembers; the recorded one had forgotten after 150,000 further events.
const idCacheSize = 100_000

// idCache remembers the newest ids, first in, first out. Of an id that comes twice it keeps the first.
type idCache struct {
	at    map[uuid.UUID]seenAt
	order []uuid.UUID // a ring once it is full
	head  int         // the oldest of a full ring
}

type seenAt struct {
	stream   string
	revision uint64
}

func (c *idCache) get(id uuid.UUID) (seenAt, bool) {
	seen, ok := c.at[id]
	return seen, ok
}

func (c *idCache) put(r *event) {
	if c.at == nil {
		c.at = map[uuid.UUID]seenAt{}
	}
	if _, ok := c.at[r.id]; ok {
		return
	}
	c.at[r.id] = seenAt{r.stream, r.revision}
	if len(c.order) < idCacheSize {
		c.order = append(c.order, r.id)
		return
	}
	delete(c.at, c.order[c.head])
	c.order[c.head] = r.id
	c.head = (c.head + 1) % idCacheSize
}
