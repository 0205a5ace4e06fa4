package pebblestore

import (
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/ledger"
	"hookledger/ledger/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(t *testing.T) Config{
		"disk":   func(t *testing.T) Config { return Config{Dir: t.TempDir()} },
		"memory": func(*testing.T) Config { return Config{Dir: "ledger", FS: vfs.NewMem()} },
		// With so small a tail, and so few heads, nearly everything is read from Pebble; with so small a memtable,
		// the largest events do not fit in.
		"small caches": func(*testing.T) Config {
			return Config{Dir: "ledger", FS: vfs.NewMem(), TailRecords: 2, heads: 3, MemTableBytes: 256 << 10}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, harness(config))
		})
	}
}

// The suite's own Sparse keeps the contract as well, so that what fails on it is at fault itself.
func TestSparseStore(t *testing.T) {
	t.Parallel()
	h := harness(func(*testing.T) Config { return Config{Dir: "ledger", FS: vfs.NewMem()} })
	under := map[ledger.Store]ledger.Store{}
	var mu sync.Mutex
	wrapped := func(s ledger.Store) ledger.Store {
		mu.Lock()
		defer mu.Unlock()
		w := storetest.Sparse(s)
		under[w] = s
		return w
	}
	storetest.Run(t, storetest.Harness{
		Open: func(t *testing.T) ledger.Store { return wrapped(h.Open(t)) },
		Reopen: func(t *testing.T, s ledger.Store) ledger.Store {
			mu.Lock()
			inner := under[s]
			mu.Unlock()
			return wrapped(h.Reopen(t, inner))
		},
	})
}

func harness(config func(t *testing.T) Config) storetest.Harness {
	return storetest.Harness{
		Open: func(t *testing.T) ledger.Store { return open(t, config(t)) },
		Reopen: func(t *testing.T, s ledger.Store) ledger.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, s.(*Store).cfg)
		},
	}
}
