package pebblestore

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// long says that the long runs are asked for.
func long() bool { return os.Getenv("HOOKLEDGER_LONG") != "" }

// seeded gives a generator and prints its seed; HOOKLEDGER_SEED repeats a run.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HOOKLEDGER_SEED"); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatalf("HOOKLEDGER_SEED: %v", err)
		}
	}
	t.Logf("HOOKLEDGER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// attempt is an append that was tried.
type attempt struct {
	stream   domain.Stream
	expected domain.Revision
	records  []domain.Record
}

// ack is an append that was answered.
type ack struct {
	attempt
	done ledger.Appended
}

// journal is what the outside knows of a store: what was tried and what was answered.
type journal struct {
	mu       sync.Mutex
	attempts map[ulid.ULID]attempt // guarded by mu; by the first record's id
	acks     []ack                 // guarded by mu; only ever appended to
}

func newJournal() *journal { return &journal{attempts: make(map[ulid.ULID]attempt)} }

func (j *journal) try(a attempt) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.attempts[a.records[0].ID] = a
}

func (j *journal) answered(a ack) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acks = append(j.acks, a)
}

func (j *journal) answers() []ack {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.acks
}

// streams names all streams that an append was tried on.
func (j *journal) streams() []domain.Stream {
	j.mu.Lock()
	defer j.mu.Unlock()
	seen := make(map[domain.Stream]bool)
	for _, a := range j.attempts {
		seen[a.stream] = true
	}
	return slices.Collect(maps.Keys(seen))
}

func (j *journal) attempt(id ulid.ULID) (attempt, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	a, ok := j.attempts[id]
	return a, ok
}

// workload is a small life of a store: concurrent writers, flushes, compactions and restarts.
type workload struct {
	lives, writers, appends int
	payload                 int // bytes, at most
	config                  Config
}

func smallConfig(fs vfs.FS) Config {
	return Config{Dir: "data/ledger", FS: fs, MemTableBytes: 64 << 10, CacheBytes: 1 << 20, TailRecords: 16, heads: 16}
}

// run does the work and journals it. The error is the first that the store gave: none but the file system is to blame
// for one.
func (w workload) run(t *testing.T, rng *rand.Rand, j *journal) error {
	t.Helper()
	for range w.lives {
		s, err := Open(w.config)
		if err != nil {
			return err
		}
		var work sync.WaitGroup
		errs := make([]error, w.writers)
		for i := range w.writers {
			own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
			work.Go(func() { errs[i] = w.write(t, s, own, j) })
		}
		work.Wait()
		if err := errors.Join(errors.Join(errs...), s.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (w workload) write(t *testing.T, s *Store, rng *rand.Rand, j *journal) error {
	var on domain.Stream
	at := domain.NoStream
	for n := range w.appends {
		if n%3 == 0 {
			on, at = domain.DeliveryStream("default", ulid.Make().String()), domain.NoStream
		}
		a := attempt{on, at, payload(on, rng, rng.IntN(3)+1, w.payload)}
		j.try(a)
		done, err := s.Append(t.Context(), on, at, a.records)
		if err != nil {
			return err
		}
		j.answered(ack{a, done})
		at = done.Revision
	}
	return nil
}

func payload(on domain.Stream, rng *rand.Rand, n, most int) []domain.Record {
	facts := make([]domain.Fact, n)
	for i := range facts {
		noise := make([]byte, 12+rng.IntN(most))
		for k := range noise {
			noise[k] = byte(rng.Uint32())
		}
		facts[i] = &domain.ResponseReceived{Attempt: "att_1", Status: 200, Content: &domain.Sealed{KeyID: "dk_1",
			Nonce: noise[:12], Ciphertext: noise[12:]}, RemoteAddr: "192.0.2.1:443"}
	}
	stamp := domain.Stamp{At: at, Base: ulid.Make(), Actor: domain.System("test")}
	return stamp.Records(on, "default", "evt_1", ulid.ULID{}, facts...)
}

// wrong is what a store must never serve, as opposed to an error that it reports.
type wrong struct{ error }

func wrongf(format string, args ...any) error { return wrong{fmt.Errorf(format, args...)} }

// verify checks a store against the journal: what was answered is there, where it was answered; what is there was
// tried, and is whole; positions have no gap; and the streams say the same as the ledger.
func (j *journal) verify(t *testing.T, s *Store, acks []ack) error {
	log, err := collect(t, s)
	if err != nil {
		return err
	}
	streams := map[domain.Stream][]*domain.Record{}
	for i := 0; i < len(log); {
		a, ok := j.attempt(log[i].ID)
		if !ok {
			return wrongf("position %d holds record %s, which nobody appended there", log[i].Position, log[i].ID)
		}
		if i+len(a.records) > len(log) {
			return wrongf("the append at position %d is cut off", log[i].Position)
		}
		for k := range a.records {
			if err := equal(log[i+k], a.records[k], a.expected+1+domain.Revision(k)); err != nil {
				return err
			}
			streams[a.stream] = append(streams[a.stream], log[i+k])
		}
		i += len(a.records)
	}
	for on, want := range streams {
		if err := j.verifyStream(t, s, on, want); err != nil {
			return err
		}
	}
	for _, on := range j.streams() {
		if streams[on] == nil {
			if err := j.verifyStream(t, s, on, nil); err != nil {
				return err
			}
		}
	}
	for _, a := range acks {
		last := a.records[len(a.records)-1].ID
		if a.done.Position > domain.Position(len(log)) || log[a.done.Position-1].ID != last {
			return wrongf("lost: the append of %d to %s, answered position %d; the ledger ends at %d",
				len(a.records), a.stream, a.done.Position, len(log))
		}
	}
	return nil
}

// collect reads the ledger and checks that positions begin at 1 and have no gap.
func collect(t *testing.T, s *Store) ([]*domain.Record, error) {
	var log []*domain.Record
	for rec, err := range s.ReadAll(t.Context(), 0) {
		if err != nil {
			return nil, err
		}
		if rec.Position != domain.Position(len(log)+1) {
			return nil, wrongf("position %d follows position %d", rec.Position, len(log))
		}
		log = append(log, rec)
	}
	if s.Head() != domain.Position(len(log)) {
		return nil, wrongf("the head is %d and the ledger ends at %d", s.Head(), len(log))
	}
	return log, nil
}

func (j *journal) verifyStream(t *testing.T, s *Store, on domain.Stream, want []*domain.Record) error {
	n := 0
	for rec, err := range s.ReadStream(t.Context(), on, 0) {
		if err != nil {
			return err
		}
		if n >= len(want) || rec.ID != want[n].ID || rec.Position != want[n].Position ||
			rec.Revision != domain.Revision(n) {
			return wrongf("%s: revision %d is another record than on the ledger", on, n)
		}
		n++
	}
	if n != len(want) {
		return wrongf("%s has %d records, the ledger has %d of it", on, n, len(want))
	}
	return nil
}

func equal(got *domain.Record, want domain.Record, rev domain.Revision) error {
	want.Revision = rev
	a, errA := ledger.AppendBody(ledger.AppendHeader(nil, got), got)
	b, errB := ledger.AppendBody(ledger.AppendHeader(nil, &want), &want)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return wrongf("position %d holds\n%s, appended was\n%s", got.Position, a, b)
	}
	return nil
}

// goOn checks that a reopened store takes appends, and answers the last one of its former life as a duplicate.
func goOn(t *testing.T, s *Store, acks []ack) error {
	if len(acks) > 0 {
		a := acks[len(acks)-1]
		done, err := s.Append(t.Context(), a.stream, a.expected, a.records)
		if err != nil || !done.Duplicate || done.Position != a.done.Position {
			return fmt.Errorf("the repeated append is answered %+v, %w; before: %+v", done, err, a.done)
		}
	}
	head := s.Head()
	on := domain.DeliveryStream("default", ulid.Make().String())
	done, err := s.Append(t.Context(), on, domain.NoStream, records(on, 2))
	if err != nil || done.Position != head+2 {
		return fmt.Errorf("the next append is answered %+v, %w; the head was %d", done, err, head)
	}
	return nil
}
