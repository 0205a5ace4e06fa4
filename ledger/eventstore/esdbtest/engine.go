package esdbtest

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// The engine is the database without its network: one log of records, an index of it by stream, and signals for those
// who wait for more. All its methods may be called at once; none of them calls back, waits, or writes to a connection.
// Records are immutable and slices of them only grow at their end (a scavenge makes new ones), so what a method
// returns may be read for as long as one likes, without a lock.
//
//	append   writes to a stream, or says why not; see expected.go for who wins
//	delete   hides a stream (soft delete) or ends it for ever (tombstone)
//	stream   what can be seen of a stream now, with a channel that closes when it grows
//	after    what stands behind a position in the log, with a channel that closes when the log grows
//	forget   forgets what a real node has in memory only
type engine struct {
	clock func() time.Time

	mu      sync.Mutex
	log     []*event           // by position
	end     uint64             // the next record's position
	streams map[string]*stream // by name; a stream is never removed
	recent  idCache            // for appends with Any and StreamExists
	created int64              // of the newest record
	// scavenged holds the positions of records that are gone, ascending: one may still read from there.
	scavenged []uint64
	grew      signal // the log
}

// firstPosition is where the recorded server's first event stood: what lies before are records that no client ever
// sees.
const firstPosition = 548

func newEngine(clock func() time.Time) *engine {
	e := &engine{clock: clock, end: firstPosition, streams: map[string]*stream{}}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.write(e.at("$$$scavenges"), &newEvent{id: uuid.New(), typ: typeMetadata, json: true,
		data: []byte(`{"$maxAge":2592000,"$acl":{"$r":"$ops","$w":[],"$d":[],"$mr":[],"$mw":[]}}`)})
	return e
}

// event is a record of the log.
type event struct {
	stream   string
	revision uint64
	id       uuid.UUID
	typ      string
	json     bool // its content type is application/json; every other one reads back as application/octet-stream
	data     []byte
	meta     []byte
	created  int64  // 100 ns ticks since 1970
	position uint64 // commit and prepare position
	next     uint64 // the position of the record behind it
	hidden   bool   // the record of an append of no events: it has a position, and no reader sees it
}

// newEvent is an event that is to be appended.
type newEvent struct {
	id         uuid.UUID
	typ        string
	json       bool
	data, meta []byte
}

const (
	typeMetadata = "$metadata"
	typeDeleted  = "$streamDeleted"
	typeLink     = "$>"
)

// stream is guarded by the engine's lock.
type stream struct {
	name   string
	events []*event   // without gaps; the first is not revision 0 after a scavenge
	meta   streamMeta // parsed from the stream $$name
	tomb   *event     // its tombstone, which events has not
	grew   signal     // also fires on a change of its metadata, and on its deletion
}

// next is the revision that the next event gets.
func (s *stream) next() uint64 {
	if len(s.events) == 0 {
		return 0
	}
	return s.events[len(s.events)-1].revision + 1
}

// last is the stream's revision; -1 if it never had an event.
func (s *stream) last() int64 { return int64(s.next()) - 1 }

// find gives the event of that revision, visible or not; nil if there is none.
func (s *stream) find(revision uint64) *event {
	if len(s.events) == 0 || revision < s.events[0].revision || revision >= s.next() {
		return nil
	}
	return s.events[revision-s.events[0].revision]
}

// at gives the stream of that name, made if it is new. The caller holds the lock.
func (e *engine) at(name string) *stream {
	s := e.streams[name]
	if s == nil {
		s = &stream{name: name}
		e.streams[name] = s
	}
	return s
}

// write puts an event at the end of the log and of its stream. The caller holds the lock, and wakes.
func (e *engine) write(s *stream, n *newEvent) *event {
	r := e.record(s.name, s.next(), n)
	s.events = append(s.events, r)
	if of, ok := metadataOf(s.name); ok {
		target := e.at(of)
		target.meta = parseMetadata(n.data)
		target.grew.fire()
	}
	s.grew.fire()
	return r
}

// record puts a record at the end of the log. The caller holds the lock.
func (e *engine) record(stream string, revision uint64, n *newEvent) *event {
	e.created = max(e.created+1, e.clock().UnixNano()/100)
	r := &event{stream: stream, revision: revision, id: n.id, typ: n.typ, json: n.json, data: n.data, meta: n.meta,
		created: e.created, position: e.end}
	e.end += recordSize(r)
	r.next = e.end
	e.log = append(e.log, r)
	e.grew.fire()
	return r
}

// recordSize is what a record takes on a real server's disk, and so the distance to the next position.
func recordSize(r *event) uint64 {
	const fixed = 88
	return uint64(fixed + stringSize(r.stream) + stringSize(r.typ) + len(r.data) + len(r.meta))
}

// stringSize is a string's size with its length in front, 7 bits a byte.
func stringSize(s string) int {
	size := len(s) + 1
	for n := len(s) >> 7; n > 0; n >>= 7 {
		size++
	}
	return size
}

// forget drops what a real node loses when it restarts or another becomes the leader.
func (e *engine) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recent = idCache{}
}

// signal is a broadcast; its users hold the engine's lock.
type signal struct{ waiting chan struct{} }

func (s *signal) wait() <-chan struct{} {
	if s.waiting == nil {
		s.waiting = make(chan struct{})
	}
	return s.waiting
}

func (s *signal) fire() {
	if s.waiting != nil {
		close(s.waiting)
		s.waiting = nil
	}
}
