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
	// aheadBytes bounds what is held, by the size of the bodies.
	aheadBytes = 16 << 20
	// aheadShare of a chunk's events must have been asked for, else reading on does not pay: 1 in aheadShare.
	aheadShare = 2
)

// ahead reads on. Who works off a backlog asks for events about in the order in which the ledger has them; one
// sequential read then costs far less than a search for each. It holds records as they stand, sealed, and hands each
// out once. It is safe for concurrent use: whoever misses while one reads waits for what that one brings.
type ahead struct {
	reader ledger.Reader

	mu    sync.Mutex // guards all below
	held  map[bodyKey]*domain.Record
	older map[bodyKey]*domain.Record // what was not asked for of the chunk before
	chunk int                        // events that the last read brought
	last  domain.Position            // of the last miss that was searched for
	next  domain.Position            // where reading goes on; 0: it does not
}

func newAhead(r ledger.Reader) *ahead {
	return &ahead{reader: r, held: map[bodyKey]*domain.Record{}, older: map[bodyKey]*domain.Record{}}
}

// take gives the event's EventReceived if it was read, or is now: when what was read before was mostly asked for, a
// miss reads on.
func (a *ahead) take(ctx context.Context, k bodyKey) *domain.Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.pop(k); r != nil || a.next == 0 || len(a.held) > a.chunk/aheadShare {
		return r
	}
	a.read(ctx)
	return a.pop(k)
}

func (a *ahead) pop(k bodyKey) *domain.Record {
	for _, held := range []map[bodyKey]*domain.Record{a.held, a.older} {
		if r, ok := held[k]; ok {
			delete(held, k)
			return r
		}
	}
	return nil
}

// missed says where an event was that had to be searched for: at and routed are the positions of its first two records.
// Two misses near each other start the reading on.
func (a *ahead) missed(ctx context.Context, at, routed domain.Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	near := at > a.last && (at-a.last)/aheadRecords < routed-at
	a.last = at
	if !near || a.next != 0 && at <= a.next {
		return // alone, or among what was read
	}
	a.next = at
	a.read(ctx)
}

// read brings the events of the next chunk; what was not asked for of the chunk before the last is forgotten. Reading
// on only saves searches: where it fails, whoever asks searches, and gets the ledger's error.
func (a *ahead) read(ctx context.Context) {
	a.held, a.older = a.older, a.held
	clear(a.held)
	a.chunk = 0
	n, bytes := 0, 0
	for r, err := range a.reader.ReadAll(ctx, a.next) {
		if err != nil {
			a.next = 0
			return
		}
		a.next = r.Position
		if f, ok := r.Fact.(*domain.EventReceived); ok {
			a.held[bodyKey{r.Tenant, r.Stream.ID()}] = r
			a.chunk++
			bytes += f.Size
		}
		if n++; n == aheadRecords || bytes >= aheadBytes {
			break
		}
	}
	if a.chunk*8 < n || n == 0 {
		a.next = 0 // few events among the records, or the ledger's end: searching is cheaper
	}
}
