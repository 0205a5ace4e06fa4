package eventstore

import (
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// tail holds the newest records, so that who reads at the ledger's end asks the server for nothing. It has every record
// behind base, up to high, in order. The feed writes it; readers, any number of them, take what they want.
type tail struct {
	maxRecords int
	maxBytes   int64
	moved      ledger.Signal // high has moved

	mu    sync.RWMutex
	ring  []held          // guarded by mu; sorted by position
	base  domain.Position // guarded by mu: what is at or below it is not held
	high  mark            // guarded by mu
	bytes int64           // guarded by mu
}

// held is a record and about what it takes in memory.
type held struct {
	rec  *domain.Record
	size int
}

// mark is a record's place, and its id, by which it can be told whether it is still the same one.
type mark struct {
	pos domain.Position
	id  ulid.ULID
}

func newTail(t tuning, from mark) *tail {
	return &tail{maxRecords: t.tailRecords, maxBytes: t.tailBytes, base: from.pos, high: from}
}

// put takes the next record. One at or below high was there already.
func (t *tail) put(rec *domain.Record, size int) {
	t.mu.Lock()
	if rec.Position <= t.high.pos {
		t.mu.Unlock()
		return
	}
	t.ring = append(t.ring, held{rec, size})
	t.bytes += int64(size)
	t.high = mark{rec.Position, rec.ID}
	drop := 0
	for drop < len(t.ring)-1 && (len(t.ring)-drop > t.maxRecords || t.bytes > t.maxBytes) {
		t.base = t.ring[drop].rec.Position
		t.bytes -= int64(t.ring[drop].size)
		t.ring[drop] = held{}
		drop++
	}
	t.ring = t.ring[drop:]
	t.mu.Unlock()
	t.moved.Fire()
}

// end is the last record that the tail has got.
func (t *tail) end() mark {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.high
}

// after appends the records behind the position to out, as many as it has room for. It is false if they are not all
// held: then they are to be read from the server.
func (t *tail) after(pos domain.Position, out []*domain.Record) ([]*domain.Record, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if pos < t.base {
		return out, false
	}
	i, there := slices.BinarySearchFunc(t.ring, pos, func(h held, pos domain.Position) int {
		switch {
		case h.rec.Position < pos:
			return -1
		case h.rec.Position > pos:
			return 1
		}
		return 0
	})
	if there {
		i++
	}
	for ; i < len(t.ring) && len(out) < cap(out); i++ {
		out = append(out, t.ring[i].rec)
	}
	return out, true
}
