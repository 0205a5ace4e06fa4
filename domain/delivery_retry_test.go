package domain_test

import (
	"testing"
	"time"

	"hookledger/domain"
)

func (l *life) started() *domain.AttemptStarted {
	for i := len(l.records) - 1; i >= 0; i-- {
		if f, ok := l.records[i].Fact.(*domain.AttemptStarted); ok {
			return f
		}
	}
	return nil
}

func replayMark(f *domain.AttemptStarted) bool {
	for _, h := range f.Headers {
		if h.Name == domain.HeaderWebhookReplay {
			return h.Value == "dlv_1"
		}
	}
	return false
}

func mustRetry(t *testing.T, l *life, force bool, want string) {
	t.Helper()
	got, err := l.retry(force)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, got, want)
	if l.d.Status != domain.StatusRetrying || l.d.DueAt.After(l.now) {
		t.Fatalf("it is not due at once: %+v", l.d)
	}
}

// TestSemantics_RetryRequestedTakesThePlaceOfTheNextRetry: the delivery has as many attempts as its schedule gives, no
// matter who asked for them.
func TestSemantics_RetryRequestedTakesThePlaceOfTheNextRetry(t *testing.T) {
	t.Parallel()
	l := newLife(5*time.Second, 5*time.Minute)
	l.start()
	l.finish("att_1", 500)
	mustRetry(t, l, false, "RetryRequested")
	expect(t, l.start(), "AttemptStarted RequestSigned")
	if a := l.started(); a.Trigger != domain.TriggerManual || a.Forced || replayMark(a) {
		t.Fatalf("%+v", a)
	}
	expect(t, l.finish("att_2", 500), "ResponseReceived RetryScheduled")
	if r := l.last().(*domain.RetryScheduled); time.Duration(r.Backoff) != 5*time.Minute {
		t.Fatalf("the step was not used up: %+v", r)
	}
	l.wait()
	expect(t, l.start(), "AttemptStarted RequestSigned")
	expect(t, l.finish("att_3", 500), "ResponseReceived DeliveryExhausted")
}

func TestSemantics_RetryRequestedBeforeTheFirstAttempt(t *testing.T) {
	t.Parallel()
	l := newLife(5 * time.Second)
	mustRetry(t, l, true, "DeliveryScheduled RetryRequested")
	expect(t, l.start(), "AttemptStarted RequestSigned")
	if a := l.started(); a.Trigger != domain.TriggerManual || a.N != 1 || a.Forced || replayMark(a) {
		t.Fatalf("%+v", a)
	}
	expect(t, l.finish("att_1", 500), "ResponseReceived RetryScheduled")
}

// TestSemantics_RetryRequestedReopensForOneAttempt: after exhausted or cancelled.
func TestSemantics_RetryRequestedReopensForOneAttempt(t *testing.T) {
	t.Parallel()
	exhausted := newLife()
	exhausted.start()
	expect(t, exhausted.finish("att_1", 500), "ResponseReceived DeliveryExhausted")
	cancelled := newLife(time.Second, time.Second)
	cancelled.start()
	cancelled.finish("att_1", 500)
	cancelled.fold(cancelled.d.Cancel(cancelled.stamp(), due, cancelled.policy, "endpoint_removed"))
	for _, l := range []*life{exhausted, cancelled} {
		mustRetry(t, l, false, "RetryRequested")
		expect(t, l.start(), "AttemptStarted RequestSigned")
		if l.started().Forced {
			t.Error("it had not succeeded: nothing is forced")
		}
		expect(t, l.interrupt(), "AttemptInterrupted RetryScheduled") // nobody knows: the one attempt is still owed
		l.wait()
		l.start()
		expect(t, l.finish(l.attempt(), 500), "ResponseReceived DeliveryExhausted")
		mustRetry(t, l, false, "RetryRequested")
		l.start()
		expect(t, l.finish(l.attempt(), 200), "ResponseReceived DeliverySucceeded")
	}
}

// TestSemantics_AfterSuccessOnlyByForceAndMarked: already_succeeded without force; with it the request is marked.
func TestSemantics_AfterSuccessOnlyByForceAndMarked(t *testing.T) {
	t.Parallel()
	l := newLife(time.Second, time.Second)
	l.start()
	l.finish("att_1", 200)
	if got, err := l.retry(false); got != "" || domain.Code(err) != "already_succeeded" {
		t.Fatalf("%q, %v", got, err)
	}
	mustRetry(t, l, true, "RetryRequested")
	if !l.last().(*domain.RetryRequested).Force {
		t.Error("the record says that it was forced")
	}
	l.start()
	if a := l.started(); !a.Forced || !replayMark(a) || a.Headers[0].Name != "content-type" {
		t.Fatalf("%+v", a)
	}
	expect(t, l.finish("att_2", 500), "ResponseReceived DeliveryExhausted")
	if !l.last().(*domain.DeliveryExhausted).Confirmed {
		t.Error("the record says that the receiver had confirmed it")
	}
	// The receiver has confirmed it once: that is not forgotten.
	if _, err := l.retry(false); domain.Code(err) != "already_succeeded" {
		t.Fatal(err)
	}
	mustRetry(t, l, true, "RetryRequested")
	l.start()
	if a := l.started(); !a.Forced || !replayMark(a) {
		t.Fatalf("%+v", a)
	}
}

// TestSemantics_A2xxAfterTheEndIsNotForgotten: it changes nothing, but what is sent again is marked.
func TestSemantics_A2xxAfterTheEndIsNotForgotten(t *testing.T) {
	t.Parallel()
	l := newLife()
	for range domain.MaxInterruptions {
		l.start()
		l.interrupt()
		l.wait()
	}
	expect(t, l.finish("att_4", 200), "ResponseReceived")
	if l.d.Status != domain.StatusExhausted {
		t.Fatalf("%+v", l.d)
	}
	if _, err := l.retry(false); domain.Code(err) != "already_succeeded" {
		t.Fatal(err)
	}
	mustRetry(t, l, true, "RetryRequested")
	l.start()
	if !replayMark(l.started()) {
		t.Error("the repetition is not marked")
	}
}

func TestDelivery_NoRetryWhileAnAttemptIsInFlight(t *testing.T) {
	t.Parallel()
	l := newLife(time.Second)
	l.start()
	for _, force := range []bool{false, true} {
		if got, err := l.retry(force); got != "" || domain.Code(err) != "attempt_in_flight" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// The headers of the caller are not written to.
func TestDelivery_TheMarkIsNotLeftInTheCallersHeaders(t *testing.T) {
	t.Parallel()
	l := newLife(time.Second)
	l.start()
	l.finish("att_1", 200)
	mustRetry(t, l, true, "RetryRequested")
	headers := make([]domain.Header, 1, 8)
	l.d.Start(domain.Start{Stamp: l.stamp(), Due: due, Attempt: "att_2", Headers: headers})
	if headers[:2][1].Name != "" {
		t.Error("the mark stands in the caller's array")
	}
}

func TestDelivery_CloneIsItsOwn(t *testing.T) {
	t.Parallel()
	l := newLife(time.Second)
	first := l.startDecision()
	before := l.d.Clone()
	l.fold(first[:2])
	half := l.d.Clone()
	l.fold(first[2:]) // RequestSigned fills in the open attempt
	if before.Revision != domain.NoStream || before.Open != nil || half.Open.SignedAt != 0 || l.d.Open.SignedAt == 0 {
		t.Fatalf("%+v %+v", before, half.Open)
	}
}
