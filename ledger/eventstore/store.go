package eventstore

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/grpc/metadata"

	"hookledger/domain"
	"hookledger/ledger"
)

// Store is the ledger on EventStoreDB. It is safe for concurrent use.
type Store struct {
	cfg     Config
	log     *slog.Logger
	dialer  *dialer
	metrics *metrics

	appends, reads, subs *lane
	tail                 *tail
	cursors              cursors

	durable atomic.Uint64 // the highest position that is known to be durable
	ids     twins

	closing  sync.RWMutex   // held for reading while an append begins
	closed   bool           // guarded by closing
	ending   chan struct{}  // closed by Close: nothing is repeated and nobody waits any more
	over     chan struct{}  // closed when Close has waited for the calls of appends and reads as long as one may take
	underWay sync.WaitGroup // appends
	stop     context.CancelFunc
	feeding  sync.WaitGroup
	closeOne sync.Once

	failure failure
}

var _ ledger.Store = (*Store)(nil)

// failure is the one error that ended the store.
type failure struct {
	once   sync.Once
	err    atomic.Pointer[error]
	failed chan struct{}
}

// Head implements ledger.Reader.
func (s *Store) Head() domain.Position { return domain.Position(s.durable.Load()) }

// Newest asks the database for the position of its newest record, whoever wrote it; 0 where there is none. Head may not
// have heard yet of what another process wrote.
func (s *Store) Newest(ctx context.Context) (domain.Position, error) {
	last, err := s.findLast(ctx)
	return last.pos, err
}

// raise notes that the position is durable.
func (s *Store) raise(pos domain.Position) {
	for {
		at := s.durable.Load()
		if uint64(pos) <= at || s.durable.CompareAndSwap(at, uint64(pos)) {
			return
		}
	}
}

// Failed is closed when the store has failed for good: records were taken out or changed behind its back. Everything is
// answered with ErrClosed from then on, and the process should end.
func (s *Store) Failed() <-chan struct{} { return s.failure.failed }

// Err says why the store failed; nil while it has not, and while the database can't be reached: that mends itself.
func (s *Store) Err() error {
	if err := s.failure.err.Load(); err != nil {
		return *err
	}
	return nil
}

// fail ends the store for good.
func (s *Store) fail(err error) {
	s.failure.once.Do(func() {
		s.failure.err.Store(&err)
		close(s.failure.failed)
		s.log.Error("the ledger failed", "error", err)
	})
}

// Room implements the guard of intake that stores share: the server's disk is not ours to watch. When it is full the
// server refuses appends, which are then answered with ErrUnavailable or ErrUnknownOutcome.
func (s *Store) Room() error { return nil }

// Ready says whether the leader answers, by one small read: nil, or a *domain.Error that says what is wrong.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := s.reads.trouble(); err != nil {
		return err
	}
	_, err := s.lastRevision(ctx, domain.LedgerStream)
	if err == nil {
		return nil
	}
	return s.dialer.diagnose(err)
}

// Wait implements ledger.Reader.
func (s *Store) Wait(ctx context.Context, after domain.Position) error {
	for {
		moved := s.tail.moved.Next()
		if err := s.usable(ctx); err != nil {
			return err
		}
		if s.tail.end().pos > after {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
		case <-s.ending:
		case <-s.failure.failed:
		}
	}
}

// usable says whether a read may go on.
func (s *Store) usable(ctx context.Context) error {
	select {
	case <-s.ending:
		return s.closedError()
	case <-s.failure.failed:
		return s.closedError()
	default:
		return ctx.Err()
	}
}

func (s *Store) closedError() error {
	if err := s.Err(); err != nil {
		return fmt.Errorf("%w: %w", ledger.ErrClosed, err)
	}
	return ledger.ErrClosed
}

// pause waits a little before a repeat; false: it is over.
func (s *Store) pause(ctx context.Context, longest time.Duration) bool {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-s.ending:
		case <-s.failure.failed:
		case <-ended:
		}
		cancel()
	}()
	return ledger.Pause(waiting, longest)
}

// leader asks the server to answer only as the leader: a follower may not have the newest records. The client means to
// ask so by itself, and does not.
func leader(ctx context.Context) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.Pairs("requires-leader", "true"))
}

// enter keeps the store open while an append is under way.
func (s *Store) enter() error {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed || s.Err() != nil {
		return s.closedError()
	}
	s.underWay.Add(1)
	return nil
}

// Close implements ledger.Store. An append that is being repeated is not repeated again. Calls to a server that does
// not answer are waited for until the time of one is up; all of it takes no longer than that.
func (s *Store) Close() error {
	s.closeOne.Do(func() {
		s.closing.Lock()
		s.closed = true
		s.closing.Unlock()
		close(s.ending)
		end := time.Now().Add(s.cfg.deadline)
		giveUp := time.AfterFunc(s.cfg.deadline, func() { close(s.over) })
		s.underWay.Wait()
		s.stop()
		s.feeding.Wait()
		var lanes sync.WaitGroup
		for _, l := range s.lanes() {
			lanes.Go(func() { l.close(time.Until(end)) })
		}
		lanes.Wait()
		s.dialer.settle(time.Until(end))
		giveUp.Stop()
	})
	return nil
}

func (s *Store) lanes() []*lane { return []*lane{s.appends, s.reads, s.subs} }

// twins are the appends under way, by the id of their first record: of two that are the same, the later one can't have
// been the first.
type twins struct {
	mu  sync.Mutex
	ids map[ulid.ULID]int // guarded by mu
}

// begin says whether the same append is under way already.
func (t *twins) begin(id ulid.ULID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ids[id]++
	return t.ids[id] > 1
}

func (t *twins) end(id ulid.ULID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ids[id]--; t.ids[id] == 0 {
		delete(t.ids, id)
	}
}
