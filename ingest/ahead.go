package ingest

import (
	"context"
	"math/bits"
	"sync"

	"hookledger/domain"
	"hookledger/ledger"
)

const (
	// aheadRecords is about how many records a region of the ledger has. Positions are not dense: how far that is, the
	// distance between an event's own two records says.
	aheadRecords = 1024
	// aheadBytes bounds what is held, by the size of the bodies and recordOverhead, and aheadChunks the reads that
	// brought it: what was posted on many connections at once stands interleaved on the ledger, among what became of it,
	// and is asked for one post after the other.
	aheadBytes     = 16 << 20
	aheadChunks    = 64
	recordOverhead = 1 << 10
	// leastMisses of one region make it worth reading; the number doubles, up to mostMisses, while less than 1 in
	// aheadWaste of what is held was asked for, once aheadJudge reads are held, and is leastMisses again when 1 in
	// aheadPays was.
	leastMisses = 2
	mostMisses  = 64
	aheadJudge  = 8
	aheadWaste  = 16
	aheadPays   = 4
	// aheadRegions bounds the regions whose misses are counted.
	aheadRegions = 256
)

// ahead reads regions of the ledger of which more than one event is asked for. Who works off a backlog asks for events
// about in the order in which the ledger has them; one sequential read then costs far less than a search for each. It
// holds records as they stand, sealed, and hands each out once. It is safe for concurrent use: whoever asks while one
// reads waits for what that one brings.
type ahead struct {
	reader ledger.Reader

	mu     sync.Mutex // guards all below
	held   map[bodyKey]heldRecord
	chunks []*chunk // that were read, the oldest first
	bytes  int      // of all chunks
	misses map[region]misses
	enough int // misses of a region
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

// region is the n-th part of the ledger of so many positions.
type region struct{ size, n domain.Position }

type misses struct {
	count int
	low   domain.Position // the lowest of them
}

func newAhead(r ledger.Reader) *ahead {
	return &ahead{reader: r, held: map[bodyKey]heldRecord{}, misses: map[region]misses{}, enough: leastMisses}
}

// take gives the event's EventReceived if it was read.
func (a *ahead) take(k bodyKey) *domain.Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pop(k)
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

// missed says where an event was that had to be searched for: at and routed are the positions of its first two records.
// When that was so for enough events near it, what stands there is read.
func (a *ahead) missed(ctx context.Context, k bodyKey, at, routed domain.Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pop(k) != nil || routed <= at {
		return // it was read while it was searched for, or the ledger is not as it must be
	}
	size := domain.Position(aheadRecords) << bits.Len64(uint64(routed-at-1)) // events of about one size share regions
	r := region{size, at / size}
	m, counted := a.misses[r]
	if m.count++; !counted || at < m.low {
		m.low = at
	}
	if m.count < a.enough {
		if !counted && len(a.misses) >= aheadRegions {
			clear(a.misses)
		}
		a.misses[r] = m
		return
	}
	delete(a.misses, r)
	after := m.low - 1 // positions to read behind are a record's, or right below one
	if dense := routed-at == 1; dense {
		after = max(r.n*size, 1) - 1
	}
	a.read(ctx, after, (r.n+1)*size)
	a.judge()
}

// read brings the events behind the one position and before the other. Reading on only saves searches: where it fails,
// whoever asks searches, and gets the ledger's error.
func (a *ahead) read(ctx context.Context, after, end domain.Position) {
	c := &chunk{}
	for r, err := range a.reader.ReadAll(ctx, after) {
		if err != nil || r.Position >= end || c.bytes >= aheadBytes/2 {
			break
		}
		if f, ok := r.Fact.(*domain.EventReceived); ok {
			a.held[bodyKey{r.Tenant, r.Stream.ID()}] = heldRecord{r, c}
			c.events++
			c.bytes += f.Size + recordOverhead
		}
	}
	c.left = c.events
	a.chunks = append(a.chunks, c)
	a.bytes += c.bytes
	for len(a.chunks) > aheadChunks || len(a.chunks) > 1 && a.bytes > aheadBytes {
		a.forget()
	}
}

// judge makes reading rarer where hardly anything that was read is asked for, and lets it be where it is.
func (a *ahead) judge() {
	events, left := 0, 0
	for _, c := range a.chunks {
		events, left = events+c.events, left+c.left
	}
	switch used := events - left; {
	case used*aheadPays >= events:
		a.enough = leastMisses
	case len(a.chunks) >= aheadJudge && used*aheadWaste < events:
		a.enough = min(2*a.enough, mostMisses)
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
