package pebblestore

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// shares of the data that was not synced, in percent, which a crash may keep.
var shares = []int{0, 25, 75, 100}

// crasher takes pictures of a file system before each operation that changes it: what a loss of power at that moment
// could leave.
type crasher struct {
	fs      *vfs.MemFS
	ops     atomic.Int64
	every   int64
	mu      sync.Mutex
	rng     *rand.Rand   // guarded by mu
	acks    func() []ack // that a picture must hold
	picture func(at string, share int, fs *vfs.MemFS, acks []ack)
}

func (c *crasher) wrap() vfs.FS { return crashFS{errorfs.Wrap(c.fs, c.injector()), c} }

func (c *crasher) injector() errorfs.Injector {
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			c.shoot(fmt.Sprintf("operation %d (%d on %s)", c.ops.Add(1), op.Kind, op.Path))
		}
		return nil
	})
}

// crashFS keeps pictures out of the two operations in which MemFS takes its lock against them twice.
type crashFS struct {
	vfs.FS
	c *crasher
}

func (f crashFS) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f.c.shoot(fmt.Sprintf("operation %d (reuse %s)", f.c.ops.Add(1), from))
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	file, err := f.c.fs.ReuseForWrite(from, to, category)
	if err != nil {
		return nil, err
	}
	return errorfs.WrapFile(file, f.c.injector()), nil
}

func (f crashFS) Lock(name string) (io.Closer, error) {
	f.c.shoot(fmt.Sprintf("operation %d (lock %s)", f.c.ops.Add(1), name))
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	return f.c.fs.Lock(name)
}

func (c *crasher) shoot(at string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ops.Load()%c.every != 0 {
		return
	}
	for _, share := range shares {
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), uint64(share)))
		// First the answers: a sync that ends while the picture is taken may be answered at once, and is not in it.
		acks := c.acks()
		c.picture(at, share, c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: rng}), acks)
	}
}

// TestCrashAtEveryOperation loses power before every file operation of a workload, with several shares of the unsynced
// data kept, opens what is left, and at some of them loses power again at every operation of that recovery.
func TestCrashAtEveryOperation(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	j := newJournal()
	fs := vfs.NewCrashableMem()
	c := &crasher{fs: fs, every: thin, rng: rng, acks: j.answers}
	var checks sync.WaitGroup
	slots := make(chan struct{}, 4)
	pictures, again := 0, 1301/thin
	if long() {
		again = 11
	}
	c.picture = func(at string, share int, left *vfs.MemFS, acks []ack) {
		pictures++
		twice, seed := pictures%again == 0, rng.Uint64()
		slots <- struct{}{}
		checks.Go(func() {
			defer func() { <-slots }()
			if t.Failed() {
				return
			}
			if twice {
				crashInRecovery(t, seed, left, j, acks)
			}
			if err := recovered(t, seed, left, j, acks); err != nil {
				t.Errorf("crash before %s, %d%% of the unsynced data kept: %v", at, share, err)
			}
		})
	}
	w := workload{lives: 2, writers: 3, appends: 24, payload: 3000, config: smallConfig(c.wrap())}
	if long() {
		w.lives, w.appends = 5, 200
	}
	if err := w.run(t, rand.New(rand.NewPCG(rng.Uint64(), 2)), j); err != nil {
		t.Error(err)
	}
	checks.Wait()
	t.Logf("%d operations, %d crash states, %d appends", c.ops.Load(), pictures, len(j.answers()))
}

// crashInRecovery opens what a crash left, and crashes again at every operation of that.
func crashInRecovery(t *testing.T, seed uint64, left *vfs.MemFS, j *journal, acks []ack) {
	again := left.CrashClone(vfs.CrashCloneCfg{})
	c := &crasher{fs: again, every: thin, rng: rand.New(rand.NewPCG(seed, 3)), acks: func() []ack { return acks }}
	c.picture = func(at string, share int, left *vfs.MemFS, acks []ack) {
		if t.Failed() {
			return
		}
		if err := recovered(t, seed, left, j, acks); err != nil {
			t.Errorf("second crash before %s of a recovery, %d%% of the unsynced data kept: %v", at, share, err)
		}
	}
	s, err := Open(smallConfig(c.wrap()))
	if err != nil {
		t.Errorf("recovery: %v", err)
		return
	}
	if err := s.Close(); err != nil {
		t.Errorf("close after a recovery: %v", err)
	}
}

// recovered opens what a crash left and checks it. What can be read then must be durable: it survives the next crash.
func recovered(t *testing.T, seed uint64, left *vfs.MemFS, j *journal, acks []ack) error {
	s, err := Open(smallConfig(left))
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("close after a recovery: %v", err)
		}
	}()
	head := s.Head()
	if err := j.verify(t, s, acks); err != nil {
		return err
	}
	if seed%4 == 0 {
		next, err := Open(smallConfig(left.CrashClone(vfs.CrashCloneCfg{})))
		if err != nil {
			return fmt.Errorf("after the next crash: %w", err)
		}
		if next.Head() < head {
			err = fmt.Errorf("the head was %d and is %d after the next crash", head, next.Head())
		} else {
			err = j.verify(t, next, acks)
		}
		if err != nil {
			return err
		}
		if err := next.Close(); err != nil {
			return err
		}
	}
	return goOn(t, s, acks)
}
