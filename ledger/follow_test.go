package ledger_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"hookledger/domain"
	"hookledger/ledger"
)

func fillStore(t *testing.T, s *fakeStore, expected domain.Revision, n int) {
	t.Helper()
	id := ids()
	for range int(expected) + 2 {
		id()
	}
	for i := range n {
		if _, err := s.apply(countStream, expected+domain.Revision(i), issue(id(), 1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFollow_HandsOnEveryRecordOnceInOrderAndThenWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newFake()
		fillStore(t, s, domain.NoStream, 7)
		ctx, cancel := context.WithCancel(t.Context())
		var got []domain.Position
		var sizes []int
		ended := make(chan error, 1)
		go func() {
			ended <- ledger.Follow(ctx, s, 2, 3, func(batch []*domain.Record) error {
				sizes = append(sizes, len(batch))
				for _, r := range batch {
					got = append(got, r.Position)
				}
				return nil
			})
		}()
		synctest.Wait() // it has caught up and waits
		if want := []domain.Position{3, 4, 5, 6, 7}; !slices.Equal(got, want) || !slices.Equal(sizes, []int{3, 2}) {
			t.Errorf("got %v in batches of %v", got, sizes)
		}
		fillStore(t, s, 6, 1)
		synctest.Wait()
		if got[len(got)-1] != 8 {
			t.Errorf("the new record did not come: %v", got)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestFollow_EndsWithTheErrorOfFn(t *testing.T) {
	t.Parallel()
	s, stop := newFake(), errors.New("stop")
	fillStore(t, s, domain.NoStream, 5)
	for _, size := range []int{2, 10} {
		calls := 0
		err := ledger.Follow(t.Context(), s, 0, size, func([]*domain.Record) error { calls++; return stop })
		if err != stop || calls != 1 { //nolint:errorlint // it is passed on as it is
			t.Errorf("size %d: %v after %d calls", size, err, calls)
		}
	}
}

func TestFollow_EndsWithTheErrorOfTheStore(t *testing.T) {
	t.Parallel()
	s, torn := newFake(), errors.New("torn")
	fillStore(t, s, domain.NoStream, 5)
	s.broken = map[domain.Position]error{4: torn}
	var got []domain.Position
	err := ledger.Follow(t.Context(), s, 0, 2, func(batch []*domain.Record) error {
		for _, r := range batch {
			got = append(got, r.Position)
		}
		return nil
	})
	if !errors.Is(err, torn) || !slices.Equal(got, []domain.Position{1, 2}) {
		t.Fatalf("%v after %v", err, got)
	}
}

func TestSemantics_EveryLedgerBeginsWithLedgerCreated(t *testing.T) {
	t.Parallel()
	s, newID := newFake(), ids()
	first, err := ledger.Found(t.Context(), s, newID(), at)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ledger.Found(t.Context(), s, newID(), at)
	all := s.snapshot()
	if err != nil || again != first || len(all) != 1 {
		t.Fatalf("%q, then %q with %d records: %v", first, again, len(all), err)
	}
	f, ok := all[0].Fact.(*domain.LedgerCreated)
	if !ok || all[0].Stream != "ledger-system.0" || f.LedgerID != first || f.Format != ledger.Format || first == "" {
		t.Fatalf("%+v %+v", all[0], f)
	}
}

func TestSemantics_ANewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first domain.Fact
		newer bool
	}{
		"a newer format":         {&domain.LedgerCreated{LedgerID: "l", Format: ledger.Format + 1}, true},
		"a newer first record":   {&domain.Unknown{Type: "LedgerCreated", Version: 2, Data: []byte("{}")}, true},
		"another first record":   {&domain.KeyRevoked{}, false},
		"an unknown first type":  {&domain.Unknown{Type: "MoonLanded", Version: 1, Data: []byte("{}")}, false},
		"a format of our future": {&domain.LedgerCreated{LedgerID: "l", Format: 99}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFake()
			rec := issue(ids()(), 1)
			rec[0].Stream, rec[0].Fact = domain.LedgerStream, c.first
			if _, err := s.apply(domain.LedgerStream, domain.NoStream, rec); err != nil {
				t.Fatal(err)
			}
			id, err := ledger.Found(t.Context(), s, domain.IDAt(ids()(), 500), at)
			if err == nil || errors.Is(err, ledger.ErrNewerFormat) != c.newer || id != "" || s.calls != 0 {
				t.Fatalf("%q, %d appends: %v", id, s.calls, err)
			}
		})
	}
}

func TestFound_TwoFoundersAgree(t *testing.T) {
	t.Parallel()
	s, newID := newFake(), ids()
	mine, theirs := newID(), newID()
	s.fate = func(call int, apply func() (ledger.Appended, error)) (ledger.Appended, error) {
		if call == 1 {
			if _, err := ledger.Found(t.Context(), s, theirs, at); err != nil {
				t.Error(err)
			}
		}
		return apply()
	}
	id, err := ledger.Found(t.Context(), s, mine, at)
	if err != nil || id != theirs.String() || s.Head() != 1 {
		t.Fatalf("%q, head %d: %v", id, s.Head(), err)
	}
}

func TestFound_StoreErrors(t *testing.T) {
	t.Parallel()
	s, torn := newFake(), errors.New("torn")
	s.fate = func(int, func() (ledger.Appended, error)) (ledger.Appended, error) { return ledger.Appended{}, torn }
	if _, err := ledger.Found(t.Context(), s, ids()(), at); !errors.Is(err, torn) {
		t.Errorf("append: %v", err)
	}
	s.fate = nil
	seed(t, s, 1)
	s.broken = map[domain.Position]error{1: torn}
	if _, err := ledger.Found(t.Context(), s, ids()(), at); !errors.Is(err, torn) {
		t.Errorf("read: %v", err)
	}
}
