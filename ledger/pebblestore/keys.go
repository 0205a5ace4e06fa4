package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"hookledger/domain"
	"hookledger/ledger"
)

// Keys. A stream's first append stands under its bare name, so that "is there such a stream" is one point lookup that
// bloom filters answer; later ones follow it, the newest first, so that a stream's head is one seek.
//
//	'r' position(8)              -> the append's records
//	's' stream                   -> span of the first append
//	's' stream 0x00 ^revision(8) -> span of a later append, by its first revision
const (
	kindRecords = 'r'
	kindStream  = 's'
	streamEnd   = 0x00
)

// valueVersion begins each append's value.
const valueVersion = 1

var errDamaged = errors.New("the data is damaged")

// span is one append's place: count records from revision rev of a stream, at positions from pos.
type span struct {
	rev   domain.Revision
	pos   domain.Position
	count int
}

func (s span) lastRev() domain.Revision { return s.rev + domain.Revision(s.count) - 1 }
func (s span) lastPos() domain.Position { return s.pos + domain.Position(s.count) - 1 }

func appendRecordsKey(b []byte, pos domain.Position) []byte {
	b = append(b, kindRecords)
	return binary.BigEndian.AppendUint64(b, uint64(pos))
}

func recordsPosition(key []byte) (domain.Position, error) {
	if len(key) != 9 || key[0] != kindRecords {
		return 0, fmt.Errorf("key %x: %w", key, errDamaged)
	}
	return domain.Position(binary.BigEndian.Uint64(key[1:])), nil
}

func appendStreamKey(b []byte, stream domain.Stream) []byte {
	b = append(b, kindStream)
	return append(b, stream...)
}

func appendSpanKey(b []byte, stream domain.Stream, rev domain.Revision) []byte {
	b = appendStreamKey(b, stream)
	if rev == 0 {
		return b
	}
	b = append(b, streamEnd)
	return binary.BigEndian.AppendUint64(b, ^uint64(rev))
}

func appendSpan(b []byte, s span) []byte {
	b = binary.AppendUvarint(b, uint64(s.pos))
	return binary.AppendUvarint(b, uint64(s.count))
}

// readSpan reads the span of the entry whose key, behind the stream's name, ends in suffix.
func readSpan(suffix, value []byte) (span, error) {
	var s span
	if len(suffix) > 0 {
		if len(suffix) != 9 || suffix[0] != streamEnd {
			return s, fmt.Errorf("index entry %x: %w", suffix, errDamaged)
		}
		s.rev = domain.Revision(^binary.BigEndian.Uint64(suffix[1:]))
	}
	pos, n := binary.Uvarint(value)
	if n <= 0 {
		return s, fmt.Errorf("index entry %x: %w", value, errDamaged)
	}
	count, m := binary.Uvarint(value[n:])
	if m <= 0 || n+m != len(value) || count == 0 || pos == 0 {
		return s, fmt.Errorf("index entry %x: %w", value, errDamaged)
	}
	s.pos, s.count = domain.Position(pos), int(count)
	return s, nil
}

// appendValue encodes records whose revisions are set: the version, the count, and for each record the lengths and
// bytes of its header and body. It also gives the size of the records alone.
func appendValue(b []byte, records []domain.Record) (out []byte, size int, err error) {
	b = append(b, valueVersion)
	b = binary.AppendUvarint(b, uint64(len(records)))
	const lengths = 8
	for i := range records {
		at := len(b)
		b = append(b, make([]byte, lengths)...)
		b = ledger.AppendHeader(b, &records[i])
		mid := len(b)
		if b, err = ledger.AppendBody(b, &records[i]); err != nil {
			return b, 0, err
		}
		binary.LittleEndian.PutUint32(b[at:], uint32(mid-at-lengths))
		binary.LittleEndian.PutUint32(b[at+4:], uint32(len(b)-mid))
		size += len(b) - at - lengths
	}
	return b, size, nil
}

// valueCount reads how many records a value holds, without decoding them.
func valueCount(value []byte) (int, error) {
	if len(value) == 0 || value[0] != valueVersion {
		return 0, fmt.Errorf("an append's value: %w", errDamaged)
	}
	count, n := binary.Uvarint(value[1:])
	if n <= 0 || count == 0 || count > uint64(len(value)) {
		return 0, fmt.Errorf("an append's value: %w", errDamaged)
	}
	return int(count), nil
}

// readValue decodes the records of a value that stands at pos and appends those from position from on to out.
func readValue(out []*domain.Record, value []byte, pos, from domain.Position) ([]*domain.Record, error) {
	count, err := valueCount(value)
	if err != nil {
		return out, err
	}
	_, n := binary.Uvarint(value[1:])
	rest := value[1+n:]
	for i := range count {
		if len(rest) < 8 {
			return out, fmt.Errorf("append at position %d: %w", pos, errDamaged)
		}
		h, b := uint64(binary.LittleEndian.Uint32(rest)), uint64(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		if h+b > uint64(len(rest)) {
			return out, fmt.Errorf("append at position %d: %w", pos, errDamaged)
		}
		if at := pos + domain.Position(i); at >= from {
			rec, err := ledger.Decode(rest[:h], rest[h:h+b])
			if err != nil {
				return out, fmt.Errorf("record at position %d: %w", at, err)
			}
			rec.Position = at
			out = append(out, rec)
		}
		rest = rest[h+b:]
	}
	if len(rest) > 0 {
		return out, fmt.Errorf("append at position %d: %w", pos, errDamaged)
	}
	return out, nil
}
