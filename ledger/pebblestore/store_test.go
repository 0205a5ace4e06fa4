package pebblestore

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var at = time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)

func records(stream domain.Stream, n int) []domain.Record {
	facts := make([]domain.Fact, n)
	for i := range facts {
		facts[i] = &domain.AttemptInterrupted{Attempt: "att_1", Reason: domain.InterruptCrash}
	}
	stamp := domain.Stamp{At: at, Base: ulid.Make(), Actor: domain.System("test")}
	return stamp.Records(stream, stream.Tenant(), "evt_1", ulid.ULID{}, facts...)
}

func all(t testing.TB, s ledger.Reader, after domain.Position) []*domain.Record {
	t.Helper()
	var out []*domain.Record
	for rec, err := range s.ReadAll(t.Context(), after) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

func TestAppendAndReopen(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	cfg := Config{Dir: "a/b", FS: fs}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stream := domain.DeliveryStream("default", "dlv_1")
	first := records(stream, 3)
	done, err := s.Append(t.Context(), stream, domain.NoStream, first)
	if err != nil || done != (ledger.Appended{Revision: 2, Position: 3}) {
		t.Fatal(done, err)
	}
	done, err = s.Append(t.Context(), stream, 2, records(stream, 2))
	if err != nil || done != (ledger.Appended{Revision: 4, Position: 5}) {
		t.Fatal(done, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, cfg)
	if got := all(t, s, 0); len(got) != 5 || got[4].Position != 5 {
		t.Fatal(got)
	}
	done, err = s.Append(context.Background(), stream, domain.NoStream, first)
	if err != nil || done != (ledger.Appended{Revision: 2, Position: 3, Duplicate: true}) {
		t.Fatal(done, err)
	}
}

// Behind the highest position there is nothing to read, and Wait ends with its context or the store.
func TestBehindTheHighestPosition(t *testing.T) {
	t.Parallel()
	s, err := Open(Config{Dir: "a", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	stream := domain.DeliveryStream("default", "dlv_1")
	if _, err := s.Append(t.Context(), stream, domain.NoStream, records(stream, 3)); err != nil {
		t.Fatal(err)
	}
	for _, after := range []domain.Position{math.MaxUint64, math.MaxUint64 - 1, 3} {
		if got := all(t, s, after); len(got) != 0 {
			t.Errorf("behind %d: %d records", after, len(got))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Wait(ctx, after); !errors.Is(err, context.Canceled) {
			t.Errorf("wait behind %d: %v", after, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(t.Context(), math.MaxUint64); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("wait on a closed store: %v", err)
	}
}
