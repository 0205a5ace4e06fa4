package storetest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"

	"hookledger/domain"
	"hookledger/ledger"
)

func waits(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	done := mustAppend(t, s, on, domain.NoStream, some(on, 3))
	for _, after := range []domain.Position{0, done.Position - 1} {
		if err := s.Wait(t.Context(), after); err != nil {
			t.Errorf("wait behind position %d, head is %d: %v", after, s.Head(), err)
		}
	}

	// Never late: each wait that began before an append ends after it.
	at, after := done.Revision, done.Position
	for range 30 {
		woken := make(chan error, 1)
		go func() {
			woken <- follow(t.Context(), s, after, on.Tenant(), 1, func(rec *domain.Record) { after = rec.Position })
		}()
		at = mustAppend(t, s, on, at, some(on, 1)).Revision
		if err := <-woken; err != nil {
			t.Fatalf("wait behind position %d: %v", after, err)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		for {
			if err := s.Wait(ctx, s.Head()); err != nil {
				ended <- err
				return
			}
		}
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait ends with %v", err)
	}
}

func waitWakesAll(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	done := mustAppend(t, s, on, domain.NoStream, some(on, 1))
	const waiters = 50
	var woken sync.WaitGroup
	for range waiters {
		woken.Go(func() {
			if err := follow(t.Context(), s, done.Position, on.Tenant(), 1, func(*domain.Record) {}); err != nil {
				t.Errorf("wait: %v", err)
			}
		})
	}
	mustAppend(t, s, on, 0, some(on, 1))
	woken.Wait()
}

func heads(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	last, at := s.Head(), domain.NoStream
	for range 20 {
		done := mustAppend(t, s, on, at, some(on, 2))
		at = done.Revision
		head := s.Head()
		if head < done.Position || done.Position <= last {
			t.Fatalf("head was %d, then an append stands at %d and the head is %d", last, done.Position, head)
		}
		last = head
	}
	if got := readTenant(t, s, 0, on.Tenant()); len(got) != 40 {
		t.Errorf("up to head %d there are %d records, want 40", last, len(got))
	}
	if got := readTenant(t, s, last, on.Tenant()); len(got) > 0 {
		t.Errorf("behind head %d there are %d records", last, len(got))
	}
	s = h.Reopen(t, s)
	if s.Head() < last {
		t.Errorf("head was %d and is %d after a restart", last, s.Head())
	}
}

func restartInMidRead(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	from := s.Head()
	at := domain.NoStream
	for range 50 {
		at = mustAppend(t, s, on, at, some(on, 4)).Revision
	}
	want := readTenant(t, s, from, on.Tenant())
	var got []*domain.Record
	after := from
	for _, stop := range []int{1, 2, 3, 4, 7, 80, 199} { // also in the middle of an append
		for rec, err := range s.ReadAll(t.Context(), after) {
			if err != nil {
				t.Fatalf("read behind position %d: %v", after, err)
			}
			after = rec.Position
			if rec.Stream == on {
				got = append(got, rec)
			}
			if len(got) == stop {
				break
			}
		}
		s = h.Reopen(t, s)
	}
	got = append(got, readTenant(t, s, after, on.Tenant())...)
	sameRead(t, got, want)
}

func leavingReads(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	mustAppend(t, s, on, domain.NoStream, some(on, 5))
	mustAppend(t, s, on, 4, some(on, 5))
	for _, seq := range []iter.Seq2[*domain.Record, error]{
		s.ReadStream(t.Context(), on, 0), s.ReadAll(t.Context(), 0),
	} {
		for _, err := range seq {
			if err != nil {
				t.Errorf("read: %v", err)
			}
			break
		}
	}

	// An append from within a read is no dead end.
	for rec, err := range s.ReadStream(t.Context(), on, 9) {
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, on, rec.Revision, some(on, 1))
		break
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.ReadStream(ctx, on, 0) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled read of a stream ends with %v", err)
		}
	}
	for _, err := range s.ReadAll(ctx, 0) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled read ends with %v", err)
		}
	}
}

func closing(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	done := mustAppend(t, s, on, domain.NoStream, some(on, 1))
	waited := make(chan error, 1)
	go func() {
		for {
			if err := s.Wait(t.Context(), s.Head()); err != nil {
				waited <- err
				return
			}
		}
	}()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	if err := <-waited; !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("a wait ends with %v at close", err)
	}
	if _, err := s.Append(t.Context(), on, done.Revision, some(on, 1)); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("an append after close: %v", err)
	}
	for name, seq := range map[string]func() error{
		"read all": func() error {
			for _, err := range s.ReadAll(t.Context(), 0) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"read stream": func() error {
			for _, err := range s.ReadStream(t.Context(), on, 0) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"wait": func() error { return s.Wait(t.Context(), s.Head()) },
	} {
		if err := seq(); !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("%s after close: %v", name, err)
		}
	}
}

func closingBusy(t *testing.T, h Harness) {
	s := h.Open(t)
	const writers = 8
	var mu sync.Mutex
	acked := map[domain.Stream]int{}
	begun := make(chan struct{}, writers)
	var work sync.WaitGroup
	for range writers {
		work.Go(func() {
			on := stream()
			defer func() {
				if t.Failed() {
					begun <- struct{}{}
				}
			}()
			for n := 0; ; n++ {
				_, err := s.Append(t.Context(), on, domain.Revision(2*n)-1, some(on, 2))
				if errors.Is(err, ledger.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("append while closing: %v", err)
					return
				}
				mu.Lock()
				acked[on] = 2 * (n + 1)
				mu.Unlock()
				if n == 3 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range writers {
		<-begun
	}
	s = h.Reopen(t, s)
	work.Wait()
	for on, n := range acked {
		if got := len(read(t, s.ReadStream(t.Context(), on, 0))); got != n {
			t.Errorf("%d records were acknowledged, %d are there", n, got)
		}
	}
}
