package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/eventstore/esdbtest"
)

// seeded gives a seed, HOOKLEDGER_SEED's if there is one, and prints it.
func seeded(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HOOKLEDGER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HOOKLEDGER_SEED: %v", err)
		}
	}
	t.Logf("HOOKLEDGER_SEED=%d", seed)
	return seed
}

var when = time.Date(2026, 2, 3, 4, 5, 6, 700_000_891, time.UTC)

func freshStream() domain.Stream {
	return domain.DeliveryStream("default", domain.NewID(domain.PrefixDelivery, ulid.Make()))
}

// some makes n records of a stream with fresh ids.
func some(on domain.Stream, n int) []domain.Record {
	facts := make([]domain.Fact, n)
	for i := range facts {
		facts[i] = &domain.RetryScheduled{N: i + 1, DueAt: when, Backoff: domain.Duration(time.Minute)}
	}
	stamp := domain.Stamp{At: when, Base: ulid.Make(), Actor: domain.System("test")}
	return stamp.Records(on, on.Tenant(), "evt_1", ulid.ULID{}, facts...)
}

// writers append to streams of their own, and remember what was acknowledged.
type writers struct {
	work   sync.WaitGroup
	orders chan struct{} // one for each append that is to be made

	mu    sync.Mutex
	acked map[domain.Position]ulid.ULID // guarded by mu: the last record of each append
	total int                           // guarded by mu: records
}

func startWriters(t *testing.T, s *Store, n int) *writers {
	w := &writers{acked: map[domain.Position]ulid.ULID{}, orders: make(chan struct{})}
	for range n {
		w.work.Go(func() {
			on, at := freshStream(), domain.NoStream
			for range w.orders {
				records := some(on, int(at+1)%3+1)
				answer, err := ledger.AppendKnown(t.Context(), s, on, at, records)
				for errors.Is(err, ledger.ErrUnavailable) {
					answer, err = ledger.AppendKnown(t.Context(), s, on, at, records)
				}
				if err != nil {
					t.Errorf("append: %v", err)
					continue
				}
				w.note(t, answer, records)
				at = answer.Revision
			}
		})
	}
	return w
}

func (w *writers) note(t *testing.T, answer ledger.Appended, records []domain.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if before, twice := w.acked[answer.Position]; twice {
		t.Errorf("%s and %s were both acknowledged at position %d", before, records[len(records)-1].ID, answer.Position)
	}
	w.acked[answer.Position] = records[len(records)-1].ID
	w.total += len(records)
}

// write has n appends made, and returns when all but the newest have been answered.
func (w *writers) write(n int) {
	for range n {
		w.orders <- struct{}{}
	}
}

// end waits for the last answers.
func (w *writers) end() {
	close(w.orders)
	w.work.Wait()
}

// witness is what a follower has seen.
type witness struct {
	seen []*domain.Record
	next map[domain.Stream]domain.Revision
}

// see takes the next record, and says what is wrong with its place.
func (w *witness) see(rec *domain.Record) error {
	if n := len(w.seen); n > 0 && rec.Position <= w.seen[n-1].Position {
		return fmt.Errorf("position %d follows position %d", rec.Position, w.seen[n-1].Position)
	}
	if w.next == nil {
		w.next = map[domain.Stream]domain.Revision{}
	}
	if rec.Revision != w.next[rec.Stream] {
		return fmt.Errorf("%s: revision %d where %d is due", rec.Stream, rec.Revision, w.next[rec.Stream])
	}
	w.next[rec.Stream]++
	w.seen = append(w.seen, rec)
	return nil
}

var errEnough = errors.New("enough")

// follow sees records until it has seen one of the last stream. It leaves and comes back after every so many records;
// 0: never.
func (w *witness) follow(ctx context.Context, s *Store, last domain.Stream, every int) error {
	var after domain.Position
	for ended := false; !ended; {
		n := 0
		err := ledger.Follow(ctx, s, after, 16, func(batch []*domain.Record) error {
			for _, rec := range batch {
				if err := w.see(rec); err != nil {
					return err
				}
				after = rec.Position
				ended = ended || rec.Stream == last
			}
			if n += len(batch); ended || every > 0 && n >= every {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			return err
		}
	}
	return nil
}

// TestFollowers_SeeEveryRecordOnceInOrder takes followers through dropped subscriptions, leaders that resign and nodes
// that are killed and come back, while others write.
func TestFollowers_SeeEveryRecordOnceInOrder(t *testing.T) {
	t.Parallel()
	const drops, changes, step = 1000, 20, 20
	faults := esdbtest.NewFaults(seeded(t))
	cluster := esdbtest.StartCluster(t, 3, esdbtest.WithFaults(faults))
	cfg := Config{ConnectionString: cluster.ConnectionString()}
	s := open(t, cfg)
	cfg.tailRecords, cfg.chunk = 4, 16
	small := open(t, cfg)

	last := freshStream()
	seen := make([]witness, 4)
	var following sync.WaitGroup
	for i, f := range []struct {
		s     *Store
		every int
	}{{s, 0}, {s, 33}, {small, 0}, {small, 7}} {
		following.Go(func() {
			if err := seen[i].follow(t.Context(), f.s, last, f.every); err != nil {
				t.Errorf("follower %d, behind %d records: %v", i, len(seen[i].seen), err)
			}
		})
	}
	w := startWriters(t, s, 6)
	faults.Set(esdbtest.DropSubscription, esdbtest.Chance(0.1))
	for range changes {
		w.write(step)
		cluster.ChangeLeader()
		w.write(step)
		killed := cluster.KillLeader()
		w.write(step)
		if err := cluster.StartNode(killed); err != nil {
			t.Fatal(err)
		}
	}
	for faults.Fired(esdbtest.DropSubscription) < drops && !t.Failed() {
		w.write(step)
	}
	w.end()
	ending := some(last, 1)
	answer, err := ledger.AppendKnown(t.Context(), s, last, domain.NoStream, ending)
	if err != nil {
		t.Fatal(err)
	}
	w.note(t, answer, ending)
	following.Wait()
	for i, f := range seen {
		w.check(t, i, f.seen)
	}
	t.Logf("%d records, %s", w.total, faults)
}

// check compares what a follower saw with what was acknowledged.
func (w *writers) check(t *testing.T, follower int, seen []*domain.Record) {
	if len(seen) != w.total {
		t.Errorf("follower %d saw %d records of %d", follower, len(seen), w.total)
		return
	}
	at := map[domain.Position]ulid.ULID{}
	for _, rec := range seen {
		at[rec.Position] = rec.ID
	}
	for pos, id := range w.acked {
		if at[pos] != id {
			t.Errorf("follower %d saw %s at position %d, where %s was acknowledged", follower, at[pos], pos, id)
		}
	}
}
