package domain_test

import (
	"net/http"
	"testing"
	"time"

	"hookledger/domain"
)

// TestRetries_WhatEachStatusDoes: every answer and failure takes the same step of the schedule, but for a 2xx. A 410 is
// no exception: that the endpoint is disabled holds the retry back, and it goes on when somebody enables it.
func TestRetries_WhatEachStatusDoes(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		http.StatusOK: "DeliverySucceeded", http.StatusCreated: "DeliverySucceeded",
		http.StatusAccepted: "DeliverySucceeded", http.StatusNoContent: "DeliverySucceeded", 299: "DeliverySucceeded",
		http.StatusSwitchingProtocols: "RetryScheduled",
		http.StatusMovedPermanently:   "RetryScheduled", http.StatusFound: "RetryScheduled",
		http.StatusSeeOther:    "RetryScheduled",
		http.StatusNotModified: "RetryScheduled", http.StatusTemporaryRedirect: "RetryScheduled",
		http.StatusPermanentRedirect: "RetryScheduled",
		http.StatusBadRequest:        "RetryScheduled", http.StatusUnauthorized: "RetryScheduled",
		http.StatusForbidden: "RetryScheduled", http.StatusNotFound: "RetryScheduled", http.StatusConflict: "RetryScheduled",
		http.StatusGone: "RetryScheduled", http.StatusUnprocessableEntity: "RetryScheduled",
		http.StatusTooManyRequests: "RetryScheduled", http.StatusInternalServerError: "RetryScheduled",
		http.StatusBadGateway: "RetryScheduled", http.StatusServiceUnavailable: "RetryScheduled",
		http.StatusGatewayTimeout: "RetryScheduled", 599: "RetryScheduled", 999: "RetryScheduled",
	} {
		l := newLife(5*time.Second, 5*time.Minute)
		l.start()
		expect(t, l.finish("att_1", status), "ResponseReceived "+want)
		if r, ok := l.last().(*domain.RetryScheduled); ok && (time.Duration(r.Backoff) != 5*time.Second || r.N != 2) {
			t.Errorf("%d: %+v", status, r)
		}
		last := newLife()
		last.start()
		if want == "RetryScheduled" {
			want = "DeliveryExhausted"
		}
		expect(t, last.finish("att_1", status), "ResponseReceived "+want)
	}
}

// TestRetries_TheDefaultScheduleWithItsJitter walks through the whole of it, at each end of the jitter.
func TestRetries_TheDefaultScheduleWithItsJitter(t *testing.T) {
	t.Parallel()
	want := []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}
	for jitter, factor := range map[float64]float64{-1: 0.8, 0: 1, 1: 1.2} {
		l := newLife()
		l.policy = domain.RetryPolicy{Schedule: domain.DefaultRetrySchedule(), Jitter: domain.DefaultJitter}
		l.start()
		for step, wait := range want {
			o := l.outcome(l.attempt(), http.StatusInternalServerError)
			o.Jitter = jitter
			expect(t, l.fold(l.d.Finish(o)), "ResponseReceived RetryScheduled")
			moved := time.Duration(float64(wait) * factor).Round(time.Millisecond)
			if got := l.d.DueAt.Sub(l.now); got != moved {
				t.Fatalf("step %d with jitter %v waits %s, want %s", step+1, jitter, got, moved)
			}
			l.wait()
			l.start()
		}
		expect(t, l.finish(l.attempt(), 500), "ResponseReceived DeliveryExhausted")
		if l.d.Attempts != len(want)+1 {
			t.Fatalf("%d attempts", l.d.Attempts)
		}
	}
}

// TestRetries_ARequestSaysWhatItDoesToTheSchedule: what is recorded is what then happens.
func TestRetries_ARequestSaysWhatItDoesToTheSchedule(t *testing.T) {
	t.Parallel()
	wait := []time.Duration{5 * time.Second, 5 * time.Minute}
	for name, c := range map[string]struct {
		before func(*life)
		want   func(*life) domain.RetryRequested
		then   string // what a failure of the attempt comes to
	}{
		"before the first attempt": {
			before: func(*life) {},
			want: func(*life) domain.RetryRequested {
				return domain.RetryRequested{N: 1, InPlaceOf: due.DueAt, NextStep: 1, NextWait: domain.Duration(wait[0])}
			}, then: "RetryScheduled"},
		"in place of the first retry": {
			before: func(l *life) { l.start(); l.finish("att_1", 500) },
			want: func(l *life) domain.RetryRequested {
				return domain.RetryRequested{N: 2, InPlaceOf: l.d.DueAt, NextStep: 2, NextWait: domain.Duration(wait[1])}
			}, then: "RetryScheduled"},
		"in place of the last retry": {
			before: func(l *life) {
				l.start()
				l.finish("att_1", 500)
				l.wait()
				l.start()
				l.finish("att_2", 500)
			},
			want: func(l *life) domain.RetryRequested { return domain.RetryRequested{N: 3, InPlaceOf: l.d.DueAt} },
			then: "DeliveryExhausted"},
		"after an interruption, which cost no step": {
			before: func(l *life) { l.start(); l.interrupt() },
			want: func(l *life) domain.RetryRequested {
				return domain.RetryRequested{N: 2, InPlaceOf: l.d.DueAt, NextStep: 1, NextWait: domain.Duration(wait[0])}
			}, then: "RetryScheduled"},
		"reopened": {
			before: func(l *life) { l.fold(l.d.Cancel(l.stamp(), due, l.policy, domain.CancelErased)) },
			want:   func(*life) domain.RetryRequested { return domain.RetryRequested{N: 1} }, then: "DeliveryExhausted"},
		"reopened, and asked for once more": {
			before: func(l *life) {
				l.fold(l.d.Cancel(l.stamp(), due, l.policy, domain.CancelErased))
				_, _ = l.retry(false)
			},
			want: func(l *life) domain.RetryRequested { return domain.RetryRequested{N: 1, InPlaceOf: l.d.DueAt} },
			then: "DeliveryExhausted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(wait...)
			c.before(l)
			want := c.want(l)
			if _, err := l.retry(false); err != nil {
				t.Fatal(err)
			}
			if got := l.last().(*domain.RetryRequested); *got != want || l.d.Requested != got {
				t.Fatalf("got %+v, want %+v", got, want)
			}
			l.start()
			if l.started().N != want.N {
				t.Fatalf("attempt %d followed", l.started().N)
			}
			expect(t, l.finish(l.attempt(), 500), "ResponseReceived "+c.then)
			if r, ok := l.last().(*domain.RetryScheduled); ok && r.Backoff != want.NextWait {
				t.Fatalf("then waits %s, and not %s", r.Backoff, want.NextWait)
			}
		})
	}
}

// TestRetries_Cancel: what waits can be cancelled, tried or not; what is in flight or has ended can't.
func TestRetries_Cancel(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(*life)
		want   string
		code   string
	}{
		"never tried":         {func(*life) {}, "DeliveryScheduled DeliveryCancelled", ""},
		"waiting for a retry": {func(l *life) { l.start(); l.finish("att_1", 500) }, "DeliveryCancelled", ""},
		"interrupted":         {func(l *life) { l.start(); l.interrupt() }, "DeliveryCancelled", ""},
		"an attempt is open":  {func(l *life) { l.start() }, "", "attempt_in_flight"},
		"cancelled":           {func(l *life) { l.fold(l.d.Cancel(l.stamp(), due, l.policy, "erased")) }, "", ""},
		"succeeded":           {func(l *life) { l.start(); l.finish("att_1", 200) }, "", "delivery_ended"},
		"reopened": {func(l *life) {
			l.start()
			l.finish("att_1", 200)
			_, _ = l.retry(true)
		}, "DeliveryCancelled", ""},
		"a retry was asked for": {func(l *life) { _, _ = l.retry(false) }, "DeliveryCancelled", ""},
		"exhausted, which others may wait behind": {func(l *life) {
			l.policy = policy()
			l.start()
			l.finish("att_1", 500)
		}, "DeliveryCancelled", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLife(5 * time.Second)
			c.before(l)
			status := l.d.Status
			at, content := l.stamp(), &domain.Sealed{KeyID: "dk_1"}
			as := l.d.CancelledAs(at)
			records, err := l.d.RequestCancel(at, due, l.policy, content)
			if domain.Code(err) != c.code {
				t.Fatal(err)
			}
			expect(t, l.fold(records), c.want)
			if c.want == "" {
				if l.d.Status != status {
					t.Fatalf("it is %s", l.d.Status)
				}
				return
			}
			f := l.last().(*domain.DeliveryCancelled)
			if f.Reason != domain.CancelRequested || f.Content != content || l.records[len(l.records)-1].ID != as {
				t.Fatalf("%+v, as %s", f, as)
			}
			l.wait()
			expect(t, l.start(), "") // nothing follows
			mustRetry(t, l, true, "RetryRequested")
		})
	}
}
