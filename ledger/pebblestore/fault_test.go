package pebblestore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"hookledger/ledger"
)

// fault fails the file operation number at, once or from then on.
type fault struct {
	at   int64
	err  error
	once bool
}

func (f fault) String() string {
	if f.once {
		return fmt.Sprintf("%v at operation %d", f.err, f.at)
	}
	return fmt.Sprintf("%v from operation %d on", f.err, f.at)
}

// failing counts the operations on a file system and lets the fault happen.
type failing struct {
	fault
	ops atomic.Int64
	met atomic.Pointer[errorfs.Op]
}

func (f *failing) wrap(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		n := f.ops.Add(1)
		if n < f.at || n > f.at && f.once {
			return nil
		}
		if errors.Is(f.err, syscall.ENOSPC) && op.Kind.ReadOrWrite() == errorfs.OpIsRead {
			return nil // a full disk can be read
		}
		f.met.CompareAndSwap(nil, &op)
		return f.err
	}))
}

// TestFailEveryOperation fails every file operation of a workload. Whatever the store answers then, no append that it
// acknowledged is lost, neither when the process dies nor when the power fails.
func TestFailEveryOperation(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	ends, runs := 0, 0
	for at := int64(1); ends < 3; at += thin {
		for i, f := range []fault{{at, syscall.EIO, true}, {at, syscall.EIO, false}, {at, syscall.ENOSPC, true},
			{at, syscall.ENOSPC, false}} {
			// Four runs for each operation take long; one of them, in turn, is enough where nothing is new.
			if !long() && (at/thin+int64(i))%4 != 0 {
				continue
			}
			runs++
			reached := failOperation(t, f, rng.Uint64())
			if t.Failed() {
				return
			}
			if !reached {
				ends++
			}
		}
	}
	t.Logf("%d runs", runs)
}

// failOperation runs the workload under the fault. It is false if the workload has fewer operations.
func failOperation(t *testing.T, f fault, seed uint64) bool {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 4))
	fs := vfs.NewCrashableMem()
	j := newJournal()
	under := &failing{fault: f}
	w := workload{lives: 2, writers: 2, appends: 12, payload: 6000, config: smallConfig(under.wrap(fs))}
	err := w.run(t, rng, j)
	met := under.met.Load()
	if met == nil {
		if err != nil {
			t.Errorf("without a fault: %v", err)
		}
		return under.ops.Load() >= f.at
	}
	for _, share := range []int{0, 50, 100} {
		left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: rng})
		if err := recovered(t, seed, left, j, j.answers()); err != nil {
			t.Errorf("%v (%d on %s), %d%% of the unsynced data kept: %v", f, met.Kind, met.Path, share, err)
		}
	}
	return true
}

// TestFailedSyncIsTheEnd: a sync fails once. Its appends are not acknowledged, nothing is after it, and the store says
// so and can be closed.
func TestFailedSyncIsTheEnd(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	var syncs atomic.Int64
	fs := vfs.NewCrashableMem()
	cfg := smallConfig(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo {
			if broken.CompareAndSwap(true, false) {
				syncs.Add(1)
				return syscall.EIO
			}
		}
		return nil
	})))
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	j := newJournal()
	w := workload{appends: 3, payload: 100}
	if err := w.write(t, s, rand.New(rand.NewPCG(1, 1)), j); err != nil {
		t.Fatal(err)
	}
	acked := s.Head()

	broken.Store(true)
	err = w.write(t, s, rand.New(rand.NewPCG(1, 2)), j)
	if !errors.Is(err, ledger.ErrUnknownOutcome) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("the append whose sync failed is answered %v", err)
	}
	<-s.Failed()
	if !errors.Is(s.Err(), syscall.EIO) || syncs.Load() != 1 {
		t.Errorf("after %d failed syncs the store says %v", syncs.Load(), s.Err())
	}
	err = w.write(t, s, rand.New(rand.NewPCG(1, 3)), j)
	if !errors.Is(err, ledger.ErrClosed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("an append after the failure is answered %v", err)
	}
	if err := s.Wait(t.Context(), s.Head()); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("a wait after the failure: %v", err)
	}
	if s.Head() != acked || len(all(t, s, 0)) != int(acked) {
		t.Errorf("the head was %d; after the failure it is %d and %d records show", acked, s.Head(), len(all(t, s, 0)))
	}
	if err := s.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
	for _, share := range []int{0, 100} {
		left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: rand.New(rand.NewPCG(1, 4))})
		if err := recovered(t, 0, left, j, j.answers()); err != nil {
			t.Error(err)
		}
	}
}
