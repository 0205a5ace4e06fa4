package pebblestore

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"hookledger/domain"
	"hookledger/ledger"
)

// TestNothingShowsBeforeItIsDurable holds a sync back. Meanwhile no append is answered, not even one that lost to what
// is being synced or repeats it, and no read, Head or Wait shows anything of it.
func TestNothingShowsBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var holding atomic.Bool
		release := make(chan struct{})
		cfg := smallConfig(errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if strings.HasSuffix(op.Path, ".log") && op.Kind.ReadOrWrite() == errorfs.OpIsWrite &&
				op.Kind != errorfs.OpFileWrite && holding.Load() {
				<-release
			}
			return nil
		})))
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		on, other := domain.EventStream("default", "1"), domain.EventStream("default", "2")
		ours := records(on, 2)
		before, err := s.Append(t.Context(), other, domain.NoStream, records(other, 1))
		if err != nil {
			t.Fatal(err)
		}
		holding.Store(true)

		type answer struct {
			name string
			done ledger.Appended
			err  error
		}
		answers := make(chan answer, 5)
		appendTo := func(name string, on domain.Stream, at domain.Revision, records []domain.Record) {
			go func() {
				done, err := s.Append(context.Background(), on, at, records)
				answers <- answer{name, done, err}
			}()
			synctest.Wait()
		}
		appendTo("first", on, domain.NoStream, ours)
		appendTo("repeated", on, domain.NoStream, ours)
		appendTo("loser", on, domain.NoStream, records(on, 1))
		appendTo("next", on, 1, records(on, 1))
		appendTo("behind", other, 0, records(other, 1))
		woken := make(chan error, 1)
		go func() { woken <- s.Wait(context.Background(), before.Position) }()
		synctest.Wait()

		if n := len(answers); n > 0 {
			t.Errorf("%d appends are answered before the sync has ended", n)
		}
		if len(woken) > 0 {
			t.Error("a wait ends before the sync has ended")
		}
		if s.Head() != before.Position {
			t.Errorf("the head is %d before the sync has ended", s.Head())
		}
		for rec, err := range s.ReadAll(t.Context(), before.Position) {
			t.Errorf("a read shows %v, %v before the sync has ended", rec, err)
		}
		for rec, err := range s.ReadStream(t.Context(), on, 0) {
			t.Errorf("a read of the stream shows %v, %v before the sync has ended", rec, err)
		}

		holding.Store(false)
		close(release)
		for range cap(answers) {
			switch a := <-answers; {
			case a.name == "loser" && errors.Is(a.err, ledger.ErrConflict):
			case a.name == "loser" || a.err != nil || a.done.Duplicate != (a.name == "repeated"):
				t.Errorf("%s is answered %+v, %v", a.name, a.done, a.err)
			}
		}
		if err := <-woken; err != nil {
			t.Errorf("wait: %v", err)
		}
		if got := all(t, s, 0); len(got) != 5 {
			t.Errorf("%d records show in the end, want 5", len(got))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
