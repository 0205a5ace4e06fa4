package domain_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

var start = time.Date(2026, 3, 17, 8, 0, 44, 0, time.UTC)

var due = domain.Due{Tenant: "t", Endpoint: "ep_1", Delivery: "dlv_1", Event: "evt_1", DueAt: start,
	Revision: domain.NoStream}

func policy(waits ...time.Duration) domain.RetryPolicy {
	p := domain.RetryPolicy{Jitter: 0.2}
	for _, w := range waits {
		p.Schedule = append(p.Schedule, domain.Duration(w))
	}
	return p
}

// life drives one delivery: each step decides at a time of its own, and folds what it decided.
type life struct {
	d       *domain.Delivery
	now     time.Time
	policy  domain.RetryPolicy
	records []domain.Record
	n       int // of attempt ids
}

func newLife(waits ...time.Duration) *life {
	return &life{d: domain.NewDelivery(), now: start, policy: policy(waits...)}
}

func (l *life) stamp() domain.Stamp {
	return domain.Stamp{At: l.now, Base: domain.IDAt(ulid.ULID{1}, 1000*(len(l.records)+1)), Actor: domain.System("test")}
}

// fold takes what was decided, as a store would, and names the facts.
func (l *life) fold(records []domain.Record) string {
	names := make([]string, 0, len(records))
	for _, r := range records {
		r.Revision = domain.Revision(len(l.records))
		l.records = append(l.records, r)
		l.d.Evolve(&r)
		names = append(names, r.Fact.RecordType())
	}
	return strings.Join(names, " ")
}

func (l *life) startDecision() []domain.Record {
	return l.d.Start(domain.Start{Stamp: l.stamp(), Due: due, Policy: l.policy, Cause: ulid.ULID{9},
		Attempt: fmt.Sprintf("att_%d", l.n+1), EndpointRevision: 3, Method: "POST", Host: "example.com",
		Headers: []domain.Header{{Name: "content-type", Value: "application/json"}}, Timeout: 20 * time.Second, Node: "n",
		Signed: domain.RequestSigned{Scheme: "v1", WebhookID: "evt_1", WebhookTimestamp: l.now.Unix(), Signatures: "v1,x"}})
}

func (l *life) start() string {
	records := l.startDecision()
	if len(records) > 0 {
		l.n++
	}
	return l.fold(records)
}

func (l *life) attempt() string { return fmt.Sprintf("att_%d", l.n) }

func (l *life) outcome(attempt string, status int) domain.Outcome {
	o := domain.Outcome{Stamp: l.stamp(), Attempt: attempt}
	if status == 0 {
		o.Failure = &domain.AttemptFailed{Phase: "connect", Code: domain.CodeRefused, Sent: domain.SentNo}
	} else {
		o.Response = &domain.ResponseReceived{Status: status}
	}
	return o
}

func (l *life) finish(attempt string, status int) string {
	return l.fold(l.d.Finish(l.outcome(attempt, status)))
}

func (l *life) interrupt() string { return l.fold(l.d.Interrupt(l.stamp(), domain.InterruptCrash)) }

func (l *life) retry(force bool) (string, error) {
	records, err := l.d.RequestRetry(l.stamp(), due, l.policy, force)
	return l.fold(records), err
}

func (l *life) last() domain.Fact { return l.records[len(l.records)-1].Fact }

// wait goes to the time of the next attempt.
func (l *life) wait() { l.now = l.d.DueAt }

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("decided %q, want %q", got, want)
	}
}

func TestDelivery_SucceedsAtOnce(t *testing.T) {
	t.Parallel()
	l := newLife(5 * time.Second)
	expect(t, l.start(), "DeliveryScheduled AttemptStarted RequestSigned")
	if o := l.d.Open; l.d.Status != domain.StatusInFlight || o == nil || o.ID != "att_1" || o.SignedAt != start.Unix() {
		t.Fatalf("%+v %+v", l.d, l.d.Open)
	}
	expect(t, l.start(), "")
	l.now = l.now.Add(time.Second)
	expect(t, l.finish("att_1", 204), "ResponseReceived DeliverySucceeded")
	if l.d.Status != domain.StatusSucceeded || l.d.Open != nil || l.d.Attempts != 1 || l.d.Revision != 4 {
		t.Fatalf("%+v", l.d)
	}
	expect(t, l.start(), "")
	first, outcome := l.records[0], l.records[3]
	if first.Stream != "delivery-t.dlv_1" || first.Causation != (ulid.ULID{9}) || first.Correlation != "evt_1" {
		t.Errorf("%+v", first)
	}
	if outcome.Causation != l.records[1].ID {
		t.Error("an outcome is caused by its AttemptStarted")
	}
	for i, r := range l.records {
		if r.Tenant != "t" || r.Stream != first.Stream || r.Correlation != "evt_1" || r.Actor != domain.System("test") {
			t.Errorf("record %d: %+v", i, r)
		}
	}
}

// TestSemantics_TheScheduleIsTheSnapshotOfDeliveryScheduled: each failure takes the next step, and the end of the
// schedule exhausts, whatever the endpoint's schedule has become since.
func TestSemantics_TheScheduleIsTheSnapshotOfDeliveryScheduled(t *testing.T) {
	t.Parallel()
	l := newLife(5*time.Second, 5*time.Minute)
	l.start()
	l.policy = policy(time.Hour, time.Hour, time.Hour, time.Hour)
	for _, wait := range []time.Duration{5 * time.Second, 5 * time.Minute} {
		expect(t, l.finish(l.attempt(), 0), "AttemptFailed RetryScheduled")
		r := l.last().(*domain.RetryScheduled)
		if time.Duration(r.Backoff) != wait || !r.DueAt.Equal(l.now.Add(wait)) || r.N != l.n+1 {
			t.Fatalf("%+v", r)
		}
		l.now = l.d.DueAt.Add(-time.Nanosecond)
		expect(t, l.start(), "")
		l.wait()
		expect(t, l.start(), "AttemptStarted RequestSigned")
		if a := l.started(); a.Trigger != domain.TriggerAutomatic || a.N != l.n {
			t.Fatalf("%+v", a)
		}
	}
	expect(t, l.finish(l.attempt(), 500), "ResponseReceived DeliveryExhausted")
	if f := l.last().(*domain.DeliveryExhausted); f.Attempts != 3 || f.Last != "att_3" || f.Reason != "schedule" {
		t.Fatalf("%+v", f)
	}
}

func TestDelivery_RetryAfterIsHonouredWhenLonger(t *testing.T) {
	t.Parallel()
	for asked, want := range map[time.Duration]time.Duration{
		0: 5 * time.Second, time.Second: 5 * time.Second, time.Minute: time.Minute, 48 * time.Hour: 24 * time.Hour,
	} {
		l := newLife(5 * time.Second)
		l.start()
		o := l.outcome("att_1", 429)
		o.Response.RetryAfter = domain.Duration(asked)
		expect(t, l.fold(l.d.Finish(o)), "ResponseReceived RetryScheduled")
		r := l.last().(*domain.RetryScheduled)
		if time.Duration(r.Backoff) != want || !l.d.DueAt.Equal(start.Add(want)) ||
			r.RetryAfterTaken != (want > 5*time.Second) {
			t.Errorf("asked for %s: %+v", asked, r)
		}
	}
}

// TestSemantics_TenInterruptionsInARowExhaust: they cost no step of the schedule, the first is tried again at once.
func TestSemantics_TenInterruptionsInARowExhaust(t *testing.T) {
	t.Parallel()
	l := newLife(5*time.Second, 5*time.Minute)
	waits := []time.Duration{0, 1, 2, 4, 8, 16, 32, 60, 60}
	for i := range domain.MaxInterruptions - 1 {
		l.start()
		expect(t, l.interrupt(), "AttemptInterrupted RetryScheduled")
		if r := l.last().(*domain.RetryScheduled); time.Duration(r.Backoff) != waits[i]*time.Second {
			t.Fatalf("interruption %d waits %s", i+1, r.Backoff)
		}
		l.wait()
	}
	if l.d.Step != 0 || l.d.Attempts != 9 {
		t.Fatalf("after nine: %+v", l.d)
	}
	l.start()
	expect(t, l.interrupt(), "AttemptInterrupted DeliveryExhausted")
	if f := l.last().(*domain.DeliveryExhausted); f.Reason != "interruptions" || f.Attempts != 10 || f.Last != "att_10" {
		t.Fatalf("%+v", f)
	}
	expect(t, l.interrupt(), "")
}

// TestSemantics_AnOutcomeEndsTheRowOfInterruptions: nine, a failure, and nine more do not exhaust.
func TestSemantics_AnOutcomeEndsTheRowOfInterruptions(t *testing.T) {
	t.Parallel()
	l := newLife(5*time.Second, 5*time.Minute)
	for range 2 {
		for range 9 {
			l.start()
			l.interrupt()
			l.wait()
		}
		l.start()
		expect(t, l.finish(l.attempt(), 503), "ResponseReceived RetryScheduled")
		l.wait()
	}
	if l.d.Step != 2 || l.d.Interruptions != 0 || l.d.Status != domain.StatusRetrying {
		t.Fatalf("%+v", l.d)
	}
}

// takenOver gives a delivery whose first attempt was taken for dead, and whose second one is open.
func takenOver() *life {
	l := newLife(5 * time.Second)
	l.start()
	l.interrupt()
	l.wait()
	l.start()
	return l
}

// TestSemantics_ALate2xxSucceedsAndCancelsTheRetry: the slow worker returns after a takeover.
func TestSemantics_ALate2xxSucceedsAndCancelsTheRetry(t *testing.T) {
	t.Parallel()
	l := newLife(5 * time.Second)
	l.start()
	l.interrupt()
	expect(t, l.finish("att_1", 200), "ResponseReceived DeliverySucceeded")
	if f := l.records[len(l.records)-2].Fact.(*domain.ResponseReceived); !f.Late {
		t.Error("it is marked late")
	}
	l.wait()
	expect(t, l.start(), "")
	if l.d.Status != domain.StatusSucceeded {
		t.Fatalf("%+v", l.d)
	}
}

// TestSemantics_AnOutcomeAfterTheTerminalIsLateAndDecidesNothing: also that of an attempt which is still open, because
// an earlier attempt's late 2xx ended the delivery meanwhile.
func TestSemantics_AnOutcomeAfterTheTerminalIsLateAndDecidesNothing(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{200: "ResponseReceived", 500: "ResponseReceived", 410: "ResponseReceived",
		0: "AttemptFailed"} {
		l := takenOver()
		expect(t, l.finish("att_1", 200), "ResponseReceived DeliverySucceeded")
		if l.d.Open == nil {
			t.Fatal("the second attempt is still open")
		}
		o := l.outcome("att_2", status)
		o.EndpointGone = true
		expect(t, l.fold(l.d.Finish(o)), want)
		if l.d.Status != domain.StatusSucceeded || l.d.Open != nil {
			t.Errorf("status %d: %+v", status, l.d)
		}
		late := false
		switch f := l.last().(type) {
		case *domain.ResponseReceived:
			late = f.Late
		case *domain.AttemptFailed:
			late = f.Late
		}
		if !late {
			t.Errorf("status %d is not marked late", status)
		}
		expect(t, l.finish("att_2", status), want) // the same again is only recorded, too
	}
}

func TestDelivery_AnOpenAttemptOfAnEndedDeliveryIsClosedWithoutARetry(t *testing.T) {
	t.Parallel()
	l := takenOver()
	l.finish("att_1", 200)
	expect(t, l.interrupt(), "AttemptInterrupted")
	if l.d.Status != domain.StatusSucceeded || l.d.Open != nil {
		t.Fatalf("%+v", l.d)
	}
}

func TestDelivery_ALateFailureChangesNothing(t *testing.T) {
	t.Parallel()
	l := takenOver()
	expect(t, l.finish("att_1", 500), "ResponseReceived")
	if l.d.Open == nil || l.d.Open.ID != "att_2" || l.d.Status != domain.StatusInFlight || l.d.Interruptions != 1 ||
		l.d.Step != 0 {
		t.Fatalf("%+v", l.d)
	}
	expect(t, l.finish("att_2", 500), "ResponseReceived RetryScheduled")
}

func TestDelivery_ARemovedEndpointEndsItInsteadOfARetry(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{500: "ResponseReceived DeliveryCancelled",
		200: "ResponseReceived DeliverySucceeded", 0: "AttemptFailed DeliveryCancelled"} {
		l := newLife(5 * time.Second)
		l.start()
		o := l.outcome("att_1", status)
		o.EndpointGone = true
		expect(t, l.fold(l.d.Finish(o)), want)
	}
}

func TestDelivery_Cancel(t *testing.T) {
	t.Parallel()
	l := newLife(5 * time.Second)
	cancel := func() string { return l.fold(l.d.Cancel(l.stamp(), due, l.policy, "erased")) }
	expect(t, cancel(), "DeliveryScheduled DeliveryCancelled") // never tried
	expect(t, cancel(), "")
	l = newLife(5 * time.Second)
	l.start()
	expect(t, cancel(), "") // an open attempt must end first
	l.finish("att_1", 500)
	expect(t, cancel(), "DeliveryCancelled")
	l.wait()
	expect(t, l.start(), "")
}
