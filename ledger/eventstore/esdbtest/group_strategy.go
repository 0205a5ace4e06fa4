package esdbtest

import (
	"encoding/json"
	"strings"
)

// strategy says which consumer gets a message. It is guarded by its group's lock.
type strategy interface {
	// pick gives the consumer for a message, nil if the one that must have it has no room, and full if nobody has.
	pick(consumers []*consumer, m *message) (c *consumer, full bool)
	// skips says whether a message that nobody took lets those behind it pass.
	skips() bool
	// joined is told of the consumers when the last of them came, left when one went.
	joined(consumers []*consumer)
	left(gone *consumer, consumers []*consumer)
}

// The consumer strategies of a real server, by their names in requests.
const (
	roundRobin          = "RoundRobin"
	dispatchToSingle    = "DispatchToSingle"
	pinned              = "Pinned"
	pinnedByCorrelation = "PinnedByCorrelation"
)

// newStrategy gives nil for a name that is none.
func newStrategy(name string, e *engine) strategy {
	switch name {
	case roundRobin:
		return &inTurn{}
	case dispatchToSingle:
		return &inTurn{stay: true}
	case pinned:
		return &byKey{key: func(m *message) string { return sourceOf(e, m) }, buckets: map[string]int{}}
	case pinnedByCorrelation:
		return &byKey{key: func(m *message) string { return correlationOf(e, m) }, buckets: map[string]int{}}
	}
	return nil
}

// inTurn goes round the consumers: with each message, or, to stay, only when one has no more room.
type inTurn struct {
	stay bool
	turn int
}

func (s *inTurn) pick(consumers []*consumer, _ *message) (*consumer, bool) {
	for range consumers {
		c := consumers[s.turn%len(consumers)]
		if !s.stay || c.room <= 0 {
			s.turn = (s.turn + 1) % len(consumers)
		}
		if c.room > 0 {
			return c, false
		}
	}
	return nil, true
}

func (s *inTurn) skips() bool                 { return false }
func (s *inTurn) joined([]*consumer)          {}
func (s *inTurn) left(*consumer, []*consumer) {}

// byKey gives all messages of a key to one consumer, for as long as it is there. Keys get buckets in the order in which
// they are first seen, so that a test knows who gets what; a real server hashes them.
type byKey struct {
	key     func(*message) string
	buckets map[string]int // of the keys seen
	owners  [1024]*consumer
}

func (s *byKey) pick(consumers []*consumer, m *message) (*consumer, bool) {
	full := true
	for _, c := range consumers {
		full = full && c.room <= 0
	}
	if full {
		return nil, true
	}
	key := s.key(m)
	bucket, known := s.buckets[key]
	if !known {
		bucket = len(s.buckets) % len(s.owners)
		s.buckets[key] = bucket
	}
	if c := s.owners[bucket]; c.room > 0 {
		return c, false
	}
	return nil, false
}

func (s *byKey) skips() bool { return true }

// joined gives the new consumer its share of the buckets, as much of each other's.
func (s *byKey) joined(consumers []*consumer) {
	n := len(consumers)
	for i := range s.owners {
		if i%n == n-1 {
			s.owners[i] = consumers[n-1]
		}
	}
}

// left deals out what the one that went had.
func (s *byKey) left(gone *consumer, consumers []*consumer) {
	next := 0
	for i, c := range s.owners {
		if c != gone {
			continue
		}
		s.owners[i] = nil
		if len(consumers) > 0 {
			s.owners[i] = consumers[next%len(consumers)]
			next++
		}
	}
}

// sourceOf is the stream that an event was written to, behind a link too.
func sourceOf(e *engine, m *message) string {
	target, link := e.resolve(m.event)
	if target != nil {
		return target.stream
	}
	_, stream, _ := strings.Cut(string(link.data), "@")
	return stream
}

// correlationOf is the event's $correlationId, or its stream if it has none.
func correlationOf(e *engine, m *message) string {
	if target, _ := e.resolve(m.event); target != nil {
		var meta struct {
			ID string `json:"$correlationId"`
		}
		if json.Unmarshal(target.meta, &meta) == nil && meta.ID != "" {
			return meta.ID
		}
	}
	return sourceOf(e, m)
}
