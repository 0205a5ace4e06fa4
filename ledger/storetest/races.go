package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"hookledger/domain"
	"hookledger/ledger"
)

// ambiguousAppends gives up on appends at any moment, and repeats them.
func ambiguousAppends(t *testing.T, h Harness) {
	s := h.Open(t)
	rng := random(t)
	const writers, rounds = 8, 25
	waits := make([]int, writers*rounds)
	for i := range waits {
		waits[i] = rng.IntN(2000)
	}
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			on := stream()
			var want []domain.Record
			at := domain.NoStream
			for n := range rounds {
				records := some(on, n%3+1)
				ctx, cancel := context.WithCancel(t.Context())
				var giveUp sync.WaitGroup
				giveUp.Go(func() {
					for i := 0; i < waits[w*rounds+n]; i++ {
						_ = ctx.Err() // something to do while the append is on its way
					}
					cancel()
				})
				done, err := s.Append(ctx, on, at, records)
				giveUp.Wait()
				if err != nil {
					if !errors.Is(err, ledger.ErrUnknownOutcome) && !errors.Is(err, ledger.ErrUnavailable) {
						t.Errorf("a cancelled append is answered %v", err)
						return
					}
					if done, err = ledger.AppendKnown(t.Context(), s, on, at, records); err != nil {
						t.Errorf("repeated append: %v", err)
						return
					}
				}
				want = append(want, records...)
				at = done.Revision
			}
			same(t, read(t, s.ReadStream(t.Context(), on, 0)), want, 0)
		})
	}
	work.Wait()
}

func cancelledAppend(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	records := some(on, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Append(ctx, on, domain.NoStream, records)
	if err != nil && !errors.Is(err, ledger.ErrUnknownOutcome) && !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("a cancelled append is answered %v", err)
	}
	mustAppend(t, s, on, domain.NoStream, records)
	same(t, read(t, s.ReadStream(t.Context(), on, 0)), records, 0)
}

func racers(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	at := domain.NoStream
	for range 20 {
		const racing = 8
		tries := make([][]domain.Record, racing)
		errs := make([]error, racing)
		var race sync.WaitGroup
		for i := range racing {
			tries[i] = some(on, 2)
			race.Go(func() { _, errs[i] = ledger.AppendKnown(t.Context(), s, on, at, tries[i]) })
		}
		race.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won >= 0:
				t.Fatalf("racers %d and %d both won", won, i)
			case err == nil:
				won = i
			case !errors.Is(err, ledger.ErrConflict):
				t.Fatalf("racer %d: %v", i, err)
			}
		}
		if won < 0 {
			t.Fatal("nobody won")
		}
		same(t, read(t, s.ReadStream(t.Context(), on, at+1)), tries[won], at+1)
		at += 2
	}
}

func sameRaced(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	at := domain.NoStream
	for range 20 {
		const racing = 6
		records := some(on, 3)
		answers := make([]ledger.Appended, racing)
		var race sync.WaitGroup
		for i := range racing {
			race.Go(func() {
				var err error
				if answers[i], err = ledger.AppendKnown(t.Context(), s, on, at, records); err != nil {
					t.Errorf("racer %d: %v", i, err)
				}
			})
		}
		race.Wait()
		firsts := 0
		for _, a := range answers {
			if !a.Duplicate {
				firsts++
			}
			if a.Revision != answers[0].Revision || a.Position != answers[0].Position {
				t.Errorf("answers %+v and %+v differ", a, answers[0])
			}
		}
		if firsts != 1 {
			t.Errorf("%d of %d answers are not called duplicates", firsts, racing)
		}
		at += 3
	}
	if got := read(t, s.ReadStream(t.Context(), on, 0)); len(got) != 60 {
		t.Errorf("the stream has %d records, want 60", len(got))
	}
}

// conflictShows checks that what an append lost to, or repeated, can be read when it is answered.
func conflictShows(t *testing.T, h Harness) {
	s := h.Open(t)
	const rounds = 60
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range rounds {
				on := stream()
				records := some(on, 1)
				var pair sync.WaitGroup
				for i := range 3 {
					pair.Go(func() {
						mine := records
						if i == 2 {
							mine = some(on, 1)
						}
						done, err := ledger.AppendKnown(t.Context(), s, on, domain.NoStream, mine)
						if err != nil && !errors.Is(err, ledger.ErrConflict) {
							t.Errorf("append: %v", err)
							return
						}
						if got := read(t, s.ReadStream(t.Context(), on, 0)); len(got) != 1 {
							t.Errorf("answered (%+v, %v), and the stream shows %d records", done, err, len(got))
						}
						if err == nil && s.Head() < done.Position {
							t.Errorf("answered position %d, and the head is %d", done.Position, s.Head())
						}
					})
				}
				pair.Wait()
			}
		})
	}
	work.Wait()
}

func contended(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	const writers, each = 6, 15
	var work sync.WaitGroup
	for range writers {
		work.Go(func() {
			for range each {
				for !t.Failed() {
					at := domain.NoStream
					for _, rec := range read(t, s.ReadStream(t.Context(), on, 0)) {
						at = rec.Revision
					}
					_, err := ledger.AppendKnown(t.Context(), s, on, at, some(on, 1))
					if err == nil {
						break
					}
					if !errors.Is(err, ledger.ErrConflict) {
						t.Errorf("append: %v", err)
						return
					}
				}
			}
		})
	}
	work.Wait()
	got := read(t, s.ReadStream(t.Context(), on, 0))
	if len(got) != writers*each {
		t.Fatalf("the stream has %d records, want %d", len(got), writers*each)
	}
	for i, rec := range got {
		if rec.Revision != domain.Revision(i) {
			t.Fatalf("record %d has revision %d", i, rec.Revision)
		}
	}
}

func atomicAppends(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	const appends, size = 80, 5
	written := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		defer close(written)
		for n := range appends {
			if _, err := ledger.AppendKnown(t.Context(), s, on, domain.Revision(n*size)-1, some(on, size)); err != nil {
				t.Errorf("append %d: %v", n, err)
				return
			}
		}
	})
	work.Go(func() {
		for last := false; !last; {
			select {
			case <-written:
				last = true
			default:
			}
			n := 0
			for rec, err := range s.ReadStream(t.Context(), on, 0) {
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				if rec.Revision != domain.Revision(n) {
					t.Errorf("record %d has revision %d", n, rec.Revision)
					return
				}
				n++
			}
			if n%size != 0 {
				t.Errorf("a read shows %d records of appends of %d", n, size)
				return
			}
		}
	})
	work.Wait()
}

// followers checks that all followers, however they read, see the same records in the same order, none missing.
func followers(t *testing.T, h Harness) {
	s := h.Open(t)
	of := tenant()
	from := s.Head()
	const writers, appends = 8, 40
	total := 0
	for n := range appends {
		total += writers * (n%4 + 1)
	}
	var work sync.WaitGroup
	for range writers {
		work.Go(func() {
			on := domain.EventStream(of, tenant())
			at := domain.NoStream
			for n := range appends {
				done, err := ledger.AppendKnown(t.Context(), s, on, at, some(on, n%4+1))
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				at = done.Revision
			}
		})
	}
	seen := make([][]*domain.Record, 4)
	for i := range seen {
		work.Go(func() {
			after := from
			for step := 1; len(seen[i]) < total; step++ {
				n := total - len(seen[i])
				if i > 0 {
					n = min(n, i*step%37+1) // leave and come back often
				}
				err := follow(t.Context(), s, after, of, n, func(rec *domain.Record) {
					seen[i] = append(seen[i], rec)
					after = rec.Position
				})
				if err != nil {
					t.Errorf("follower %d: %v", i, err)
					return
				}
			}
		})
	}
	work.Wait()
	afterwards := readTenant(t, s, from, of)
	if len(afterwards) != total {
		t.Fatalf("the ledger shows %d records, want %d", len(afterwards), total)
	}
	next := map[domain.Stream]domain.Revision{}
	for _, rec := range afterwards {
		if rec.Revision != next[rec.Stream] {
			t.Fatalf("%s: revision %d is due", place(rec), next[rec.Stream])
		}
		next[rec.Stream]++
	}
	for _, got := range seen {
		sameRead(t, got, afterwards)
	}
	sameRead(t, readTenant(t, h.Reopen(t, s), from, of), slices.Clone(afterwards))
}
