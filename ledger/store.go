package ledger

import (
	"context"
	"errors"
	"iter"

	"hookledger/domain"
)

// Errors that callers branch on; a store wraps them with what it knows.
var (
	// ErrConflict: the stream is not at the expected revision, and the records are not the ones that stand there. What
	// the append lost to is durable when the error is returned. Load, decide again, append again.
	ErrConflict = errors.New("ledger: the stream has moved on")
	// ErrTooLarge: the append is over domain.MaxAppend. Nothing was written; repeating is useless.
	ErrTooLarge = errors.New("ledger: the append is too large")
	// ErrUnavailable: this call wrote nothing; the same append may succeed later. An earlier call whose outcome is
	// unknown stays unknown.
	ErrUnavailable = errors.New("ledger: the store is not available")
	// ErrUnknownOutcome: the append was written or not. Repeat it with the same ids and the same expected revision: the
	// answer is then the truth.
	ErrUnknownOutcome = errors.New("ledger: the outcome of the append is not known")
	// ErrPosition: the position to read behind is none that the ledger gave, or its record is gone.
	ErrPosition = errors.New("ledger: not a position of the ledger")
	// ErrClosed: the store was closed, or failed for good and must be opened anew.
	ErrClosed = errors.New("ledger: the store is closed")
	// ErrNewerFormat: the ledger, or the record that the error names, was written by a newer hookledger; nothing was
	// touched.
	ErrNewerFormat = errors.New("ledger: written by a newer hookledger")
	// ErrInvalid: the records can't stand together on the stream (none, another stream's, a zero or repeated id).
	ErrInvalid = errors.New("ledger: invalid append")
)

// Reader is the reading half of the port. It is safe for concurrent use. No read shows a record before it is durable.
//
// A store whose records stand elsewhere waits in ReadAll and Wait while it can't reach them, as long as ctx lives;
// ReadStream waits for some seconds, and then yields ErrUnavailable. A store that finds that records were taken out or
// changed behind its back says so and is of no more use: everything ends with ErrClosed and the reason.
type Reader interface {
	// ReadStream yields the stream's records in order, from revision from on (inclusive, 0 is the first). A stream that
	// does not exist yields nothing. It ends at what was durable when it was called or later. An error is yielded once,
	// last.
	ReadStream(ctx context.Context, stream domain.Stream, from domain.Revision) iter.Seq2[*domain.Record, error]
	// ReadAll yields every record after the position, which is exclusive, in the one global order: gap-free, without
	// repeats, ending at what was durable when it was called or later. An error is yielded once, last; the reader goes
	// on after the last record that it got. Records are shared and immutable.
	//
	// Positions are taken from the ledger: 0, a record's, the one right below a record's, or one behind the head. A
	// store may refuse any other with ErrPosition.
	ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error]
	// Wait returns nil as soon as there may be a record after the position; it may return early, never late. It
	// returns ctx's error, or ErrClosed.
	Wait(ctx context.Context, after domain.Position) error
	// Head is the position of the last durable record, 0 on an empty ledger. What an Append returned is at or below it.
	Head() domain.Position
}

// Store is the append-only store of records.
type Store interface {
	Reader
	// Append writes the records to the end of the stream, all or none, and returns once they are durable: they survive
	// the death of the process and of the machine's power at any later instant. expected is the revision of the
	// stream's last record, or domain.NoStream; there is no "any".
	//
	// It is idempotent: if the records' ids are the ones that stand on the stream right behind expected, whatever came
	// after them, the answer is the first one's, with Duplicate set, once those are durable. Records are not modified;
	// their Stream must be the stream's, Revision and Position are the store's to set and are ignored.
	//
	// A cancelled ctx ends the wait, not the write: the error then is ErrUnknownOutcome, or ErrUnavailable if nothing had
	// been begun. Errors: ErrConflict, ErrTooLarge, ErrInvalid, ErrUnavailable, ErrUnknownOutcome, ErrClosed. A store may
	// repeat an append by itself until ctx ends; once it has answered, only the caller does.
	Append(ctx context.Context, stream domain.Stream, expected domain.Revision, records []domain.Record) (Appended, error)
	// Close waits for appends under way and releases what the store holds. Calling it again is a no-op.
	Close() error
}

// Appended says where an append stands.
type Appended struct {
	Revision domain.Revision // of its last record
	Position domain.Position // of its last record
	// Duplicate: the records stood there before this call, or may have done so: a store that had to repeat the append to
	// learn its outcome can't tell. Only what another process wrote at the same moment may go unnoticed.
	Duplicate bool
}
