package pebblestore

import (
	"math/bits"
	"sync/atomic"

	"hookledger/domain"
)

// tail holds the newest records, so that who follows the ledger at its end reads neither Pebble nor decodes. It is a
// ring by position. The committer writes it, ahead of the durable mark; readers, any number of them, take only what
// stands at or below the mark.
type tail struct {
	slots []atomic.Pointer[domain.Record]
	mask  uint64

	// The committer's own.
	sizes    []int32
	low      domain.Position // the oldest that is held
	bytes    int64
	maxBytes int64
}

func newTail(records int, maxBytes int64, next domain.Position) *tail {
	n := 1 << bits.Len(uint(max(records, 1)-1))
	return &tail{slots: make([]atomic.Pointer[domain.Record], n), mask: uint64(n - 1), sizes: make([]int32, n), low: next,
		maxBytes: maxBytes}
}

// get gives the record at the position, or nil if it is not held.
func (t *tail) get(pos domain.Position) *domain.Record {
	if r := t.slots[uint64(pos)&t.mask].Load(); r != nil && r.Position == pos {
		return r
	}
	return nil
}

// put takes an append's records, which follow on the ones before, and their size together.
func (t *tail) put(records []domain.Record, size int) {
	each := int32(size/len(records)) + 1
	for i := range records {
		r := &records[i]
		for t.low < r.Position && (t.bytes+int64(each) > t.maxBytes || uint64(r.Position-t.low) >= uint64(len(t.slots))) {
			t.drop()
		}
		at := uint64(r.Position) & t.mask
		t.slots[at].Store(r)
		t.sizes[at] = each
		t.bytes += int64(each)
	}
}

func (t *tail) drop() {
	at := uint64(t.low) & t.mask
	t.bytes -= int64(t.sizes[at])
	t.sizes[at] = 0
	t.slots[at].Store(nil)
	t.low++
}
