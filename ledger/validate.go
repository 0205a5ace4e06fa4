package ledger

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// MaxStream bounds a stream's name, in bytes.
const MaxStream = 1 << 10

// Validate refuses, with ErrInvalid, what can't stand together on the stream; a store asks it before anything else.
func Validate(stream domain.Stream, expected domain.Revision, records []domain.Record) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("append to %q: %w: %s", stream, ErrInvalid, fmt.Sprintf(format, args...))
	}
	if !stream.Valid() || len(stream) > MaxStream {
		return refuse("the stream's name must be <category>-<tenant>.<id> and at most %d bytes", MaxStream)
	}
	for i := range len(stream) {
		if stream[i] < ' ' {
			return refuse("the stream's name has a control character")
		}
	}
	if !utf8.ValidString(string(stream)) {
		return refuse("the stream's name is not UTF-8")
	}
	if expected < domain.NoStream {
		return refuse("revision %d can't be expected", expected)
	}
	if len(records) == 0 {
		return refuse("there are no records")
	}
	for i := range records {
		switch rec := &records[i]; {
		case rec.ID == ulid.ULID{}:
			return refuse("record %d has no id", i)
		case rec.Stream != stream:
			return refuse("record %d is of stream %q", i, rec.Stream)
		case rec.Fact == nil:
			return refuse("record %d has no fact", i)
		}
	}
	if id, twice := repeated(records); twice {
		return refuse("record id %s is repeated", id)
	}
	return nil
}

// repeated finds an id that two of the records have.
func repeated(records []domain.Record) (ulid.ULID, bool) {
	const few = 8
	if len(records) <= few {
		for i := range records {
			for j := range i {
				if records[i].ID == records[j].ID {
					return records[i].ID, true
				}
			}
		}
		return ulid.ULID{}, false
	}
	seen := make(map[ulid.ULID]struct{}, len(records))
	for i := range records {
		if _, ok := seen[records[i].ID]; ok {
			return records[i].ID, true
		}
		seen[records[i].ID] = struct{}{}
	}
	return ulid.ULID{}, false
}

// Outcome names what an append came to, as stores label their metrics with it.
func Outcome(done Appended, err error) string {
	for _, o := range []struct {
		err  error
		name string
	}{
		{ErrConflict, "conflict"}, {ErrUnknownOutcome, "unknown"}, {ErrTooLarge, "too_large"}, {ErrInvalid, "invalid"},
		{ErrUnavailable, "unavailable"}, {ErrClosed, "closed"},
	} {
		if errors.Is(err, o.err) {
			return o.name
		}
	}
	switch {
	case err != nil:
		return "error"
	case done.Duplicate:
		return "duplicate"
	}
	return "appended"
}
