package ingest

import (
	"context"
	"sync"

	"hookledger/domain"
	"hookledger/ledger"
)

const (
	// aheadRecords is how many records are read on at once, and how near two misses must be to be one after the other.
	// Positions are not dense: how far that is, the distance between an event's own two records says.
	aheadRecords = 1024
	// aheadChunks are held at most: what was posted on many connections at once stands interleaved on the ledger, and is
	// asked for one post after the other. So far ahead of what was read a miss may be, to go on there.
	aheadChunks = 16
	// aheadBytes bounds what is held, by the size of the bodies and recordOverhead.
	aheadBytes     = 16 << 20
	recordOverhead = 1 << 10
	// Once half of the chunks are held, 1 in aheadShare of their events must have been asked for: else reading on does not
	// pay, and rests for aheadRest records.
	aheadShare = 16
	aheadRest  = 8 * aheadChunks * aheadRecords
)

// ahead reads on. Who works off a backlog asks for events about in the order in which the ledger has them; one
// sequential read then costs far less than a search for each. It holds records as they stand, sealed, and hands each
// out once. It is safe for concurrent use: whoever misses while one reads waits for what that one brings.
type ahead struct {
	reader ledger.Reader

	mu     sync.Mutex // guards all below
	held   map[bodyKey]heldRecord
	chunks []*chunk        // that were read, the oldest first
	bytes  int             // of all chunks
	last   domain.Position // of the last miss that was searched for
	next   domain.Position // where reading goes on; 0: it does not
	rest   domain.Position // up to here it does not begin again
}

type heldRecord struct {
	*domain.Record
	chunk *chunk
}

// chunk is what one read brought.
type chunk struct {
	events, left int // left: not asked for yet
	bytes        int
}

func newAhead(r ledger.Reader) *ahead { return &ahead{reader: r, held: map[bodyKey]heldRecord{}} }

// take gives the event's EventReceived if it was read, or is now: when most of the chunk before was asked for, a miss
// reads on.
func (a *ahead) take(ctx context.Context, k bodyKey) *domain.Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.pop(k)
	if r == nil && a.next != 0 && 2*a.newest().left <= a.newest().events {
		a.read(ctx)
		r = a.pop(k)
	}
	return r
}

func (a *ahead) pop(k bodyKey) *domain.Record {
	h, ok := a.held[k]
	if !ok {
		return nil
	}
	delete(a.held, k)
	h.chunk.left--
	return h.Record
}

// newest is the chunk that was read last; there is one while a.next is not 0.
func (a *ahead) newest() *chunk { return a.chunks[len(a.chunks)-1] }

// missed says where an event was that had to be searched for: at and routed are the positions of its first two records.
// A miss ahead of what was read goes on reading; where nothing was, two near each other begin it.
func (a *ahead) missed(ctx context.Context, at, routed domain.Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	within := func(p domain.Position, records domain.Position) bool { return at > p && (at-p)/records < routed-at }
	began := within(a.last, aheadRecords) && at > a.rest
	a.last = at
	switch {
	case a.next != 0 && at <= a.next:
		return // among what was read
	case a.next != 0 && within(a.next, aheadChunks*aheadRecords):
		if a.wasted() {
			a.next, a.rest = 0, at+aheadRest*(routed-at)
			return
		}
	case began:
		a.next = at
	default:
		return
	}
	a.read(ctx)
}

// wasted says that nearly nothing of what is held was asked for.
func (a *ahead) wasted() bool {
	events, left := 0, 0
	for _, c := range a.chunks {
		events, left = events+c.events, left+c.left
	}
	return len(a.chunks) >= aheadChunks/2 && (events-left)*aheadShare < events
}

// read brings the events of the next chunk. Reading on only saves searches: where it fails, whoever asks searches, and
// gets the ledger's error.
func (a *ahead) read(ctx context.Context) {
	c, n := &chunk{}, 0
	a.chunks = append(a.chunks, c)
	for r, err := range a.reader.ReadAll(ctx, a.next) {
		if err != nil {
			a.next = 0
			break
		}
		a.next = r.Position
		if f, ok := r.Fact.(*domain.EventReceived); ok {
			a.held[bodyKey{r.Tenant, r.Stream.ID()}] = heldRecord{r, c}
			c.events++
			c.bytes += f.Size + recordOverhead
		}
		if n++; n == aheadRecords || c.bytes >= aheadBytes/2 {
			break
		}
	}
	if c.events*8 < n || n == 0 {
		a.next = 0 // few events among the records, or the ledger's end: searching is cheaper
	}
	c.left = c.events
	a.bytes += c.bytes
	for len(a.chunks) > aheadChunks || len(a.chunks) > 1 && a.bytes > aheadBytes {
		a.forget()
	}
}

// forget drops what was not asked for of the oldest chunk.
func (a *ahead) forget() {
	old := a.chunks[0]
	a.chunks = append(a.chunks[:0], a.chunks[1:]...)
	a.bytes -= old.bytes
	if old.left == 0 {
		return
	}
	for k, h := range a.held {
		if h.chunk == old {
			delete(a.held, k)
		}
	}
}
