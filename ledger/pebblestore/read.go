package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"hookledger/domain"
)

// Bounds of what is read from Pebble at once. No iterator of Pebble's outlives a chunk, so a slow reader holds nothing.
const (
	chunkRecords = 512
	chunkBytes   = 1 << 20
)

// ReadAll implements ledger.Reader.
func (s *Store) ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		end := s.Head()
		if after >= end {
			if err := s.usable(ctx); err != nil {
				yield(nil, err)
			}
			return
		}
		for pos := after + 1; pos <= end; {
			if err := s.usable(ctx); err != nil {
				yield(nil, fmt.Errorf("read from position %d: %w", pos, err))
				return
			}
			for range chunkRecords {
				rec := s.tail.get(pos)
				if rec == nil || pos > end {
					break
				}
				if !yield(rec, nil) {
					return
				}
				pos++
			}
			if pos > end {
				return
			}
			if s.tail.get(pos) != nil {
				continue
			}
			chunk, err := s.readChunk(pos, end)
			for _, rec := range chunk {
				if !yield(rec, nil) {
					return
				}
				pos = rec.Position + 1
			}
			if err != nil {
				yield(nil, fmt.Errorf("read from position %d: %w", pos, damaged(err)))
				return
			}
		}
	}
}

// ReadStream implements ledger.Reader.
func (s *Store) ReadStream(ctx context.Context, stream domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		fail := func(err error) { yield(nil, fmt.Errorf("read %s: %w", stream, damaged(err))) }
		if err := s.usable(ctx); err != nil {
			fail(err)
			return
		}
		spans, err := s.spans(stream, from, s.Head())
		if err != nil {
			fail(err)
			return
		}
		var buf []*domain.Record
		for _, at := range spans {
			if err := s.usable(ctx); err != nil {
				fail(err)
				return
			}
			if buf, err = s.readSpan(buf[:0], at); err != nil {
				fail(err)
				return
			}
			for i, rec := range buf {
				rev := at.rev + domain.Revision(i)
				if rec.Stream != stream || rec.Revision != rev {
					fail(fmt.Errorf("position %d holds revision %d of %s where revision %d is due: %w", rec.Position,
						rec.Revision, rec.Stream, rev, errDamaged))
					return
				}
				if rev >= from && !yield(rec, nil) {
					return
				}
			}
		}
	}
}

// closeIter closes an iterator that err may have come from: Close says that error once more.
func closeIter(it *pebble.Iterator, err error) error {
	closed := it.Close()
	if err != nil {
		return err
	}
	return closed
}

// usable says whether a read may go on.
func (s *Store) usable(ctx context.Context) error {
	select {
	case <-s.ended:
		return s.closedError()
	default:
		return ctx.Err()
	}
}

// enter keeps the store open while Pebble is read; the caller must leave.
func (s *Store) enter() error {
	s.reading.RLock()
	if s.closed {
		s.reading.RUnlock()
		return s.closedError()
	}
	return nil
}

func (s *Store) leave() { s.reading.RUnlock() }

// readChunk reads records from position pos on, at most up to end, from Pebble: at least one, or an error.
func (s *Store) readChunk(pos, end domain.Position) (out []*domain.Record, err error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: appendRecordsKey(nil, 0),
		UpperBound: appendRecordsKey(nil, end+1),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = closeIter(it, err) }()

	bytes, due := 0, pos
	for ok := it.SeekLT(appendRecordsKey(nil, pos+1)); ok; ok = it.Next() {
		first, err := recordsPosition(it.Key())
		if err != nil {
			return out, err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return out, err
		}
		count, err := valueCount(value)
		if err != nil {
			return out, err
		}
		after := first + domain.Position(count)
		if first > due || after <= due || len(out) > 0 && first != due {
			return out, fmt.Errorf("position %d is missing: %w", due, errDamaged)
		}
		if out, err = readValue(out, value, first, due); err != nil {
			return out, err
		}
		due = after
		bytes += len(value)
		if due > end || len(out) >= chunkRecords || bytes >= chunkBytes {
			return out, nil
		}
	}
	if err := it.Error(); err != nil {
		return out, err
	}
	return out, fmt.Errorf("position %d is missing: %w", due, errDamaged)
}

// readSpan reads one append's records, from the tail if it has them all.
func (s *Store) readSpan(out []*domain.Record, at span) ([]*domain.Record, error) {
	for i := range at.count {
		rec := s.tail.get(at.pos + domain.Position(i))
		if rec == nil {
			break
		}
		out = append(out, rec)
	}
	if len(out) == at.count {
		return out, nil
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	value, closer, err := s.db.Get(appendRecordsKey(nil, at.pos))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("position %d is missing: %w", at.pos, errDamaged)
	}
	if err != nil {
		return nil, err
	}
	out, err = readValue(out[:0], value, at.pos, at.pos)
	if err = errors.Join(err, closer.Close()); err != nil {
		return nil, err
	}
	if len(out) != at.count {
		return nil, fmt.Errorf("position %d holds %d records, not %d: %w", at.pos, len(out), at.count, errDamaged)
	}
	return out, nil
}

// spans finds the stream's appends that hold revision from or later ones, in order, up to the durable mark.
func (s *Store) spans(stream domain.Stream, from domain.Revision, durable domain.Position) ([]span, error) {
	var out []span
	err := s.newestFirst(stream, func(at span) bool {
		if at.lastRev() < from {
			return false
		}
		if at.lastPos() <= durable {
			out = append(out, at)
		}
		return at.rev > from
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(out)
	for i := range out {
		if i > 0 && out[i].rev != out[i-1].lastRev()+1 {
			return nil, fmt.Errorf("revision %d is missing: %w", out[i-1].lastRev()+1, errDamaged)
		}
	}
	if len(out) > 0 && out[0].rev > max(from, 0) {
		return nil, fmt.Errorf("revision %d is missing: %w", max(from, 0), errDamaged)
	}
	return out, nil
}

// lookHead finds where the stream ends, durable or not. fresh says that there is probably no such stream: the answer is
// then one point lookup.
func (s *Store) lookHead(stream domain.Stream, fresh bool) (head, error) {
	if fresh {
		if _, there, err := s.firstSpan(stream); err != nil || !there {
			return head{rev: domain.NoStream}, err
		}
	}
	at := head{rev: domain.NoStream}
	err := s.newestFirst(stream, func(last span) bool {
		at = head{rev: last.lastRev(), pos: last.lastPos()}
		return false
	})
	return at, err
}

// newestFirst hands the stream's appends to fn, the newest first, until fn says no.
func (s *Store) newestFirst(stream domain.Stream, fn func(span) bool) error {
	more, err := s.laterSpans(stream, fn)
	if err != nil || !more {
		return err
	}
	first, there, err := s.firstSpan(stream)
	if err == nil && there {
		fn(first)
	}
	return err
}

func (s *Store) laterSpans(stream domain.Stream, fn func(span) bool) (more bool, err error) {
	if err := s.enter(); err != nil {
		return false, err
	}
	defer s.leave()
	name := appendStreamKey(make([]byte, 0, len(stream)+2), stream)
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: append(name, streamEnd),
		UpperBound: append(slices.Clone(name), streamEnd+1),
	})
	if err != nil {
		return false, err
	}
	defer func() { err = closeIter(it, err) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return false, err
		}
		at, err := readSpan(it.Key()[len(name):], value)
		if err != nil {
			return false, err
		}
		if !fn(at) {
			return false, nil
		}
	}
	return true, it.Error()
}

func (s *Store) firstSpan(stream domain.Stream) (span, bool, error) {
	if err := s.enter(); err != nil {
		return span{}, false, err
	}
	defer s.leave()
	value, closer, err := s.db.Get(appendStreamKey(make([]byte, 0, len(stream)+1), stream))
	if errors.Is(err, pebble.ErrNotFound) {
		return span{}, false, nil
	}
	if err != nil {
		return span{}, false, err
	}
	at, err := readSpan(nil, value)
	return at, err == nil, errors.Join(err, closer.Close())
}

// topOf finds the highest stream of a family, durable or not; empty if there is none.
func (s *Store) topOf(family string) (top domain.Stream, err error) {
	if err := s.enter(); err != nil {
		return "", err
	}
	defer s.leave()
	lower := appendStreamKey(nil, domain.Stream(family))
	upper := slices.Clone(lower)
	upper[len(upper)-1]++
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return "", err
	}
	defer func() { err = closeIter(it, err) }()
	if !it.Last() {
		return "", it.Error()
	}
	name, _, _ := bytes.Cut(it.Key()[1:], []byte{streamEnd})
	return domain.Stream(name), nil
}
