package delivery

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"hookledger/domain"
	"hookledger/ledger"
)

// What the ledger does not take, and a panic wherever it comes from, are outcomes like others: no delivery comes again
// and again for them.
func TestSemantics_WhatWouldRecurIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	// The n-th append goes wrong.
	at := func(n int, fail func() error) func(*world) {
		return func(w *world) {
			tries := 0 // the store's own count stands still at a panic
			w.store.fault = func(int, []domain.Record) (bool, error) {
				if tries++; tries == n+1 {
					return false, fail()
				}
				return true, nil
			}
		}
	}
	refused := func(err error) func() error { return func() error { return err } }
	panics := func() error { panic("the codec came to grief") }
	unsent := []string{"DeliveryScheduled", "AttemptStarted", "AttemptFailed", "RetryScheduled"}
	after := all(first, []string{"AttemptFailed", "RetryScheduled"})
	for _, tt := range []struct {
		name  string
		spoil func(*world)
		want  []string
		sent  string
		wire  int
	}{
		{"the intent is invalid", at(0, refused(ledger.ErrInvalid)), unsent, domain.SentNo, 0},
		{"the intent is too large", at(0, refused(ledger.ErrTooLarge)), unsent, domain.SentNo, 0},
		{"the intent panics", at(0, panics), unsent, domain.SentNo, 0},
		{"behind the intent it panics", func(w *world) { w.d.cfg.Store = &blindStore{Store: w.store} }, after, domain.SentNo,
			0},
		{"the outcome is invalid", at(1, refused(ledger.ErrInvalid)), after, domain.SentMaybe, 1},
		{"the outcome panics", at(1, panics), after, domain.SentMaybe, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpoint("ep", hook)
			sent := w.counted(ok200)
			tt.spoil(w)
			id := w.due("ep")
			it, err := w.turn("ep")
			if err != nil || !it.tried || !it.returnAt.IsZero() || *sent != tt.wire {
				t.Fatalf("the handler answered %v, returns at %v, sent %d", err, it.returnAt, *sent)
			}
			sameTypes(t, w.store.types(id), tt.want...)
			f := find[*domain.AttemptFailed](t, w.store.facts(id))
			if f.Code != domain.CodeInternal || f.Sent != tt.sent {
				t.Fatalf("%+v", f)
			}
			saysNoMore(t, f)
		})
	}
}

// saysNoMore fails the test where the failure, which a tenant reads, tells of our code.
func saysNoMore(t *testing.T, f *domain.AttemptFailed) {
	t.Helper()
	for _, word := range []string{"goroutine", ".go:", "came to grief", "runtime error"} {
		if strings.Contains(string(f.Content.Ciphertext), word) { // a memVault's are in the clear
			t.Errorf("the failure says %q", f.Content.Ciphertext)
		}
	}
}

// TestAPanicIsForTheLogAlone: what it says and where it was stands in the log.
func TestAPanicIsForTheLogAlone(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*world){
		"preparing": func(w *world) { w.house.change("ep", func(e *domain.Endpoint) { e.Config.Content = nil }) },
		"sending": func(w *world) {
			w.d.sender.transport = fakeTripper(func(*http.Request) (*http.Response, error) {
				panic("runtime error: came to grief")
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var log bytes.Buffer
			w.d.log = slog.New(slog.NewTextHandler(&log, nil))
			w.endpoint("ep", hook)
			w.counted(ok200)
			spoil(w)
			id := w.due("ep")
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			saysNoMore(t, find[*domain.AttemptFailed](t, w.store.facts(id)))
			for _, word := range []string{"runtime error", ".go:", id} {
				if !strings.Contains(log.String(), word) {
					t.Errorf("the log lacks %q: %s", word, log.String())
				}
			}
		})
	}
}

// blindStore makes what comes behind the first append panic: it was written, and the answer is lost with the handler.
type blindStore struct {
	ledger.Store
	appends int
}

func (s *blindStore) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	done, err := s.Store.Append(ctx, stream, expected, records)
	if s.appends++; s.appends == 1 {
		records[1].Fact = (*domain.AttemptStarted)(nil) // the fold of it panics
	}
	return done, err
}

// Where not even the failure can be recorded, the delivery rests; there is no Nack, and so no pause of all intake.
func TestWhatCannotBeRecordedRestsForLong(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"refused": func() error { return ledger.ErrInvalid },
		"panics":  func() error { panic("each time") },
	} {
		for n := range 2 { // from the intent on, from the outcome on
			w := newWorld(t)
			w.endpoint("ep", hook)
			w.counted(func(int, *http.Request) (*http.Response, error) { return answer(200, ""), nil })
			w.store.fault = func(i int, _ []domain.Record) (bool, error) {
				if i >= n {
					return false, fail()
				}
				return true, nil
			}
			id := w.due("ep")
			begun := w.cfg.Now()
			it, err := w.turn("ep")
			if err != nil || it.returnAt.Before(begun.Add(brokenPause)) {
				t.Fatalf("%s: the handler answered %v, returns at %v", name, err, it.returnAt)
			}
			w.store.setFault(nil)
			if n == 1 { // the next turn ends the attempt that was left open
				w.again(id)
				if _, err := w.turn("ep"); err != nil {
					t.Fatal(err)
				}
				sameTypes(t, w.store.types(id), all(first, unknown)...)
			}
		}
	}
}
