package pebblestore

import (
	"fmt"
	"sync"

	"hookledger/domain"
	"hookledger/ledger"
)

type verdict int

const (
	appended verdict = iota // last is the append's last record
	lost                    // the stream is not at the expected revision; last is its head
	unlooked                // the committer does not know the stream's head: look it up
)

// request is an append on its way. The appender fills it, the committer and the syncer answer it once, through done.
type request struct {
	stream   domain.Stream
	expected domain.Revision
	looked   lookup
	records  []domain.Record // a copy, for the tail, with revisions; the committer sets the positions
	value    []byte
	size     int

	verdict verdict
	topless bool // with unlooked: the committer has no frontier for the stream's family
	last    head
	done    chan struct{} // cap 1
}

// requestPool keeps requests for the next appends.
type requestPool struct{ pool sync.Pool }

func (p *requestPool) get() *request {
	if r, ok := p.pool.Get().(*request); ok {
		return r
	}
	return &request{done: make(chan struct{}, 1)}
}

// maxKept is the largest buffer that a request keeps for the next one, in bytes.
const maxKept = 64 << 10

// put takes a request back. Only who has taken its answer, or has not submitted it, may do so.
func (p *requestPool) put(r *request) {
	buf := r.value[:0]
	if cap(buf) > maxKept {
		buf = nil
	}
	*r = request{value: buf, done: r.done}
	p.pool.Put(r)
}

func (r *request) answer(v verdict, last head) {
	r.verdict, r.last = v, last
	r.done <- struct{}{}
}

// encode copies the records, so that the caller's stay as they are, and encodes them at the revisions that they will
// have.
func (r *request) encode(records []domain.Record) error {
	r.records = make([]domain.Record, len(records))
	copy(r.records, records)
	for i := range r.records {
		rec := &r.records[i]
		rec.Revision = r.expected + 1 + domain.Revision(i)
		rec.Position = 0
		rec.RecordedAt = rec.RecordedAt.Round(0).UTC() // as it is decoded
	}
	var err error
	if r.value, r.size, err = appendValue(r.value[:0], r.records); err != nil {
		return fmt.Errorf("%w: %w", ledger.ErrInvalid, err)
	}
	if r.size > domain.MaxAppend {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ledger.ErrTooLarge, r.size, domain.MaxAppend)
	}
	return nil
}
