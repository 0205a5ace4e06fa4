package ledgercopy_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/ledgercopy"
	"hookledger/ledger/pebblestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 17, 8, 0, 44, 123_456_789, time.UTC)

func openStore(t *testing.T) *pebblestore.Store {
	t.Helper()
	s, err := pebblestore.Open(pebblestore.Config{Dir: "ledger", FS: vfs.NewMem(), CacheBytes: 1 << 20,
		MemTableBytes: 1 << 20, TailRecords: 64})
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

// world writes a ledger: a few streams, whose records come in turns and in runs.
type world struct {
	t     testing.TB
	rnd   *rand.Rand
	id    ulid.ULID
	at    time.Time
	store ledger.Store
	ends  map[domain.Stream]domain.Revision
}

func newWorld(t testing.TB, s ledger.Store, seed uint64) *world {
	t.Helper()
	t.Logf("seed %d", seed)
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), at: start, store: s, ends: map[domain.Stream]domain.Revision{}}
	binary.BigEndian.PutUint64(w.id[:], seed+1)
	if _, err := ledger.Found(t.Context(), s, w.nextID(), w.at); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) nextID() ulid.ULID {
	w.id = domain.IDAt(w.id, 16)
	return w.id
}

// write makes one append of n records to the stream.
func (w *world) write(stream domain.Stream, n, size int) {
	w.t.Helper()
	facts := make([]domain.Fact, n)
	for i := range facts {
		switch w.rnd.IntN(3) {
		case 0:
			facts[i] = &domain.RetryScheduled{N: i, DueAt: w.at, Backoff: domain.Duration(time.Minute)}
		case 1:
			facts[i] = &domain.EndpointDisabled{Reason: strings.Repeat("ü", size/2)}
		default: // what only a newer binary knows is carried whole
			facts[i] = &domain.Unknown{Type: "MoonLanded", Version: 3,
				Data: []byte(`{"at": 1.50, "by":"` + strings.Repeat("x", size) + `"}`)}
		}
	}
	w.at = w.at.Add(time.Duration(w.rnd.IntN(1e9)) * time.Microsecond)
	stamp := domain.Stamp{At: w.at, Base: w.nextID(), Actor: domain.System("test")}
	expected, known := w.ends[stream]
	if !known {
		expected = domain.NoStream
	}
	done, err := w.store.Append(w.t.Context(), stream, expected, stamp.Records(stream, stream.Tenant(),
		"evt_"+fmt.Sprint(w.rnd.IntN(9)), w.nextID(), facts...))
	if err != nil {
		w.t.Fatal(err)
	}
	w.ends[stream] = done.Revision
}

func (w *world) writeSome(appends int) {
	w.t.Helper()
	for range appends {
		stream := domain.DeliveryStream("t"+fmt.Sprint(w.rnd.IntN(2)), "dlv_"+fmt.Sprint(w.rnd.IntN(4)))
		w.write(stream, 1+w.rnd.IntN(3), w.rnd.IntN(200))
	}
}

// all reads a ledger.
func all(t *testing.T, r ledger.Reader) []*domain.Record {
	t.Helper()
	var out []*domain.Record
	for rec, err := range r.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

func encoding(t *testing.T, r *domain.Record) (header, body []byte) {
	t.Helper()
	body, err := ledger.AppendBody(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.AppendHeader(nil, r), body
}

// same compares two ledgers record by record, in their order.
func same(t *testing.T, from, to ledger.Reader) {
	t.Helper()
	want, got := all(t, from), all(t, to)
	if len(got) != len(want) {
		t.Fatalf("%d records were copied of %d", len(got), len(want))
	}
	for i := range want {
		wantHeader, wantBody := encoding(t, want[i])
		gotHeader, gotBody := encoding(t, got[i])
		if !bytes.Equal(wantHeader, gotHeader) || !bytes.Equal(wantBody, gotBody) {
			t.Fatalf("record %d\n got %s %s\nwant %s %s", i, gotHeader, gotBody, wantHeader, wantBody)
		}
	}
}

func survey(t *testing.T, r ledger.Reader) ledgercopy.Summary {
	t.Helper()
	s, err := ledgercopy.Survey(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCopy(t *testing.T, from ledger.Reader, to ledger.Store) ledgercopy.Result {
	t.Helper()
	done, err := ledgercopy.Run(t.Context(), ledgercopy.Config{From: from, To: to, Source: survey(t, from)})
	if err != nil {
		t.Fatal(err)
	}
	same(t, from, to)
	return done
}

// put writes records as they are, one append each, to stand for what an earlier copy wrote.
func put(t *testing.T, s ledger.Store, records []*domain.Record) {
	t.Helper()
	for _, r := range records {
		if _, err := s.Append(t.Context(), r.Stream, r.Revision-1, []domain.Record{*r}); err != nil {
			t.Fatal(err)
		}
	}
}

// fateful is a store whose appends a test decides about.
type fateful struct {
	ledger.Store
	calls int
	fate  func(call int, records []domain.Record, apply func() (ledger.Appended, error)) (ledger.Appended, error)
}

func (s *fateful) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	s.calls++
	return s.fate(s.calls, slices.Clone(records), func() (ledger.Appended, error) {
		return s.Store.Append(ctx, stream, expected, records)
	})
}
