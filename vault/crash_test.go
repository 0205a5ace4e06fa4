package vault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"hookledger/domain"
)

// A crash at any file operation of a vault's life, its making included, leaves a vault that opens, with every key that
// was given out, and without any that was destroyed.
func TestACrashAtEveryFileOperation(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	type given struct {
		scope     Scope
		sealed    *domain.Sealed
		destroyed bool
	}
	type crash struct {
		fs    *vfs.MemFS
		given []given
	}
	var mu sync.Mutex // guards all below
	rnd := rand.New(rand.NewPCG(seed, 1))
	var acked []given
	var crashes []crash
	mem := vfs.NewCrashableMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			mu.Lock()
			defer mu.Unlock()
			lost := vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[rnd.IntN(3)], RNG: rnd}
			crashes = append(crashes, crash{mem.CrashClone(lost), slices.Clone(acked)})
		}
		return nil
	}))
	for life := range 3 {
		v := open(t, fs)
		for i := range 3 {
			scope := Scope{Tenant: "acme", Subject: fmt.Sprintf("user-%d-%d", life, i)}
			sealed, err := v.Seal(t.Context(), mustKey(t, v, scope), place, []byte(scope.Subject))
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			acked = append(acked, given{scope: scope, sealed: sealed})
			mu.Unlock()
		}
		mu.Lock()
		doomed := len(acked) - 1
		acked[doomed].scope.Subject += " is being destroyed" // it may be there, or not
		id := acked[doomed].sealed.KeyID
		mu.Unlock()
		if err := v.Destroy(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		acked[doomed].destroyed = true
		mu.Unlock()
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d crashes", len(crashes))
	if len(crashes) < 100 {
		t.Fatal("the test does not see the file operations")
	}
	for i, c := range crashes {
		v, err := Open(Config{Dir: "/data/vault", Master: master, LedgerID: "led_1", FS: c.fs, MustExist: len(c.given) > 0})
		if err != nil {
			t.Fatalf("after crash %d: %v", i, err)
		}
		for _, g := range c.given {
			got, err := v.Open(t.Context(), place, g.sealed)
			switch {
			case g.destroyed && !errors.Is(err, ErrErased):
				t.Fatalf("after crash %d: a destroyed key: %q, %v", i, got, err)
			case !g.destroyed && errors.Is(err, ErrErased) && strings.HasSuffix(g.scope.Subject, "destroyed"):
			case !g.destroyed && (err != nil || !strings.HasPrefix(g.scope.Subject, string(got))):
				t.Fatalf("after crash %d: a key of %d: %q, %v", i, len(c.given), got, err)
			}
		}
		mustKey(t, v, Scope{Tenant: "acme", Subject: "a new one"})
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const failingSync = "HOOKLEDGER_TEST_FAILING_SYNC"

// A sync that fails ends the process: nobody knows what the disk holds then, and no key may be given out any more.
func TestAFailedSyncEndsTheProcess(t *testing.T) {
	t.Parallel()
	if os.Getenv(failingSync) != "" {
		withFailingSync(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAFailedSyncEndsTheProcess$")
	cmd.Env = append(os.Environ(), failingSync+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "the vault failed") ||
		strings.Contains(string(out), "a key was given out") {
		t.Errorf("%v: %s", err, out)
	}
}

func withFailingSync(t *testing.T) {
	failing := false
	var mu sync.Mutex // guards failing
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if failing && strings.HasSuffix(op.Path, ".log") && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.EIO
		}
		return nil
	}))
	v := open(t, fs)
	mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"})
	mu.Lock()
	failing = true
	mu.Unlock()
	id, err := v.DataKey(t.Context(), Scope{Tenant: "acme", Subject: "user-2"})
	fmt.Println("a key was given out:", id, err)
}
