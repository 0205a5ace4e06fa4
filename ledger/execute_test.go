package ledger_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// one decides on a single record, and counts how often it was asked.
func one(newID func() (d domain.Record), asked *int) func(*counter) ([]domain.Record, error) {
	return func(*counter) ([]domain.Record, error) {
		*asked++
		return []domain.Record{newID()}, nil
	}
}

func execute(t *testing.T, s *fakeStore) (c *counter, done ledger.Appended, asked int, err error) {
	t.Helper()
	id := ids()
	for range 100 { // apart from the ids that a test gives out by itself
		id()
	}
	c, done, err = ledger.Execute(t.Context(), s, countStream, freshCounter,
		one(func() domain.Record { return issue(id(), 1)[0] }, &asked))
	return c, done, asked, err
}

func seed(t *testing.T, s *fakeStore, n int) {
	t.Helper()
	if _, err := s.apply(countStream, domain.NoStream, issue(ids()(), n)); err != nil {
		t.Fatal(err)
	}
}

func TestExecute_DecidesOnWhatIsThereAndFoldsWhatItAppends(t *testing.T) {
	t.Parallel()
	s := newFake()
	seed(t, s, 3)
	c, done, asked, err := execute(t, s)
	if err != nil || c.issued != 4 || asked != 1 || done != (ledger.Appended{Revision: 3, Position: 4}) {
		t.Fatalf("%+v %+v asked %d: %v", c, done, asked, err)
	}
}

func TestExecute_NothingDecidedAppendsNothing(t *testing.T) {
	t.Parallel()
	s := newFake()
	seed(t, s, 2)
	_, done, err := ledger.Execute(t.Context(), s, countStream, freshCounter,
		func(*counter) ([]domain.Record, error) { return nil, nil })
	if err != nil || done.Revision != 1 || s.calls != 0 {
		t.Fatalf("%+v, %d appends: %v", done, s.calls, err)
	}
}

func TestExecute_ARefusalIsPassedOn(t *testing.T) {
	t.Parallel()
	s, refusal := newFake(), domain.Refuse(domain.KindConflict, "full", "it is full", "empty it")
	_, _, err := ledger.Execute(t.Context(), s, countStream, freshCounter,
		func(*counter) ([]domain.Record, error) { return nil, refusal })
	if domain.Code(err) != "full" || s.calls != 0 {
		t.Fatalf("%v after %d appends", err, s.calls)
	}
}

func TestExecute_ReadErrorNamesTheStream(t *testing.T) {
	t.Parallel()
	s, torn := newFake(), errors.New("torn")
	seed(t, s, 2)
	s.broken = map[domain.Position]error{2: torn}
	_, _, asked, err := execute(t, s)
	if !errors.Is(err, torn) || asked != 0 || err.Error() != "load access-default.key_1: torn" {
		t.Fatalf("asked %d: %v", asked, err)
	}
}

func TestExecute_DecidesNothingOnARecordThatItCantRead(t *testing.T) {
	t.Parallel()
	s := newFake()
	newer := issue(ids()(), 1)
	newer[0].Fact = &domain.Unknown{Type: "KeyRevoked", Version: 2, Data: []byte(`{}`)}
	if _, err := s.apply(countStream, domain.NoStream, newer); err != nil {
		t.Fatal(err)
	}
	if _, _, asked, err := execute(t, s); !errors.Is(err, ledger.ErrNewerFormat) || asked != 0 || s.calls != 0 {
		t.Fatalf("asked %d, %d appends: %v", asked, s.calls, err)
	}
}

func TestExecute_ConflictDecidesAnew(t *testing.T) {
	t.Parallel()
	s := newFake()
	s.fate = func(call int, apply func() (ledger.Appended, error)) (ledger.Appended, error) {
		if call == 1 { // somebody is faster
			seed(t, s, 2)
		}
		return apply()
	}
	c, done, asked, err := execute(t, s)
	if err != nil || asked != 2 || c.issued != 3 || done.Revision != 2 {
		t.Fatalf("%+v %+v asked %d: %v", c, done, asked, err)
	}
}

func TestExecute_EndlessConflictIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newFake()
	s.fate = func(int, func() (ledger.Appended, error)) (ledger.Appended, error) {
		return ledger.Appended{}, ledger.ErrConflict
	}
	_, _, asked, err := execute(t, s)
	if !errors.Is(err, ledger.ErrConflict) || asked < 5 || asked > 100 {
		t.Fatalf("asked %d: %v", asked, err)
	}
}

// The append was written, and the answer got lost: the same ids at the same revision are a duplicate, decided once.
func TestExecute_LostAnswerIsFoundOut(t *testing.T) {
	t.Parallel()
	s := newFake()
	s.fate = func(call int, apply func() (ledger.Appended, error)) (ledger.Appended, error) {
		done, err := apply()
		if call <= 3 {
			return ledger.Appended{}, errors.Join(ledger.ErrUnknownOutcome, err)
		}
		return done, err
	}
	c, done, asked, err := execute(t, s)
	if err != nil || asked != 1 || c.issued != 1 || !done.Duplicate || s.Head() != 1 {
		t.Fatalf("%+v %+v asked %d, head %d: %v", c, done, asked, s.Head(), err)
	}
}

// The append was not written, nobody knew, and somebody else was faster.
func TestExecute_UnknownOutcomeThenConflictDecidesAnew(t *testing.T) {
	t.Parallel()
	s := newFake()
	s.fate = func(call int, apply func() (ledger.Appended, error)) (ledger.Appended, error) {
		if call == 1 {
			seed(t, s, 1)
			return ledger.Appended{}, ledger.ErrUnknownOutcome
		}
		return apply()
	}
	c, done, asked, err := execute(t, s)
	if err != nil || asked != 2 || c.issued != 2 || done.Duplicate || s.Head() != 2 {
		t.Fatalf("%+v %+v asked %d: %v", c, done, asked, err)
	}
}

func TestExecute_UnavailableIsTheCallersToRepeat(t *testing.T) {
	t.Parallel()
	for _, want := range []error{ledger.ErrUnavailable, ledger.ErrTooLarge, ledger.ErrInvalid, ledger.ErrClosed} {
		s := newFake()
		s.fate = func(int, func() (ledger.Appended, error)) (ledger.Appended, error) { return ledger.Appended{}, want }
		if _, _, asked, err := execute(t, s); !errors.Is(err, want) || asked != 1 || s.calls != 1 {
			t.Errorf("asked %d, %d appends: %v", asked, s.calls, err)
		}
	}
}

func TestAppendKnown_RepeatsTheSameAppendUntilTheAnswerIsKnown(t *testing.T) {
	t.Parallel()
	s := newFake()
	s.fate = func(call int, apply func() (ledger.Appended, error)) (ledger.Appended, error) {
		switch call {
		case 1, 3: // not written
			return ledger.Appended{}, ledger.ErrUnknownOutcome
		case 2: // written, but nobody hears of it
			_, _ = apply()
			return ledger.Appended{}, ledger.ErrUnknownOutcome
		}
		return apply()
	}
	done, err := ledger.AppendKnown(t.Context(), s, countStream, domain.NoStream, issue(ids()(), 2))
	want := ledger.Appended{Revision: 1, Position: 2, Duplicate: true}
	if err != nil || done != want || s.calls != 4 || s.Head() != 2 {
		t.Fatalf("%+v after %d appends: %v", done, s.calls, err)
	}
}

func TestAppendKnown_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := newFake()
	s.fate = func(call int, _ func() (ledger.Appended, error)) (ledger.Appended, error) {
		if call == 5 {
			cancel()
		}
		return ledger.Appended{}, ledger.ErrUnknownOutcome
	}
	_, err := ledger.AppendKnown(ctx, s, countStream, domain.NoStream, issue(ids()(), 1))
	if !errors.Is(err, ledger.ErrUnknownOutcome) || s.calls != 5 {
		t.Fatalf("after %d appends: %v", s.calls, err)
	}
}

// The waits between repeats grow, are not all the same, and end with ctx.
func TestAppendKnown_WaitsBetweenRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const minute = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), minute)
		defer cancel()
		begun := time.Now()
		var waits []time.Duration
		last := begun
		s := newFake()
		s.fate = func(int, func() (ledger.Appended, error)) (ledger.Appended, error) {
			waits = append(waits, time.Since(last))
			last = time.Now()
			return ledger.Appended{}, ledger.ErrUnknownOutcome
		}
		_, err := ledger.AppendKnown(ctx, s, countStream, domain.NoStream, issue(ids()(), 1))
		if !errors.Is(err, ledger.ErrUnknownOutcome) || time.Since(begun) != minute {
			t.Fatalf("after %v: %v", time.Since(begun), err)
		}
		if s.calls < 60 || s.calls > 140 {
			t.Errorf("%d appends in a minute", s.calls)
		}
		if waits[1] > 2*time.Millisecond || waits[len(waits)-1] < time.Second/2 || waits[len(waits)-1] > time.Second {
			t.Errorf("waits %v", waits)
		}
		if waits[len(waits)-1] == waits[len(waits)-2] {
			t.Errorf("two waits are the same: %v", waits)
		}
	})
}

// Once the outcome is unknown, a repeat that wrote nothing leaves it unknown.
func TestAppendKnown_WhatIsUnknownStaysSo(t *testing.T) {
	t.Parallel()
	for _, then := range []error{ledger.ErrUnavailable, ledger.ErrClosed} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s := newFake()
			s.fate = func(call int, apply func() (ledger.Appended, error)) (ledger.Appended, error) {
				if call == 1 {
					_, _ = apply()
					return ledger.Appended{}, ledger.ErrUnknownOutcome
				}
				return ledger.Appended{}, then
			}
			_, err := ledger.AppendKnown(ctx, s, countStream, domain.NoStream, issue(ids()(), 1))
			if !errors.Is(err, ledger.ErrUnknownOutcome) || !errors.Is(err, then) {
				t.Errorf("unknown, then %v, is answered %v", then, err)
			}
			if repeated := s.calls > 2; repeated != errors.Is(then, ledger.ErrUnavailable) {
				t.Errorf("unknown, then %v: %d appends", then, s.calls)
			}
		})
	}
}

// TestExecute_EachDecisionStandsOnce: many writers of one stream, and appends whose outcome stays unknown at random,
// written or not; in the end each decision stands exactly once, in an order that every writer saw.
func TestExecute_EachDecisionStandsOnce(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 40
	s, newID := newFake(), ids()
	seedValue := rand.Uint64()
	t.Logf("seed %d", seedValue)
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seedValue, 0))
	s.fate = func(_ int, apply func() (ledger.Appended, error)) (ledger.Appended, error) {
		mu.Lock()
		throw := dice.IntN(4)
		mu.Unlock()
		if throw == 0 {
			return ledger.Appended{}, ledger.ErrUnknownOutcome
		}
		done, err := apply()
		if throw == 1 {
			return ledger.Appended{}, ledger.ErrUnknownOutcome
		}
		return done, err
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for n := 0; n < each; {
				_, _, err := ledger.Execute(t.Context(), s, countStream, freshCounter,
					func(c *counter) ([]domain.Record, error) {
						r := issue(newID(), 1)
						r[0].Fact.(*domain.KeyIssued).Hash = []byte{byte(c.issued), byte(c.issued >> 8)}
						return r, nil
					})
				switch {
				case err == nil:
					n++
				case !errors.Is(err, ledger.ErrConflict): // given up under contention: decide again
					t.Errorf("execute: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	all := s.snapshot()
	if len(all) != writers*each {
		t.Fatalf("%d records of %d decisions", len(all), writers*each)
	}
	for i, r := range all {
		h := r.Fact.(*domain.KeyIssued).Hash
		if saw := int(h[0]) | int(h[1])<<8; saw != i {
			t.Fatalf("record %d was decided on %d", i, saw)
		}
	}
}
