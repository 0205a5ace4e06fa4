package eventstore

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// A position on the ledger is the commit position in $all, which is also the prepare position. 0 is where an event can
// stand in the log, and no record on a ledger: it stands for 1, where no event can be, for none is one byte long.

func positionOf(commit uint64) domain.Position { return domain.Position(max(commit, 1)) }

func logPosition(pos domain.Position) esdb.Position {
	if pos == 1 {
		pos = 0
	}
	return esdb.Position{Commit: uint64(pos), Prepare: uint64(pos)}
}

// encode makes events of records.
func encode(stream domain.Stream, expected domain.Revision, records []domain.Record) ([]esdb.EventData, error) {
	events := make([]esdb.EventData, len(records))
	const usual = 512
	buf := make([]byte, 0, usual*len(records))
	size := 0
	for i := range records {
		rec := &records[i]
		typ := rec.Fact.RecordType()
		if typ == "" || strings.HasPrefix(typ, "$") || !utf8.ValidString(typ) {
			return nil, fmt.Errorf("append to %s: %w: the server takes no event of type %q", stream, ledger.ErrInvalid, typ)
		}
		from := len(buf)
		var err error
		if buf, err = ledger.AppendData(buf, rec.Fact); err == nil {
			mid := len(buf)
			buf, err = ledger.AppendMetadata(buf, rec)
			// A later append to buf may move it; what was sliced stays where it was, and is not written again.
			events[i] = esdb.EventData{EventID: uuid.UUID(rec.ID), EventType: typ, ContentType: esdb.ContentTypeJson,
				Data: buf[from:mid:mid], Metadata: buf[mid:len(buf):len(buf)]}
		}
		if err != nil {
			return nil, fmt.Errorf("append to %s: %w: %w", stream, ledger.ErrInvalid, err)
		}
		const fixed = 200 // what the encoding has more than the parts, besides the names of stream and type
		size += len(buf) - from + fixed + 6*(len(stream)+len(typ))
	}
	return events, checkSize(stream, expected, records, size)
}

// checkSize refuses what is over domain.MaxAppend, measured as every store does: by the canonical encoding, which is
// larger than the parts that are sent. The server's own limit is as high, and does not count metadata. atMost is an
// estimate from above.
func checkSize(stream domain.Stream, expected domain.Revision, records []domain.Record, atMost int) error {
	if atMost <= domain.MaxAppend {
		return nil
	}
	size := 0
	var buf []byte
	for i := range records {
		rec := records[i]
		rec.Revision = expected + 1 + domain.Revision(i)
		buf = ledger.AppendHeader(buf[:0], &rec)
		var err error
		if buf, err = ledger.AppendBody(buf, &rec); err != nil {
			return fmt.Errorf("append to %s: %w: %w", stream, ledger.ErrInvalid, err)
		}
		size += len(buf)
	}
	if size > domain.MaxAppend {
		return fmt.Errorf("append to %s: %w: %d bytes, at most %d are allowed", stream, ledger.ErrTooLarge, size,
			domain.MaxAppend)
	}
	return nil
}

// decode makes a record of an event on one of our streams.
func decode(e *esdb.RecordedEvent) (*domain.Record, error) {
	if e.EventNumber > math.MaxInt64-1 {
		return nil, tampered(fmt.Sprintf("the stream %s was deleted", e.StreamID), restore)
	}
	rec := &domain.Record{ID: ulid.ULID(e.EventID), Stream: domain.Stream(e.StreamID),
		Revision: domain.Revision(e.EventNumber), Position: positionOf(e.Position.Commit)}
	if e.ContentType != "application/json" {
		return nil, foreign(e, fmt.Errorf("its content type is %s", e.ContentType))
	}
	if err := ledger.DecodeParts(rec, e.EventType, e.UserMetadata, e.Data); err != nil {
		return nil, foreign(e, err)
	}
	return rec, nil
}

func foreign(e *esdb.RecordedEvent, err error) error {
	return fmt.Errorf("%w: %w", tampered(fmt.Sprintf("event %s at position %d, revision %d of %s, is no record of hookledger",
		e.EventID, e.Position.Commit, e.EventNumber, e.StreamID),
		"nobody else may write to the ledger's streams: restore the database from a backup"), err)
}

// weight is about what a record takes in memory.
func weight(e *esdb.RecordedEvent) int {
	const envelope = 400
	return envelope + len(e.Data) + len(e.UserMetadata)
}
