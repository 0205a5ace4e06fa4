package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// Store is the embedded ledger. It is safe for concurrent use.
type Store struct {
	cfg     Config
	metrics *metrics
	db      *pebble.DB
	cache   *pebble.Cache
	lock    io.Closer
	disk    *Disk
	tail    *tail

	mu      sync.Mutex
	pending []*request    // guarded by mu: appends that the committer has not taken yet
	closing bool          // guarded by mu: no further append is taken
	wake    chan struct{} // cap 1: pending or closing has changed

	requests requestPool
	guesses  guesses

	heads *heads          // the committer's own
	next  domain.Position // the committer's own: of the next record

	depth  chan struct{} // one token for each group that is applied and not synced
	groups chan *group   // from the committer to the syncer, in order
	synced chan struct{} // closed when committer and syncer have ended

	applied atomic.Uint64 // position up to which Pebble shows everything
	durable atomic.Uint64 // the durable mark: the position up to which everything is synced
	moved   ledger.Signal // the durable mark has moved

	keeper keeper // writes the mark file

	reading sync.RWMutex  // held for reading while Pebble is read
	closed  bool          // guarded by reading
	ended   chan struct{} // closed by Close

	failure  failure
	closeOne sync.Once
}

var _ ledger.Store = (*Store)(nil)

// Head implements ledger.Reader.
func (s *Store) Head() domain.Position { return domain.Position(s.durable.Load()) }

// Failed is closed when the store has failed for good: a commit or sync failed, or the data is damaged. Appends are
// answered with ErrClosed from then on. The process should end; what was kept shows when the store is opened anew.
func (s *Store) Failed() <-chan struct{} { return s.failure.failed }

// Err says why the store failed; nil while it has not.
func (s *Store) Err() error { return s.failure.get() }

// Append implements ledger.Store.
func (s *Store) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	start := s.cfg.Now()
	done, err := s.append(ctx, stream, expected, records)
	s.metrics.appended(done, err, s.cfg.Now().Sub(start))
	return done, err
}

func (s *Store) append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	if err := ledger.Validate(stream, expected, records); err != nil {
		return ledger.Appended{}, err
	}
	r := s.requests.get()
	r.stream, r.expected = stream, expected
	if err := r.encode(records); err != nil {
		s.requests.put(r)
		return ledger.Appended{}, fmt.Errorf("append to %s: %w", stream, err)
	}
	if expected == domain.NoStream && !s.ascending(stream) {
		if err := s.look(r); err != nil {
			s.requests.put(r)
			return ledger.Appended{}, err
		}
	}
	for {
		if err := s.submit(r); err != nil {
			s.requests.put(r)
			return ledger.Appended{}, err
		}
		select {
		case <-r.done:
		case <-ctx.Done(): // the committer still has r
			return ledger.Appended{}, fmt.Errorf("append to %s: %w: %w", stream, ledger.ErrUnknownOutcome, ctx.Err())
		case <-s.failure.failed:
			select {
			case <-r.done:
			default:
				return ledger.Appended{}, fmt.Errorf("append to %s: %w: %w", stream, ledger.ErrUnknownOutcome, s.Err())
			}
		}
		switch r.verdict {
		case appended:
			done := ledger.Appended{Revision: r.last.rev, Position: r.last.pos}
			s.requests.put(r)
			return done, nil
		case lost:
			last := r.last
			s.requests.put(r)
			return s.judge(ctx, stream, expected, last, records)
		case unlooked:
			r.looked = lookup{}
			if r.topless && expected == domain.NoStream {
				if err := s.lookTop(r); err != nil {
					s.requests.put(r)
					return ledger.Appended{}, err
				}
			}
			s.descended(stream)
			if err := s.look(r); err != nil {
				s.requests.put(r)
				return ledger.Appended{}, err
			}
		}
	}
}

// look finds the stream's head for the committer, which never reads.
func (s *Store) look(r *request) error {
	asOf := domain.Position(s.applied.Load())
	at, err := s.lookHead(r.stream, r.expected == domain.NoStream)
	if errors.Is(err, ledger.ErrClosed) {
		return err
	}
	if err != nil {
		return fmt.Errorf("append to %s: %w: %w", r.stream, ledger.ErrUnavailable, err)
	}
	r.looked.known, r.looked.head = true, at
	if !r.looked.topped {
		r.looked.asOf = asOf
	}
	return nil
}

// lookTop finds the highest name of the stream's family, for the committer's frontier. It comes before look, and what
// both say holds as of this one.
func (s *Store) lookTop(r *request) error {
	r.looked.asOf = domain.Position(s.applied.Load())
	top, err := s.topOf(family(r.stream))
	if errors.Is(err, ledger.ErrClosed) {
		return err
	}
	if err != nil {
		return fmt.Errorf("append to %s: %w: %w", r.stream, ledger.ErrUnavailable, err)
	}
	r.looked.top, r.looked.topped = top, true
	return nil
}

// guesses remember, by category, whether new streams are mostly the highest of their family: then it does not pay to
// look for them first.
type guesses [256]atomic.Int32

// retryGuess is after how many looks the guess is made again.
const retryGuess = 64

func guessOf(stream domain.Stream) int {
	var h byte
	for i := 0; i < len(stream) && stream[i] != '-'; i++ {
		h = h*31 + stream[i]
	}
	return int(h)
}

// ascending guesses that the stream is a new one above all others, which the committer can tell by itself.
func (s *Store) ascending(stream domain.Stream) bool {
	g := &s.guesses[guessOf(stream)]
	n := g.Load()
	if n == 0 {
		return true
	}
	g.CompareAndSwap(n, n-1)
	return false
}

// descended says that the guess was wrong.
func (s *Store) descended(stream domain.Stream) { s.guesses[guessOf(stream)].Store(retryGuess) }

func (s *Store) submit(r *request) error {
	s.mu.Lock()
	if s.closing || s.failure.get() != nil {
		s.mu.Unlock()
		return s.closedError()
	}
	s.pending = append(s.pending, r)
	first := len(s.pending) == 1
	s.mu.Unlock()
	if first {
		s.nudge()
	}
	return nil
}

func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Store) closedError() error {
	if err := s.failure.get(); err != nil {
		return fmt.Errorf("%w: %w", ledger.ErrClosed, err)
	}
	return ledger.ErrClosed
}

// judge answers an append that lost: it is a duplicate if its ids stand right behind expected, else a conflict. at is
// the stream's head, which need not be durable yet.
func (s *Store) judge(ctx context.Context, stream domain.Stream, expected domain.Revision, at head,
	records []domain.Record) (ledger.Appended, error) {
	if at.rev != domain.NoStream {
		if err := s.reach(ctx, at.pos); err != nil {
			return ledger.Appended{}, fmt.Errorf("append to %s: %w: %w", stream, ledger.ErrUnknownOutcome, err)
		}
	}
	conflict := fmt.Errorf("append to %s at revision %d, it is at %d: %w", stream, expected, at.rev, ledger.ErrConflict)
	if at.rev < expected+domain.Revision(len(records)) {
		return ledger.Appended{}, conflict
	}
	i := 0
	for rec, err := range s.ReadStream(ctx, stream, expected+1) {
		if err != nil {
			return ledger.Appended{}, fmt.Errorf("append to %s: %w: %w", stream, ledger.ErrUnknownOutcome, err)
		}
		if rec.ID != records[i].ID {
			return ledger.Appended{}, conflict
		}
		if i++; i == len(records) {
			return ledger.Appended{Revision: rec.Revision, Position: rec.Position, Duplicate: true}, nil
		}
	}
	return ledger.Appended{}, conflict
}

// Wait implements ledger.Reader. Behind the highest position there is nothing, so that waits for ctx.
func (s *Store) Wait(ctx context.Context, after domain.Position) error {
	return s.reach(ctx, max(after, after+1)) // after+1 is 0 behind the highest
}

// reach returns when the durable mark is at the position or beyond.
func (s *Store) reach(ctx context.Context, pos domain.Position) error {
	for {
		if domain.Position(s.durable.Load()) >= pos {
			return nil
		}
		moved := s.moved.Next()
		if domain.Position(s.durable.Load()) >= pos {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.failure.failed:
			return s.closedError()
		case <-s.ended:
			return s.closedError()
		}
	}
}

// failure is the one error that ended the store.
type failure struct {
	once   sync.Once
	err    atomic.Pointer[error]
	failed chan struct{}
	// wedged is closed when Pebble was left in the middle of something: it can't be closed any more.
	wedged chan struct{}
	wedge  sync.Once
}

func (f *failure) get() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *failure) set(err error) {
	f.once.Do(func() {
		f.err.Store(&err)
		close(f.failed)
	})
}

func (f *failure) abandon(err error) {
	f.set(err)
	f.wedge.Do(func() { close(f.wedged) })
}
