package domain_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"hookledger/domain"
)

// machine drives a delivery through any sequence of commands and holds what is decided against a model that is told in
// the words of the promises, not of the code.
type machine struct {
	life
	open         string // the attempt without an outcome
	attempts     []string
	failures     int // outcomes that were no 2xx, in time, in the first life: each takes a step
	reopened     bool
	terminal     bool
	exhausted    bool // and that is its end
	confirmed    bool // a 2xx came back
	permitted    bool // a forced retry was asked for since
	interrupted  int  // in a row
	seen         map[ulid.ULID]bool
	nothingUntil time.Time // when the retry is due
}

// decide takes a decision, checks that making it changed nothing, and holds the records against the model.
func (m *machine) decide(t *rapid.T, command func() []domain.Record) []domain.Record {
	before := m.d.Clone()
	records := command()
	if !reflect.DeepEqual(before, m.d) {
		t.Fatalf("deciding changed the state from %+v to %+v", before, m.d)
	}
	m.accept(t, records)
	m.fold(records)
	return records
}

func (m *machine) accept(t *rapid.T, records []domain.Record) {
	var outcome, decision domain.Fact
	late, taken, wasTerminal := false, false, m.terminal
	for i, r := range records {
		if m.seen[r.ID] || r.Stream != "delivery-t.dlv_1" || i > 0 && r.Causation != records[i-1].ID {
			t.Fatalf("record %d has a bad envelope: %+v", i, r)
		}
		m.seen[r.ID] = true
		switch f := r.Fact.(type) {
		case *domain.DeliveryScheduled:
			if len(m.records) > 0 || i > 0 {
				t.Fatal("scheduled twice")
			}
		case *domain.AttemptStarted:
			m.started(t, f)
		case *domain.ResponseReceived:
			outcome, late, taken = f, f.Late, f.Status/100 == 2
			m.confirmed = m.confirmed || taken
			m.closed(f.Attempt)
		case *domain.AttemptFailed:
			outcome, late = f, f.Late
			m.closed(f.Attempt)
		case *domain.AttemptInterrupted:
			outcome, late = f, wasTerminal
			m.closed(f.Attempt)
		case *domain.RetryScheduled:
			decision = f
			m.nothingUntil = f.DueAt
		case *domain.DeliverySucceeded, *domain.DeliveryExhausted, *domain.DeliveryCancelled:
			_, cancelled := f.(*domain.DeliveryCancelled)
			if m.terminal && !(cancelled && m.exhausted) { // what is exhausted can be given up by request
				t.Fatalf("%s after the end", r.Fact.RecordType())
			}
			decision, m.terminal = f, true
			_, m.exhausted = f.(*domain.DeliveryExhausted)
		case *domain.RetryRequested:
			m.requested(f)
		}
	}
	if outcome != nil {
		m.outcome(t, outcome, decision, late, taken, wasTerminal)
	}
}

func (m *machine) started(t *rapid.T, f *domain.AttemptStarted) {
	switch {
	case m.open != "":
		t.Fatal("two open attempts")
	case m.terminal:
		t.Fatal("an attempt after the end")
	case m.now.Before(m.nothingUntil):
		t.Fatal("an attempt before it is due")
	case f.N != len(m.attempts)+1:
		t.Fatalf("attempt number %d after %d", f.N, len(m.attempts))
	case m.confirmed && !m.permitted:
		t.Fatal("the receiver has confirmed it, and nobody forced another one")
	case m.confirmed != f.Forced || m.confirmed != replayMark(f):
		t.Fatalf("confirmed is %v, forced %v, marked %v", m.confirmed, f.Forced, replayMark(f))
	}
	m.open = f.Attempt
	m.attempts = append(m.attempts, f.Attempt)
}

func (m *machine) closed(attempt string) {
	if m.open == attempt {
		m.open = ""
	}
}

func (m *machine) requested(f *domain.RetryRequested) {
	m.reopened = m.reopened || m.terminal
	m.terminal, m.exhausted, m.interrupted, m.nothingUntil = false, false, 0, m.now
	m.permitted = m.permitted || f.Force
}

// outcome checks that an outcome stands with its decision, and that it is the right one.
func (m *machine) outcome(t *rapid.T, outcome, decision domain.Fact, late, taken, wasTerminal bool) {
	_, interruption := outcome.(*domain.AttemptInterrupted)
	_, succeeded := decision.(*domain.DeliverySucceeded)
	switch {
	case wasTerminal:
		if decision != nil || !late {
			t.Fatalf("after the end: %T, late %v", decision, late)
		}
		return
	case taken:
		if !succeeded {
			t.Fatalf("a 2xx led to %T", decision)
		}
		return
	case late:
		if decision != nil {
			t.Fatalf("a late failure led to %T", decision)
		}
		return
	case decision == nil || succeeded:
		t.Fatalf("%T led to %T", outcome, decision)
	case interruption:
		m.interrupted++
	default:
		m.interrupted = 0
		m.failures++
	}
	exhausted, _ := decision.(*domain.DeliveryExhausted)
	switch {
	case interruption:
		if want := m.interrupted == domain.MaxInterruptions; (exhausted != nil) != want {
			t.Fatalf("interruption %d in a row: %T", m.interrupted, decision)
		}
	case !m.reopened:
		if want := m.failures == len(m.policy.Schedule)+1; (exhausted != nil) != want {
			t.Fatalf("failure %d on a schedule of %d: %T", m.failures, len(m.policy.Schedule), decision)
		}
	case exhausted == nil:
		t.Fatalf("a delivery that was reopened for one attempt led to %T", decision)
	}
}

func (m *machine) anyAttempt(t *rapid.T) string {
	if len(m.attempts) == 0 {
		t.Skip("nothing was tried")
	}
	if m.open != "" && rapid.IntRange(0, 3).Draw(t, "late") > 0 {
		return m.open
	}
	return rapid.SampledFrom(m.attempts).Draw(t, "attempt")
}

// TestDelivery_EverySequenceKeepsThePromises drives deliveries through random commands; ten rounds, because what is
// rare takes about a thousand of them.
func TestDelivery_EverySequenceKeepsThePromises(t *testing.T) {
	t.Parallel()
	for range 10 {
		rapid.Check(t, anySequence)
	}
}

func anySequence(t *rapid.T) {
	waits := rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, 7200), func(s int64) time.Duration {
		return time.Duration(s) * time.Second
	}), 0, 5).Draw(t, "schedule")
	m := &machine{life: *newLife(waits...), seen: map[ulid.ULID]bool{}}
	whenDue := func() {
		if m.nothingUntil.After(m.now) {
			m.now = m.nothingUntil
		}
	}
	begin := func(t *rapid.T) {
		if len(m.decide(t, m.startDecision)) > 0 {
			m.n++
		} else if m.open == "" && !m.terminal && !m.now.Before(m.nothingUntil) {
			t.Fatal("it is due and was not started")
		}
	}
	interrupt := func(t *rapid.T) {
		m.decide(t, func() []domain.Record { return m.d.Interrupt(m.stamp(), domain.InterruptCrash) })
	}
	finish := func(t *rapid.T, attempt string, status int) {
		o := m.life.outcome(attempt, status)
		o.Jitter = rapid.Float64Range(-1, 1).Draw(t, "jitter")
		m.decide(t, func() []domain.Record { return m.d.Finish(o) })
	}
	t.Repeat(map[string]func(*rapid.T){
		"start": begin,
		"start when due": func(t *rapid.T) {
			whenDue()
			begin(t)
		},
		"pass time": func(t *rapid.T) {
			m.now = m.now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "time")))
		},
		"finish": func(t *rapid.T) {
			finish(t, m.anyAttempt(t), rapid.SampledFrom([]int{0, 200, 302, 410, 429, 500}).Draw(t, "status"))
		},
		"start and fail": func(t *rapid.T) {
			whenDue()
			begin(t)
			if m.open != "" {
				finish(t, m.open, 500)
			}
		},
		"interrupt": interrupt,
		"start and interrupt again and again": func(t *rapid.T) {
			for range rapid.IntRange(1, domain.MaxInterruptions).Draw(t, "times") {
				whenDue()
				begin(t)
				interrupt(t)
			}
		},
		"request retry": func(t *rapid.T) {
			force := rapid.Bool().Draw(t, "force")
			var err error
			open, confirmed := m.open != "", m.confirmed
			m.decide(t, func() (records []domain.Record) {
				records, err = m.d.RequestRetry(m.stamp(), due, m.policy, force)
				return records
			})
			if refused := open || confirmed && !force; (err != nil) != refused {
				t.Fatalf("open %v, confirmed %v, force %v: %v", open, confirmed, force, err)
			}
		},
		"cancel": func(t *rapid.T) {
			if rapid.IntRange(0, 4).Draw(t, "seldom") == 0 {
				m.decide(t, func() []domain.Record { return m.d.Cancel(m.stamp(), due, m.policy, "erased") })
			}
		},
		"request cancel": func(t *rapid.T) {
			if rapid.IntRange(0, 4).Draw(t, "seldom") > 0 {
				return
			}
			var err error
			waits := m.open == "" && (!m.terminal || m.exhausted)
			records := m.decide(t, func() (records []domain.Record) {
				records, err = m.d.RequestCancel(m.stamp(), due, m.policy, nil)
				return records
			})
			if len(records) > 0 != waits || waits && err != nil {
				t.Fatalf("open %q, terminal %v: %d records, %v", m.open, m.terminal, len(records), err)
			}
		},
		"": func(t *rapid.T) {
			refolded := domain.NewDelivery()
			for i := range m.records {
				refolded.Evolve(&m.records[i])
			}
			if !reflect.DeepEqual(refolded, m.d) {
				t.Fatalf("folded anew it is\n%+v\nand was\n%+v", refolded, m.d)
			}
			if m.d.Status.Terminal() != m.terminal || (m.d.Open != nil) != (m.open != "") || m.d.Attempts != len(m.attempts) {
				t.Fatalf("the state is %+v, and the model %+v", m.d, m)
			}
		},
	})
}
