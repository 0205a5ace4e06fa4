package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Retries come by the schedule, through the Router, to the end of it.
func TestRetriesComeByTheSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Jitter = func() float64 { return 0.5 } })
		w.endpoint("ep", hook)
		var at []time.Duration
		start := time.Now()
		w.counted(func(int, *http.Request) (*http.Response, error) {
			at = append(at, time.Since(start))
			return answer(500, "not today"), nil
		})
		id := w.due("ep")
		stop := w.run()
		<-time.After(24 * time.Hour)
		stop()
		// 5 s and 5 min, each moved by half of the 20 % that jitter may move it.
		want := []time.Duration{0, 5500 * time.Millisecond, 5500*time.Millisecond + 330*time.Second}
		if !slices.Equal(at, want) {
			t.Fatalf("attempts at %v, not %v", at, want)
		}
		retry := []string{"ResponseReceived", "RetryScheduled"}
		sameTypes(t, w.store.types(id), all(first, retry, nextTime, retry, nextTime,
			[]string{"ResponseReceived", "DeliveryExhausted"})...)
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("ep", hook)
		var at []time.Duration
		start := time.Now()
		w.counted(func(n int, _ *http.Request) (*http.Response, error) {
			at = append(at, time.Since(start))
			if n == 1 {
				return answer(429, "", "Retry-After", "90"), nil
			}
			return answer(200, ""), nil
		})
		id := w.due("ep")
		stop := w.run()
		<-time.After(time.Hour)
		stop()
		if !slices.Equal(at, []time.Duration{0, 90 * time.Second}) {
			t.Fatalf("attempts at %v", at)
		}
		if r := find[*domain.RetryScheduled](t, w.store.facts(id)); !r.RetryAfterTaken {
			t.Fatalf("%+v", r)
		}
	})
}

// Every wait stands before the intent: at any rate, window and load, the request leaves in the moment of its intent.
func TestSemantics_EveryWaitStandsBeforeTheIntent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Window, c.MaxInFlightPerEndpoint = 4, 2 })
		w.endpoint("ep", hook, func(e *domain.EndpointConfig) { e.RateLimit = 1 })
		w.endpoint("slow", hook)
		sent := w.counted(func(_ int, r *http.Request) (*http.Response, error) {
			for rec := range w.store.ReadAll(context.Background(), 0) {
				if f, ok := rec.Fact.(*domain.AttemptStarted); ok && rec.Correlation == r.Header[domain.HeaderWebhookID][0] {
					if wait := time.Since(f.StartedAt); wait != 0 {
						t.Errorf("the request left %s after its intent", wait)
					}
				}
			}
			<-time.After(3 * time.Second)
			return answer(200, ""), nil
		})
		for range 10 {
			w.due("ep")
			w.due("slow")
		}
		stop := w.run()
		<-time.After(10 * time.Minute)
		stop()
		if *sent != 20 {
			t.Fatalf("%d requests", *sent)
		}
	})
}

// Any error or panic that is not the ledger's is a failed attempt with its decision, never a Nack.
func TestSemantics_AnyOtherErrorIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	failed := []string{"DeliveryScheduled", "AttemptStarted", "AttemptFailed", "RetryScheduled"}
	for _, tt := range []struct {
		name  string
		spoil func(*world)
		want  []string
		phase string
		sent  string
	}{
		{"the event can't be opened", func(w *world) { w.house.bodyErr = vault.ErrTampered }, failed, "prepare", "no"},
		{"the signing key is unknown", func(w *world) {
			w.house.change("ep", func(e *domain.Endpoint) { e.Config.Signing.KeyID = "sk_2" })
		}, failed, "prepare", "no"},
		{"the url does not open", func(w *world) {
			w.house.change("ep", func(e *domain.Endpoint) { e.ConfigType = "EndpointReconfigured" })
		}, failed, "prepare", "no"},
		{"preparing panics", func(w *world) { w.house.change("ep", func(e *domain.Endpoint) { e.Config.Content = nil }) },
			failed, "prepare", "no"},
		{"sending panics", func(w *world) {
			w.d.sender.transport = fakeTripper(func(*http.Request) (*http.Response, error) { panic("oh") })
		}, all(first, []string{"AttemptFailed", "RetryScheduled"}), "connect", "no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpoint("ep", hook)
			w.counted(ok200)
			tt.spoil(w)
			id := w.due("ep")
			it, err := w.turn("ep")
			if err != nil || !it.tried {
				t.Fatalf("the handler answered %v", err)
			}
			sameTypes(t, w.store.types(id), tt.want...)
			f := find[*domain.AttemptFailed](t, w.store.facts(id))
			if f.Code != domain.CodeInternal || f.Sent != tt.sent || f.Phase != tt.phase {
				t.Fatalf("%+v", f)
			}
		})
	}
}

// An answer whose content can't be sealed is recorded without it: that it came must not be lost.
func TestAnswerIsRecordedWithoutItsContentWhereItCannotBeSealed(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*memVault){
		"the key was destroyed": func(v *memVault) { v.erased["dk"] = true },
		"the vault panics":      func(v *memVault) { v.panics = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpoint("ep", hook)
			w.counted(ok200)
			spoil(w.vault)
			id := w.due("ep")
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			sameTypes(t, w.store.types(id), all(first, success)...)
			if r := find[*domain.ResponseReceived](t, w.store.facts(id)); r.Content != nil || !r.Truncated {
				t.Fatalf("%+v", r)
			}
		})
	}
}

// The schedule is the first attempt's; URL and timeout are the endpoint's at each attempt, which names its revision.
func TestSemantics_TheScheduleIsASnapshotAndTheRestIsNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("ep", hook)
		var hosts []string
		w.counted(func(_ int, r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.URL.String())
			return answer(503, ""), nil
		})
		id := w.due("ep")
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
		w.endpoint("ep", "http://elsewhere.example/new", func(c *domain.EndpointConfig) {
			c.RetrySchedule, c.Timeout = []domain.Duration{}, domain.Duration(7*time.Second)
		})
		w.house.change("ep", func(e *domain.Endpoint) { e.ConfigRevision = 4 })
		<-time.After(5 * time.Second)
		w.again(id)
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(hosts, []string{hook, "http://elsewhere.example/new"}) {
			t.Fatalf("sent to %v", hosts)
		}
		facts := w.store.facts(id)
		started := find[*domain.AttemptStarted](t, facts)
		if started.EndpointRevision != 4 || started.Host != "elsewhere.example" ||
			time.Duration(started.Timeout) != 7*time.Second {
			t.Fatalf("%+v", started)
		}
		if r := find[*domain.RetryScheduled](t, facts); time.Duration(r.Backoff) != 5*time.Minute {
			t.Fatalf("the second retry waits %s: the new, empty schedule was taken", r.Backoff)
		}
	})
}

// Same webhook-id and same body on every attempt, a fresh timestamp on each.
func TestSemantics_WebhookIDIsTheEventsID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("ep", hook)
		var ids, stamps []string
		w.counted(func(n int, r *http.Request) (*http.Response, error) {
			ids = append(ids, r.Header[domain.HeaderWebhookID][0])
			stamps = append(stamps, r.Header[domain.HeaderWebhookTimestamp][0])
			return answer(200+300*(1-n/2), ""), nil
		})
		w.due("ep")
		stop := w.run()
		<-time.After(time.Minute)
		stop()
		if !slices.Equal(ids, []string{"evt_000001", "evt_000001"}) || stamps[0] == stamps[1] {
			t.Fatalf("ids %v, timestamps %v", ids, stamps)
		}
	})
}

// After a 2xx that was received, the event goes out again only by force, and marked.
func TestSemantics_AfterA2xxARepeatIsMarked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	var marks []string
	w.counted(func(_ int, r *http.Request) (*http.Response, error) {
		marks = append(marks, strings.Join(r.Header[domain.HeaderWebhookReplay], ","))
		return answer(200, ""), nil
	})
	id := w.due("ep")
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	w.again(id)
	if _, err := w.turn("ep"); err != nil { // nothing asks for it
		t.Fatal(err)
	}
	w.write(id, func(s *domain.Delivery) []domain.Record {
		r, err := s.RequestRetry(w.stamp(), w.backlog.known[id], s.Policy, true)
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
	w.again(id)
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(marks, []string{"", id}) {
		t.Fatalf("the requests were marked %q", marks)
	}
	started := find[*domain.AttemptStarted](t, w.store.facts(id))
	if !started.Forced || started.Trigger != domain.TriggerManual ||
		!slices.Contains(started.Headers, domain.Header{Name: domain.HeaderWebhookReplay, Value: id}) {
		t.Fatalf("%+v", started)
	}
}

// A retry that somebody asks for takes the place of the pending one, at once.
func TestSemantics_RetryRequestedTakesThePlaceOfTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	w.counted(func(n int, _ *http.Request) (*http.Response, error) { return answer(500+n, ""), nil })
	id := w.due("ep")
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	w.again(id) // too early: 5 s are to pass
	if it, err := w.turn("ep"); err != nil || it.returnAt.IsZero() {
		t.Fatalf("taken before its time: %v", err)
	}
	w.write(id, func(s *domain.Delivery) []domain.Record {
		r, err := s.RequestRetry(w.stamp(), w.backlog.known[id], s.Policy, false)
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
	w.again(id)
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	sameTypes(t, w.store.types(id), all(first, []string{"ResponseReceived", "RetryScheduled", "RetryRequested"}, nextTime,
		[]string{"ResponseReceived", "RetryScheduled"})...)
}

func TestErasedEventCancelsItsDeliveries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	sent := w.counted(ok200)
	w.house.bodyErr = vault.ErrErased
	id := w.due("ep")
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	sameTypes(t, w.store.types(id), "DeliveryScheduled", "DeliveryCancelled")
	if c := find[*domain.DeliveryCancelled](t, w.store.facts(id)); c.Reason != "erased" || *sent != 0 {
		t.Fatalf("%+v, %d requests", c, *sent)
	}
}

func TestDisabledAndRemovedEndpointsGetNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	sent := w.counted(func(int, *http.Request) (*http.Response, error) {
		w.house.change("ep", func(e *domain.Endpoint) { e.Removed = true })
		return answer(500, ""), nil
	})
	w.house.change("ep", func(e *domain.Endpoint) { e.Disabled = true })
	held := w.due("ep")
	if it, err := w.turn("ep"); err != nil || it.returnAt.IsZero() || len(w.store.facts(held)) != 0 {
		t.Fatalf("a disabled endpoint's delivery was not held: %v", err)
	}
	w.house.change("ep", func(e *domain.Endpoint) { e.Disabled = false })
	w.again(held)
	if _, err := w.turn("ep"); err != nil { // it is removed while the attempt is under way
		t.Fatal(err)
	}
	sameTypes(t, w.store.types(held), all(first, []string{"ResponseReceived", "DeliveryCancelled"})...)
	if *sent != 1 {
		t.Fatalf("%d requests", *sent)
	}
}

// Ingest's snapshot may be older than the removal: what is routed behind it is ended by its handler, in one append.
func TestRoutedAfterTheRemovalOfItsEndpointIsCancelled(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		w := newWorld(t)
		if known {
			w.endpoint("ep", hook)
			w.house.change("ep", func(e *domain.Endpoint) { e.Removed = true })
		}
		sent := w.counted(ok200)
		id := w.due("ep")
		for range 2 { // the second finds it ended
			if it, err := w.turn("ep"); err != nil || !it.returnAt.IsZero() || *sent != 0 {
				t.Fatalf("returned at %v, %d requests: %v", it.returnAt, *sent, err)
			}
			w.again(id)
		}
		sameTypes(t, w.store.types(id), "DeliveryScheduled", "DeliveryCancelled")
		if c := find[*domain.DeliveryCancelled](t, w.store.facts(id)); c.Reason != "endpoint_removed" {
			t.Fatalf("%+v", c)
		}
		for _, r := range w.store.all { // also without a policy it can be read back
			body, err := ledger.AppendBody(nil, r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ledger.Decode(ledger.AppendHeader(nil, r), body); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The response and the failure are sealed for the records in which they stand.
func TestOutcomesAreSealedForTheirRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoint("ep", hook)
	w.counted(func(n int, _ *http.Request) (*http.Response, error) {
		if n == 1 {
			return answer(200, "a \"body\"\n", "X-B", "2", "X-A", "1"), nil
		}
		return nil, errors.New("no such luck at 10.0.0.1")
	})
	w.due("ep")
	w.due("ep")
	for range 2 {
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range w.store.all {
		switch f := r.Fact.(type) {
		case *domain.ResponseReceived:
			plain, err := w.vault.Open(context.Background(), vault.PlaceOf(r), f.Content)
			var c domain.ResponseContent
			if err != nil || json.Unmarshal(plain, &c) != nil || string(c.Body) != "a \"body\"\n" ||
				!slices.Equal(c.Headers, []domain.Header{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}}) {
				t.Errorf("opened %s: %v", plain, err)
			}
		case *domain.AttemptFailed:
			plain, err := w.vault.Open(context.Background(), vault.PlaceOf(r), f.Content)
			var c domain.FailureContent
			if err != nil || json.Unmarshal(plain, &c) != nil || !strings.Contains(c.Message, "10.0.0.1") {
				t.Errorf("opened %s: %v", plain, err)
			}
		}
	}
}

// At the end requests under way may finish; what does not is recorded as interrupted, what was not begun goes back.
func TestShutdownRecordsWhatWasUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.ShutdownGrace = 10 * time.Second })
		w.endpoint("quick", "http://quick.example/", func(e *domain.EndpointConfig) { e.MaxInFlight = 1 })
		w.endpoint("hung", "http://hung.example/")
		w.d.sender.transport = fakeTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "quick.example" {
				<-time.After(9 * time.Second)
				return answer(200, ""), nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		quick, later, hung := w.due("quick"), w.due("quick"), w.due("hung")
		stop := w.run()
		<-time.After(time.Second)
		start := time.Now()
		stop()
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("the end took %s", took)
		}
		sameTypes(t, w.store.types(quick), all(first, success)...)
		sameTypes(t, w.store.types(hung), all(first, unknown)...)
		if i := find[*domain.AttemptInterrupted](t, w.store.facts(hung)); i.Reason != domain.InterruptShutdown {
			t.Errorf("interrupted for %q", i.Reason)
		}
		if n := len(w.store.facts(later)); n != 0 {
			t.Errorf("%d records of what was not begun", n)
		}
	})
}

// What is durable when the end begins, and not sent yet, is not sent any more.
func TestShutdownDoesNotSendWhatItHasOnlyIntended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("ep", hook)
		sent := w.counted(ok200)
		id := w.due("ep")
		w.d.cfg.Store = &slowStore{memStore: w.store, wait: time.Second}
		end := w.run()
		<-time.After(500 * time.Millisecond) // the intent is being written
		end()
		sameTypes(t, w.store.types(id), all(first, unknown)...)
		if i := find[*domain.AttemptInterrupted](t, w.store.facts(id)); i.Reason != domain.InterruptShutdown || *sent != 0 {
			t.Errorf("interrupted for %q, %d requests", i.Reason, *sent)
		}
	})
}

// slowStore takes its time to make an append durable.
type slowStore struct {
	*memStore
	wait time.Duration
}

func (s *slowStore) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	<-time.After(s.wait)
	return s.memStore.Append(ctx, stream, expected, records)
}
