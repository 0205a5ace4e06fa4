package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// when is the time of the suite's records: any will do.
var when = time.Date(2026, 2, 3, 4, 5, 6, 700_000_891, time.UTC)

// tenant is a fresh tenant, so that a case finds its own records among others.
func tenant() string { return "t" + strings.ToLower(ulid.Make().String()) }

// stream is a fresh stream.
func stream() domain.Stream {
	return domain.DeliveryStream(tenant(), domain.NewID(domain.PrefixDelivery, ulid.Make()))
}

// some makes n records of a stream with fresh ids.
func some(on domain.Stream, n int) []domain.Record {
	facts := make([]domain.Fact, n)
	for i := range facts {
		facts[i] = &domain.RetryScheduled{N: i + 1, DueAt: when, Backoff: domain.Duration(time.Minute)}
	}
	return recordsOf(on, facts...)
}

func recordsOf(on domain.Stream, facts ...domain.Fact) []domain.Record {
	stamp := domain.Stamp{At: when, Base: ulid.Make(), Actor: domain.System("storetest")}
	return stamp.Records(on, on.Tenant(), "evt_1", ulid.ULID{}, facts...)
}

// mustAppend appends what has no reason to fail.
func mustAppend(t *testing.T, s ledger.Store, on domain.Stream, expected domain.Revision,
	records []domain.Record) ledger.Appended {
	t.Helper()
	done, err := ledger.AppendKnown(t.Context(), s, on, expected, records)
	if err != nil {
		t.Fatalf("append of %d at revision %d: %v", len(records), expected, err)
	}
	if want := expected + domain.Revision(len(records)); done.Revision != want {
		t.Fatalf("append of %d at revision %d answered revision %d, not %d", len(records), expected, done.Revision, want)
	}
	return done
}

// refused expects an append to fail with the error and to write nothing.
func refused(t *testing.T, s ledger.Store, on domain.Stream, expected domain.Revision, records []domain.Record,
	want error) {
	t.Helper()
	before := len(read(t, s.ReadStream(t.Context(), on, 0)))
	done, err := s.Append(t.Context(), on, expected, records)
	if !errors.Is(err, want) {
		t.Errorf("append of %d at revision %d: answered %+v, %v; want %v", len(records), expected, done, err, want)
	}
	if after := len(read(t, s.ReadStream(t.Context(), on, 0))); after != before {
		t.Errorf("a refused append changed the stream's length from %d to %d", before, after)
	}
}

// read takes everything that a read gives. Like the checks below it may be called in any goroutine.
func read(t *testing.T, seq iter.Seq2[*domain.Record, error]) []*domain.Record {
	t.Helper()
	var out []*domain.Record
	for rec, err := range seq {
		if err != nil {
			t.Errorf("read, behind %d records: %v", len(out), err)
			return out
		}
		out = append(out, rec)
	}
	return out
}

// readTenant takes what ReadAll gives of one tenant and checks the order of all.
func readTenant(t *testing.T, s ledger.Reader, after domain.Position, tenant string) []*domain.Record {
	t.Helper()
	var out []*domain.Record
	for rec, err := range s.ReadAll(t.Context(), after) {
		if err != nil {
			t.Fatalf("read all, behind position %d: %v", after, err)
		}
		if rec.Position <= after {
			t.Fatalf("position %d follows position %d", rec.Position, after)
		}
		after = rec.Position
		if rec.Tenant == tenant {
			out = append(out, rec)
		}
	}
	return out
}

// encoding is a record's canonical form.
func encoding(r *domain.Record) ([]byte, error) {
	b := ledger.AppendHeader(nil, r)
	return ledger.AppendBody(append(b, '\n'), r)
}

// same checks that got is what was appended from the revision on, with revisions and rising positions.
func same(t *testing.T, got []*domain.Record, want []domain.Record, from domain.Revision) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("read %d records, want %d", len(got), len(want))
		return
	}
	for i, g := range got {
		w := want[i]
		w.Revision = from + domain.Revision(i)
		a, errA := encoding(g)
		b, errB := encoding(&w)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("record %d is %s (%v)\nwant %s (%v)", i, a, errA, b, errB)
			return
		}
		if g.Position == 0 || i > 0 && g.Position <= got[i-1].Position {
			t.Errorf("record %d is at position %d", i, g.Position)
			return
		}
	}
}

// sameRead checks that two reads gave the same records at the same places.
func sameRead(t *testing.T, got, want []*domain.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("read %d records, want %d", len(got), len(want))
		return
	}
	for i := range got {
		if g, w := place(got[i]), place(want[i]); g != w {
			t.Errorf("record %d is %s, want %s", i, g, w)
			return
		}
	}
}

func place(r *domain.Record) string {
	return fmt.Sprintf("%s at %d, revision %d of %s", r.ID, r.Position, r.Revision, r.Stream)
}

// random gives a generator and prints its seed.
func random(t *testing.T) *mathrand.Rand {
	t.Helper()
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	hi, lo := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	t.Logf("seed %d %d", hi, lo)
	return mathrand.New(mathrand.NewPCG(hi, lo))
}

// follow hands the tenant's records behind the position to fn until it has seen n of them.
func follow(ctx context.Context, s ledger.Reader, after domain.Position, tenant string, n int,
	fn func(*domain.Record)) error {
	enough := errors.New("enough")
	if n == 0 {
		return nil
	}
	err := ledger.Follow(ctx, s, after, 16, func(batch []*domain.Record) error {
		for _, rec := range batch {
			if rec.Tenant != tenant {
				continue
			}
			fn(rec)
			if n--; n == 0 {
				return enough
			}
		}
		return nil
	})
	if errors.Is(err, enough) {
		return nil
	}
	return err
}
