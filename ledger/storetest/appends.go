package storetest

import (
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

func appendAndRead(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	first, second := some(on, 3), some(on, 2)

	one := mustAppend(t, s, on, domain.NoStream, first)
	two := mustAppend(t, s, on, one.Revision, second)

	if one.Duplicate || two.Duplicate {
		t.Error("a first append is called a duplicate")
	}
	if one.Position == 0 || two.Position <= one.Position {
		t.Errorf("positions %d and %d", one.Position, two.Position)
	}
	got := read(t, s.ReadStream(t.Context(), on, 0))
	same(t, got, slices.Concat(first, second), 0)
	if got[2].Position != one.Position || got[4].Position != two.Position {
		t.Errorf("answered positions %d and %d, read %d and %d", one.Position, two.Position, got[2].Position,
			got[4].Position)
	}
	sameRead(t, readTenant(t, s, 0, on.Tenant()), got)
	sameRead(t, readTenant(t, s, one.Position, on.Tenant()), got[3:])
	if absent := read(t, s.ReadStream(t.Context(), stream(), 0)); len(absent) > 0 {
		t.Errorf("a stream that does not exist gave %d records", len(absent))
	}
}

func readFromRevision(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	var want []domain.Record
	for n := range 40 {
		more := some(on, n%4+1)
		mustAppend(t, s, on, domain.Revision(len(want))-1, more)
		want = append(want, more...)
	}
	check := func(s ledger.Store) {
		for from := range len(want) + 3 {
			got := read(t, s.ReadStream(t.Context(), on, domain.Revision(from)))
			same(t, got, want[min(from, len(want)):], domain.Revision(from))
		}
	}
	check(s)
	check(h.Reopen(t, s))
}

func namesBeginAlike(t *testing.T, h Harness) {
	s := h.Open(t)
	of := tenant()
	streams := []domain.Stream{domain.EventStream(of, "1"), domain.EventStream(of, "10"), domain.EventStream(of, "1-"),
		domain.EventStream(of, "1.0"), domain.EventStream(of, "A"), domain.EventStream(of, "a"),
		domain.EventStream(of+"1", "1"), domain.DeliveryStream(of, "1")}
	first, second := map[domain.Stream][]domain.Record{}, map[domain.Stream][]domain.Record{}
	for _, on := range streams {
		first[on], second[on] = some(on, 2), some(on, 1)
		mustAppend(t, s, on, domain.NoStream, first[on])
	}
	for _, on := range streams {
		mustAppend(t, s, on, 1, second[on])
	}
	for _, on := range streams {
		same(t, read(t, s.ReadStream(t.Context(), on, 0)), slices.Concat(first[on], second[on]), 0)
	}
}

func expectedRevisions(t *testing.T, h Harness) {
	s := h.Open(t)
	on, absent := stream(), stream()
	mustAppend(t, s, on, domain.NoStream, some(on, 2))
	mustAppend(t, s, on, 1, some(on, 2))

	for _, wrong := range []domain.Revision{domain.NoStream, 0, 1, 2, 4, 5, 100} {
		refused(t, s, on, wrong, some(on, 1), ledger.ErrConflict)
	}
	for _, wrong := range []domain.Revision{0, 1, 7} {
		refused(t, s, absent, wrong, some(absent, 1), ledger.ErrConflict)
	}
	mustAppend(t, s, on, 3, some(on, 1))
	mustAppend(t, s, absent, domain.NoStream, some(absent, 1))

	s = h.Reopen(t, s)
	refused(t, s, on, 3, some(on, 1), ledger.ErrConflict)
	refused(t, s, on, 5, some(on, 1), ledger.ErrConflict)
	refused(t, s, on, domain.NoStream, some(on, 1), ledger.ErrConflict)
	mustAppend(t, s, on, 4, some(on, 1))
}

// duplicate expects an append to be answered as first was.
func duplicate(t *testing.T, s ledger.Store, on domain.Stream, expected domain.Revision, records []domain.Record,
	first ledger.Appended) {
	t.Helper()
	before := len(read(t, s.ReadStream(t.Context(), on, 0)))
	again := mustAppend(t, s, on, expected, records)
	first.Duplicate = true
	if again != first {
		t.Errorf("repeated append is answered %+v, want %+v", again, first)
	}
	if after := len(read(t, s.ReadStream(t.Context(), on, 0))); after != before {
		t.Errorf("a repeated append changed the stream's length from %d to %d", before, after)
	}
}

func repeatedAppend(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	first, second := some(on, 3), some(on, 1)
	one := mustAppend(t, s, on, domain.NoStream, first)
	duplicate(t, s, on, domain.NoStream, first, one)
	two := mustAppend(t, s, on, 2, second)
	duplicate(t, s, on, 2, second, two)

	// The ids decide: what was written first stands.
	other := some(on, 1)
	other[0].ID = second[0].ID
	other[0].Correlation = "evt_other"
	duplicate(t, s, on, 2, other, two)
	same(t, read(t, s.ReadStream(t.Context(), on, 0)), slices.Concat(first, second), 0)
}

func repeatedLater(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	var appends [][]domain.Record
	var answers []ledger.Appended
	at := domain.NoStream
	for n := range 12 {
		appends = append(appends, some(on, n%3+1))
		answers = append(answers, mustAppend(t, s, on, at, appends[n]))
		at = answers[n].Revision
	}
	check := func(s ledger.Store) {
		expected := domain.NoStream
		for n := range appends {
			duplicate(t, s, on, expected, appends[n], answers[n])
			expected = answers[n].Revision
		}
	}
	check(s)
	s = h.Reopen(t, s)
	check(s)
	mustAppend(t, s, on, at, some(on, 1))
	check(s)
}

func repeatedPart(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	records := some(on, 5)
	mustAppend(t, s, on, domain.NoStream, records[:3])
	mustAppend(t, s, on, 2, records[3:])
	got := read(t, s.ReadStream(t.Context(), on, 0))
	for from := range records {
		for to := from + 1; to <= len(records); to++ {
			duplicate(t, s, on, domain.Revision(from)-1, records[from:to],
				ledger.Appended{Revision: domain.Revision(to) - 1, Position: got[to-1].Position})
		}
	}
}

func nearDuplicates(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	first := some(on, 3)
	mustAppend(t, s, on, domain.NoStream, first)

	refused(t, s, on, domain.NoStream, append(slices.Clone(first), some(on, 1)...), ledger.ErrConflict)
	refused(t, s, on, domain.NoStream, []domain.Record{first[1], first[0], first[2]}, ledger.ErrConflict)
	refused(t, s, on, domain.NoStream, first[1:], ledger.ErrConflict)
	refused(t, s, on, 0, first[:1], ledger.ErrConflict)
	refused(t, s, on, 1, append(slices.Clone(first[2:]), some(on, 1)...), ledger.ErrConflict)
	mixed := slices.Clone(first)
	mixed[2].ID = ulid.Make()
	refused(t, s, on, domain.NoStream, mixed, ledger.ErrConflict)
	same(t, read(t, s.ReadStream(t.Context(), on, 0)), first, 0)
}
