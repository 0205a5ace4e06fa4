package pebblestore

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
	"hookledger/ledger"
)

// A stream is new, or it is not, whatever the order in which names come and however little of the past is in memory.
func TestNewStreamsAreToldFromOldOnes(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	fs := vfs.NewMem()
	cfg := Config{Dir: "ledger", FS: fs, heads: 5, TailRecords: 2, MemTableBytes: 64 << 10}
	s := open(t, cfg)
	names := make([]domain.Stream, 0, 800)
	for i := range cap(names) / 2 {
		id := fmt.Sprintf("%04d", i)
		names = append(names, domain.EventStream("a", id), domain.DeliveryStream("b", id))
	}
	// Mostly upwards, with a few that come early or late.
	for range len(names) / 5 {
		i, j := rng.IntN(len(names)), rng.IntN(len(names))
		names[i], names[j] = names[j], names[i]
	}
	there := map[domain.Stream]bool{}
	try := func(name domain.Stream) {
		t.Helper()
		_, err := s.Append(t.Context(), name, domain.NoStream, records(name, 1+rng.IntN(2)))
		if there[name] != errors.Is(err, ledger.ErrConflict) || !there[name] && err != nil {
			t.Fatalf("%s, there: %t: %v", name, there[name], err)
		}
		there[name] = true
	}
	for i, name := range names {
		try(name)
		for range rng.IntN(3) {
			try(names[rng.IntN(i+1)]) // a second time
		}
		if rng.IntN(100) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, cfg)
		}
	}
}

func TestOneOfManyFindsAStreamNew(t *testing.T) {
	t.Parallel()
	s := open(t, Config{Dir: "ledger", FS: vfs.NewMem(), heads: 4, TailRecords: 2, MemTableBytes: 64 << 10})
	var mu sync.Mutex
	won := map[domain.Stream]int{}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			order := seeded(t).Perm(200)
			if worker%2 == 0 {
				slices.Sort(order)
			}
			for _, i := range order {
				name := domain.EventStream("a", fmt.Sprintf("%04d", i))
				_, err := s.Append(t.Context(), name, domain.NoStream, records(name, 1))
				if err == nil {
					mu.Lock()
					won[name]++
					mu.Unlock()
				} else if !errors.Is(err, ledger.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(won) != 200 {
		t.Errorf("%d of 200 streams have a first append", len(won))
	}
	for name, n := range won {
		if n != 1 {
			t.Errorf("%s was new %d times", name, n)
		}
	}
}
