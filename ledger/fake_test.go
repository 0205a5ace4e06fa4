package ledger_test

import (
	"context"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ ledger.Store = (*fakeStore)(nil)

// fakeStore keeps records in memory. It fulfils the port, except where fate says otherwise.
type fakeStore struct {
	// fate, where it is set, stands around the call-th append (from 1): it applies the append or not, and answers.
	fate func(call int, apply func() (ledger.Appended, error)) (ledger.Appended, error)
	// broken, where it is set, is yielded by reads in place of the record at that place on the ledger.
	broken map[domain.Position]error

	mu      sync.Mutex // guards what follows
	all     []*domain.Record
	calls   int
	waiting chan struct{} // closed at the next append
}

func newFake() *fakeStore { return &fakeStore{waiting: make(chan struct{})} }

func (s *fakeStore) Append(_ context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	s.mu.Lock()
	s.calls++
	call := s.calls
	s.mu.Unlock()
	apply := func() (ledger.Appended, error) { return s.apply(stream, expected, records) }
	if s.fate == nil {
		return apply()
	}
	return s.fate(call, apply)
}

func (s *fakeStore) apply(stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := s.stream(stream)
	same := func(a domain.Record, b *domain.Record) bool { return a.ID == b.ID }
	from, to := int(expected)+1, int(expected)+1+len(records)
	if to <= len(there) && slices.EqualFunc(records, there[from:to], same) {
		last := there[to-1]
		return ledger.Appended{Revision: last.Revision, Position: last.Position, Duplicate: true}, nil
	}
	if from != len(there) {
		return ledger.Appended{}, ledger.ErrConflict
	}
	for i, r := range records {
		r.Revision, r.Position = expected+1+domain.Revision(i), domain.Position(len(s.all)+1)
		s.all = append(s.all, &r)
	}
	close(s.waiting)
	s.waiting = make(chan struct{})
	last := s.all[len(s.all)-1]
	return ledger.Appended{Revision: last.Revision, Position: last.Position}, nil
}

func (s *fakeStore) stream(name domain.Stream) []*domain.Record {
	var out []*domain.Record
	for _, r := range s.all {
		if r.Stream == name {
			out = append(out, r)
		}
	}
	return out
}

func (s *fakeStore) snapshot() []*domain.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *fakeStore) ReadStream(_ context.Context, name domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	return s.read(func(r *domain.Record) bool { return r.Stream == name && r.Revision >= from })
}

func (s *fakeStore) ReadAll(_ context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	return s.read(func(r *domain.Record) bool { return r.Position > after })
}

func (s *fakeStore) read(wanted func(*domain.Record) bool) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		for _, r := range s.snapshot() {
			if !wanted(r) {
				continue
			}
			if err := s.broken[r.Position]; err != nil {
				yield(nil, err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (s *fakeStore) Wait(ctx context.Context, after domain.Position) error {
	s.mu.Lock()
	more, waiting := len(s.all) > int(after), s.waiting
	s.mu.Unlock()
	if more {
		return nil
	}
	select {
	case <-waiting:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeStore) Head() domain.Position { return domain.Position(len(s.snapshot())) }
func (s *fakeStore) Close() error          { return nil }

// counter is an aggregate whose decision depends on all that came before.
type counter struct {
	issued  int
	revoked bool
}

const countStream domain.Stream = "access-default.key_1"

func freshCounter() *counter { return &counter{} }

func (c *counter) Evolve(r *domain.Record) {
	switch r.Fact.(type) {
	case *domain.KeyIssued:
		c.issued++
	case *domain.KeyRevoked:
		c.revoked = true
	}
}

// ids gives new record ids, in order; it is safe for concurrent use.
func ids() func() ulid.ULID {
	var mu sync.Mutex
	var last ulid.ULID
	return func() ulid.ULID {
		mu.Lock()
		defer mu.Unlock()
		last = domain.IDAt(last, 16)
		return last
	}
}

var at = time.Date(2026, 3, 17, 8, 0, 44, 0, time.UTC)

func issue(id ulid.ULID, n int) []domain.Record {
	facts := make([]domain.Fact, n)
	for i := range facts {
		facts[i] = &domain.KeyIssued{Name: "n"}
	}
	stamp := domain.Stamp{At: at, Base: id, Actor: domain.System("test")}
	return stamp.Records(countStream, "default", "", ulid.ULID{}, facts...)
}
