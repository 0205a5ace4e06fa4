package ledgercopy

import (
	"context"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// maxMerge bounds the encoded records of one append. A store may put more around a record than is encoded here, so that
// a merged append stays well below domain.MaxAppend; a record that is larger by itself goes alone.
const maxMerge = domain.MaxAppend / 2

// Summary is what one reading of a whole ledger tells.
type Summary struct {
	LedgerID string // empty where there is no record
	Format   int
	Records  int64
	Bytes    int64 // of the records, encoded
	Appends  int64 // that a copy takes, neighbours of one stream put together
	Types    map[string]int64
	First    time.Time // when the first record was recorded
	Last     time.Time // and the last
	End      domain.Position
	Digest   Digest
}

// Survey reads a ledger from end to end. Progress, where it is not nil, is told the records read so far. It refuses a
// ledger that ledger.Identify refuses; a record that can't be read ends it.
func Survey(ctx context.Context, r ledger.Reader, progress func(records int64)) (Summary, error) {
	s := Summary{Types: map[string]int64{}}
	var err error
	if s.LedgerID, s.Format, err = ledger.Identify(ctx, r); err != nil || s.LedgerID == "" {
		return s, err
	}
	var e encoded
	var m merger
	sum := newSummer()
	for rec, err := range read(ctx, r, 0) {
		if err == nil {
			err = e.set(rec)
		}
		if err != nil {
			return s, err
		}
		sum.add(&e)
		if m.begins(rec, e.size()) {
			s.Appends++
		}
		if s.Records == 0 {
			s.First = rec.RecordedAt
		}
		s.Last, s.End = rec.RecordedAt, rec.Position
		s.Records++
		s.Bytes += int64(e.size())
		s.Types[rec.Fact.RecordType()]++
		if progress != nil {
			progress(s.Records)
		}
	}
	s.Digest = sum.digest()
	return s, nil
}

// merger says which neighbours go into one append.
type merger struct {
	stream domain.Stream
	size   int
}

// begins says whether the record, which comes next, begins an append.
func (m *merger) begins(r *domain.Record, size int) bool {
	if r.Stream == m.stream && m.size+size <= maxMerge {
		m.size += size
		return false
	}
	m.stream, m.size = r.Stream, size
	return true
}
