package delivery

import (
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

const hook = "http://receiver.example/hook"

// counted counts the requests that come to a fake receiver.
func (w *world) counted(answerWith func(n int, r *http.Request) (*http.Response, error)) *int {
	n := new(int)
	var mu sync.Mutex
	w.d.sender.transport = fakeTripper(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		*n++
		now := *n
		mu.Unlock()
		return answerWith(now, r)
	})
	return n
}

func ok200(int, *http.Request) (*http.Response, error) { return answer(200, "ok"), nil }

var (
	first    = []string{"DeliveryScheduled", "AttemptStarted", "RequestSigned"}
	success  = []string{"ResponseReceived", "DeliverySucceeded"}
	unknown  = []string{"AttemptInterrupted", "RetryScheduled"}
	nextTime = []string{"AttemptStarted", "RequestSigned"}
)

func all(parts ...[]string) []string { return slices.Concat(parts...) }

// Row 1: the crash, or the refusal, comes before append 2.
func TestSemantics_CrashBeforeTheIntentSendsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	sent := w.counted(ok200)
	id := w.due("ep")
	w.store.setFault(func(n int, _ []domain.Record) (bool, error) { return n > 0, ledger.ErrUnavailable })
	if _, err := w.turn("ep"); !errors.Is(err, ledger.ErrUnavailable) {
		t.Fatalf("the handler answered %v: only a ledger that can't be written is its error", err)
	}
	if *sent != 0 || len(w.store.facts(id)) != 0 {
		t.Fatalf("%d requests were sent without an intent; on the ledger: %v", *sent, w.store.types(id))
	}
	w.store.setFault(nil)
	w.again(id)
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	sameTypes(t, w.store.types(id), all(first, success)...)
}

// The intent is durable before the request leaves: the receiver sees its own attempt on the ledger.
func TestSemantics_IntentBeforeWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	var id string
	sent := w.counted(func(_ int, r *http.Request) (*http.Response, error) {
		facts := w.store.facts(id)
		if len(facts) != 3 {
			t.Errorf("the request left with %v on the ledger", w.store.types(id))
			return answer(200, ""), nil
		}
		signed := find[*domain.RequestSigned](t, facts)
		if got := r.Header[domain.HeaderWebhookSignature]; len(got) != 1 || got[0] != signed.Signatures {
			t.Errorf("sent the signature %q, recorded %q", got, signed.Signatures)
		}
		return answer(200, ""), nil
	})
	id = w.due("ep")
	if _, err := w.turn("ep"); err != nil || *sent != 1 {
		t.Fatalf("%d requests, error %v", *sent, err)
	}
}

// Row 2: append 2 failed but persisted.
func TestSemantics_RepeatedIntentIsSentOnlyWhileOpenAndFresh(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		delay    time.Duration // of the first, ambiguous answer
		write    bool
		requests int
		want     []string
	}{
		{"persisted and fresh", 59 * time.Second, true, 1, all(first, success)},
		{"persisted and stale", 60 * time.Second, true, 0, all(first, unknown)},
		{"not persisted and fresh", time.Second, false, 1, all(first, success)},
		{"not persisted and stale", 61 * time.Second, false, 0, all(first, unknown)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				// Attempts are stamped in whole seconds; start on one.
				<-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
				w := newWorld(t)
				w.endpoint("ep", hook)
				sent := w.counted(ok200)
				id := w.due("ep")
				w.store.setFault(func(n int, _ []domain.Record) (bool, error) {
					if n == 0 {
						<-time.After(tt.delay - firstRepeat)
						return tt.write, ledger.ErrUnknownOutcome
					}
					return true, nil
				})
				if _, err := w.turn("ep"); err != nil {
					t.Fatal(err)
				}
				sameTypes(t, w.store.types(id), tt.want...)
				if *sent != tt.requests {
					t.Fatalf("%d requests were sent", *sent)
				}
				if tt.requests == 0 {
					if i := find[*domain.AttemptInterrupted](t, w.store.facts(id)); i.Reason != domain.InterruptExpired {
						t.Fatalf("interrupted for %q", i.Reason)
					}
				}
			})
		})
	}
}

// Row 2, taken over: while the intent was in doubt, somebody else ended it. It must not be sent.
func TestSemantics_IntentThatWasTakenOverIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	sent := w.counted(ok200)
	id := w.due("ep")
	w.store.setFault(func(n int, _ []domain.Record) (bool, error) {
		if n == 0 {
			return true, ledger.ErrUnknownOutcome
		}
		w.store.fault = nil // held: Append has the lock
		s := domain.NewDelivery()
		for _, r := range w.store.streams[domain.DeliveryStream("default", id)] {
			s.Evolve(r)
		}
		for _, r := range s.Interrupt(w.stamp(), domain.InterruptCrash) {
			r.Revision = domain.Revision(len(w.store.streams[r.Stream]))
			w.store.streams[r.Stream] = append(w.store.streams[r.Stream], &r)
		}
		return true, nil
	})
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	sameTypes(t, w.store.types(id), all(first, unknown)...)
	if *sent != 0 {
		t.Fatal("the request was sent although its attempt was closed")
	}
}

// Row 3: the process dies after append 2; before, on, or after the wire nobody knows.
func TestSemantics_OpenAttemptOfAFormerLifeIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("ep", hook)
		w.counted(func(int, *http.Request) (*http.Response, error) {
			w.store.setFault(func(int, []domain.Record) (bool, error) { return false, ledger.ErrClosed })
			return answer(200, "nobody will know"), nil
		})
		id := w.due("ep")
		if _, err := w.turn("ep"); !errors.Is(err, ledger.ErrClosed) {
			t.Fatalf("the dying life answered %v", err)
		}
		w.store.setFault(nil)
		sameTypes(t, w.store.types(id), first...)

		w.reborn("next life")
		sent := w.counted(ok200)
		w.again(id)
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
		sameTypes(t, w.store.types(id), all(first, unknown)...)
		if i := find[*domain.AttemptInterrupted](t, w.store.facts(id)); i.Reason != domain.InterruptCrash || *sent != 0 {
			t.Fatalf("interrupted for %q, %d requests", i.Reason, *sent)
		}
		w.again(id)
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
		sameTypes(t, w.store.types(id), all(first, unknown, nextTime, success)...)
		if s := w.state(id); s.Attempts != 2 || *sent != 1 {
			t.Fatalf("%d attempts, %d requests of the second life", s.Attempts, *sent)
		}
	})
}

// Row 4: append 3 is ambiguous: it is repeated with the same ids until the answer is known.
func TestSemantics_AmbiguousOutcomeIsRepeated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		write bool
		err   error
	}{
		{"persisted", true, ledger.ErrUnknownOutcome},
		{"not persisted", false, ledger.ErrUnknownOutcome},
		{"not available", false, ledger.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.endpoint("ep", hook)
				sent := w.counted(ok200)
				id := w.due("ep")
				var ids []string
				w.store.setFault(func(n int, r []domain.Record) (bool, error) {
					if n == 0 {
						return true, nil
					}
					ids = append(ids, r[0].ID.String())
					if n < 100 {
						return tt.write, tt.err
					}
					return true, nil
				})
				it, err := w.turn("ep")
				if err != nil || !it.tried {
					t.Fatal(err)
				}
				sameTypes(t, w.store.types(id), all(first, success)...)
				slices.Sort(ids)
				if len(ids) != 100 || len(slices.Compact(ids)) != 1 || *sent != 1 {
					t.Fatalf("appended with the ids %v, sent %d times", slices.Compact(ids), *sent)
				}
			})
		})
	}
}

// Row 5: a slow worker comes back after a takeover.
func TestSemantics_LateAnswerAfterATakeover(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		want   []string
	}{
		{"a 2xx succeeds and ends the retry", 204, all(first, unknown, success)},
		{"anything else is only recorded", 500, all(first, unknown, []string{"ResponseReceived"})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpoint("ep", hook)
			var id string
			w.counted(func(int, *http.Request) (*http.Response, error) {
				w.write(id, func(s *domain.Delivery) []domain.Record { return s.Interrupt(w.stamp(), domain.InterruptCrash) })
				return answer(tt.status, "at last"), nil
			})
			id = w.due("ep")
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			sameTypes(t, w.store.types(id), tt.want...)
			if r := find[*domain.ResponseReceived](t, w.store.facts(id)); !r.Late {
				t.Fatal("the answer is not marked as late")
			}
		})
	}
}

// After the terminal the outcome is recorded as late, without a decision, and changes nothing.
func TestSemantics_OutcomeAfterTheTerminalChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	var id string
	w.counted(func(int, *http.Request) (*http.Response, error) {
		w.write(id, func(s *domain.Delivery) []domain.Record { return s.Interrupt(w.stamp(), domain.InterruptCrash) })
		w.write(id, func(s *domain.Delivery) []domain.Record {
			return s.Cancel(w.stamp(), domain.Due{Tenant: "default", Delivery: id, Event: s.Event, Endpoint: "ep"},
				s.Policy, "endpoint_removed")
		})
		return answer(200, "too late"), nil
	})
	id = w.due("ep")
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	sameTypes(t, w.store.types(id), all(first, unknown, []string{"DeliveryCancelled", "ResponseReceived"})...)
	if s := w.state(id); s.Status != domain.StatusCancelled {
		t.Fatalf("the delivery became %s", s.Status)
	}
}

// A delivery on which every life dies comes to an end: ten interruptions in a row exhaust it, and cost no retry.
func TestSemantics_PoisonousDeliveryExhaustsAfterTenInterruptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("ep", hook)
		id := w.due("ep")
		sent := 0
		for life := 1; !w.state(id).Status.Terminal(); life++ {
			if life > 30 {
				t.Fatalf("it goes on and on: %v", w.store.types(id))
			}
			w.reborn("life " + time.Duration(life).String())
			w.d.sender.transport = fakeTripper(func(*http.Request) (*http.Response, error) {
				sent++
				w.store.setFault(func(int, []domain.Record) (bool, error) { return false, ledger.ErrClosed })
				return answer(200, ""), nil
			})
			for range 2 { // to interrupt what it finds open, then to try itself
				<-time.After(2 * time.Minute)
				if w.state(id).Status.Terminal() {
					break
				}
				if len(w.store.facts(id)) > 0 {
					w.again(id)
				}
				if _, err := w.turn("ep"); err != nil {
					break
				}
			}
			w.store.setFault(nil)
		}
		facts := w.store.facts(id)
		if n := count[*domain.AttemptInterrupted](facts); n != domain.MaxInterruptions || sent != n {
			t.Fatalf("%d interruptions, %d requests", n, sent)
		}
		if e := find[*domain.DeliveryExhausted](t, facts); e.Reason != "interruptions" || e.Attempts != 10 {
			t.Fatalf("exhausted: %+v", e)
		}
		if s := w.state(id); s.Step != 0 {
			t.Fatalf("interruptions used up %d steps of the schedule", s.Step)
		}
	})
}

// An attempt of our own life that nobody works on any more (its handler came to grief) is ended as well.
func TestSemantics_OrphanOfThisLifeIsInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	w.counted(ok200)
	id := w.due("ep")
	w.store.setFault(func(n int, _ []domain.Record) (bool, error) {
		if n > 0 {
			return false, ledger.ErrClosed
		}
		return true, nil
	})
	if _, err := w.turn("ep"); err == nil {
		t.Fatal("the refused outcome is no error")
	}
	w.store.setFault(nil)
	w.again(id)
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	sameTypes(t, w.store.types(id), all(first, unknown)...)
}
