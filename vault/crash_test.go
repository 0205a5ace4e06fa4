package vault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A crash at any file operation of making a vault leaves nothing that the next start can't go on from.
func TestACrashWhileTheVaultIsMade(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex // guards clones and rnd
	var clones []*vfs.MemFS
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			mu.Lock()
			defer mu.Unlock()
			for _, percent := range []int{0, 50, 100} {
				clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rnd}))
			}
		}
		return nil
	}))
	v, err := Open(Config{Dir: "/data/vault", Master: master, LedgerID: "led_1", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	made := clones
	mu.Unlock()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if len(made) < 30 {
		t.Fatalf("%d crashes: the test does not see the file operations", len(made))
	}
	for i, fs := range made {
		v, err := Open(Config{Dir: "/data/vault", Master: master, LedgerID: "led_1", FS: fs})
		if err != nil {
			t.Fatalf("after crash %d of %d: %v", i, len(made), err)
		}
		mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"})
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A key is destroyed once Destroy has returned, whatever a crash takes with it.
func TestSemantics_ATombstoneSurvivesACrash(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	v := open(t, mem)
	id := mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"})
	if err := v.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	after := open(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if _, err := after.Seal(t.Context(), id, place, nil); !errors.Is(err, ErrErased) {
		t.Errorf("after a crash: %v", err)
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
	cmd := exec.Command(os.Args[0], "-test.run=^TestAFailedSyncEndsTheProcess$")
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
