package vault

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"hookledger/domain"
)

// Of the process that fails: "N KIND", the file operation that fails and how, and the directory.
const failingOperation, failingDir = "HOOKLEDGER_TEST_FAILING_OPERATION", "HOOKLEDGER_TEST_FAILING_DIR"

// faultPatience is how long the process that fails may take. Pebble tries some writes again and again: then it is
// killed, which a vault must survive, too.
const faultPatience = 2 * time.Second

// sealedLine is what the process that fails says of a key that it gave out.
type sealedLine struct {
	Subject string
	Sealed  *domain.Sealed
}

// TestFailEveryOperation fails each file operation of a vault's life, its making included, in a process of its own, for
// a vault that can't write ends its process. The next process opens the vault, and what was sealed under any key that
// was given out; HOOKLEDGER_LONG=1 fails each operation in each way, otherwise every third in one.
func TestFailEveryOperation(t *testing.T) {
	t.Parallel()
	if os.Getenv(failingOperation) != "" {
		liveWithAFault(t)
		return
	}
	kinds, step := []string{"eio", "enospc", "eio-once", "enospc-once"}, 3
	if os.Getenv("HOOKLEDGER_LONG") != "" {
		step = 1
	}
	runs, failed := 0, 0
	for n := 1; ; n += step {
		reached := false
		for i, kind := range kinds {
			if step > 1 && (n/step+i)%len(kinds) != 0 {
				continue
			}
			runs++
			lines, met := runWithAFault(t, n, kind)
			if met {
				reached = true
				failed++
			}
			if t.Failed() {
				t.Fatalf("operation %d failed with %s after %d keys", n, kind, lines)
			}
		}
		if !reached {
			break
		}
	}
	if failed < 20 {
		t.Fatalf("%d operations failed: the test does not see them", failed)
	}
	t.Logf("%d runs", runs)
}

// runWithAFault gives how many keys were given out, and whether the operation was reached.
func runWithAFault(t *testing.T, n int, kind string) (given int, met bool) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), faultPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestFailEveryOperation$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", failingOperation, n, kind), failingDir+"="+dir)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var sealed []sealedLine
	for scan := bufio.NewScanner(bytes.NewReader(out)); scan.Scan(); {
		if text, ok := strings.CutPrefix(scan.Text(), "gave "); ok {
			var line sealedLine
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
			sealed = append(sealed, line)
		}
		met = met || scan.Text() == "met"
	}
	met = met || ctx.Err() != nil
	v, err := Open(Config{Dir: dir, Master: master, LedgerID: "led_1", MustExist: len(sealed) > 0})
	if err != nil {
		t.Errorf("the vault can't be opened afterwards: %v", err)
		return len(sealed), met
	}
	for _, line := range sealed {
		if got, err := v.Open(t.Context(), place, line.Sealed); err != nil || string(got) != line.Subject {
			t.Errorf("what was sealed for %s can't be opened: %v", line.Subject, err)
		}
	}
	mustKey(t, v, Scope{Tenant: "acme", Subject: "a new one"})
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	return len(sealed), met
}

// liveWithAFault is the life of the process that fails.
func liveWithAFault(t *testing.T) {
	count, kind, _ := strings.Cut(os.Getenv(failingOperation), " ")
	at, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	fault, once := error(syscall.EIO), strings.HasSuffix(kind, "-once")
	if strings.HasPrefix(kind, "enospc") {
		fault = syscall.ENOSPC
	}
	var ops atomic.Int64
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if errors.Is(fault, syscall.ENOSPC) && op.Kind.ReadOrWrite() == errorfs.OpIsRead {
			return nil // a full disk can be read
		}
		n := ops.Add(1)
		if n < at || once && n > at {
			return nil
		}
		if n == at {
			fmt.Println("met")
		}
		return fault
	}))
	for life := range 2 {
		v, err := Open(Config{Dir: os.Getenv(failingDir), Master: master, LedgerID: "led_1", FS: fs})
		if err != nil {
			os.Exit(1)
		}
		for i := range 3 {
			subject := fmt.Sprintf("user-%d-%d", life, i)
			id, err := v.DataKey(t.Context(), Scope{Tenant: "acme", Subject: subject})
			if err != nil {
				continue
			}
			sealed, err := v.Seal(t.Context(), id, place, []byte(subject))
			if err != nil {
				continue
			}
			line, _ := json.Marshal(sealedLine{subject, sealed})
			fmt.Printf("gave %s\n", line)
		}
		if ops.Load() >= at {
			os.Exit(1) // no orderly end
		}
		_ = v.Close() // its error is the fault's
	}
	os.Exit(0)
}
