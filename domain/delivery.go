package domain

import (
	"cmp"
	"time"

	"github.com/oklog/ulid/v2"
)

// OpenAttempt is an attempt without an outcome.
type OpenAttempt struct {
	ID        string
	N         int
	Node      string
	StartedAt time.Time
	Timeout   time.Duration
	Record    ulid.ULID // of AttemptStarted
	SignedAt  int64     // webhook-timestamp, unix seconds
}

// Delivery is folded from a delivery's stream. The zero value with Revision NoStream is a delivery that was routed and
// never tried: NewDelivery.
type Delivery struct {
	Tenant        string
	ID            string
	Event         string
	Endpoint      string
	Cause         string // CauseRouted or a replay's id; empty before the first record
	Policy        RetryPolicy
	Status        DeliveryStatus
	Revision      Revision
	LastRecord    ulid.ULID
	Attempts      int // started so far
	Step          int // of the schedule that the next automatic retry takes
	Interruptions int // in a row
	DueAt         time.Time
	Open          *OpenAttempt
	next          Trigger         // of the attempt to come
	Requested     *RetryRequested // the last retry that somebody asked for; nil: nobody did
	confirmed     bool            // a 2xx was received, be it after the end: whatever is sent again is marked
	single        bool            // reopened for one attempt: no automatic retry follows
}

// NewDelivery is the state before the first record.
func NewDelivery() *Delivery {
	return &Delivery{Revision: NoStream, Status: StatusPending, next: TriggerInitial}
}

// Clone gives a copy that can be evolved without changing d.
func (d *Delivery) Clone() *Delivery { c := *d; return &c }

// Evolve folds one record of the delivery's stream.
func (d *Delivery) Evolve(r *Record) {
	d.Revision, d.LastRecord = r.Revision, r.ID
	switch f := r.Fact.(type) {
	case *DeliveryScheduled:
		d.Tenant, d.ID = r.Tenant, r.Stream.ID()
		d.Event, d.Endpoint, d.Cause, d.Policy, d.DueAt = f.Event, f.Endpoint, f.Cause, f.Policy, f.DueAt
	case *AttemptStarted:
		d.Attempts, d.Status = f.N, StatusInFlight
		d.Open = &OpenAttempt{ID: f.Attempt, N: f.N, Node: f.Node, StartedAt: f.StartedAt,
			Timeout: time.Duration(f.Timeout), Record: r.ID}
	case *RequestSigned:
		if d.Open != nil && d.Open.ID == f.Attempt {
			open := *d.Open
			open.SignedAt = f.WebhookTimestamp
			d.Open = &open
		}
	case *ResponseReceived:
		d.close(f.Attempt)
		d.confirmed = d.confirmed || f.Taken()
	case *AttemptFailed:
		d.close(f.Attempt)
	case *AttemptInterrupted:
		d.Open = nil
		d.Interruptions++
	case *RetryScheduled:
		d.Status, d.DueAt, d.next = StatusRetrying, f.DueAt, TriggerAutomatic
		if d.Interruptions == 0 {
			d.Step++
		}
	case *RetryRequested:
		d.Requested = f
		d.retryRequested(r)
	case *DeliverySucceeded:
		d.Status, d.single = StatusSucceeded, false
	case *DeliveryExhausted:
		d.Status, d.single = StatusExhausted, false
	case *DeliveryCancelled:
		d.Status, d.single = StatusCancelled, false
	}
}

func (d *Delivery) close(attempt string) {
	if d.Open != nil && d.Open.ID == attempt {
		d.Open, d.Interruptions = nil, 0
	}
}

// A retry that somebody asks for takes the place of the pending one, and so uses up its step; after a terminal it
// reopens the delivery for one attempt.
func (d *Delivery) retryRequested(r *Record) {
	if d.Status.Terminal() {
		d.single = true
	}
	d.Status, d.DueAt, d.next, d.Interruptions = StatusRetrying, r.RecordedAt, TriggerManual, 0
}

// Start is what an attempt is started with; it is all known before the first byte leaves.
type Start struct {
	Stamp
	Due              Due         // names the delivery; used where it has no stream yet
	Policy           RetryPolicy // likewise
	Cause            ulid.ULID   // likewise: the record that made it due (EventRouted), zero where not at hand
	Attempt          string      // a new id
	EndpointRevision Revision
	Method           string
	Host             string
	Headers          []Header // HeaderWebhookReplay is added to a replay's, and to what was confirmed before
	Timeout          time.Duration
	Node             string
	Content          *Sealed       // sealed for the record that StartedAs names
	Signed           RequestSigned // Attempt is filled in; without a scheme nothing is signed, and nothing recorded
}

// Start decides on an attempt: the intent and the signature, with DeliveryScheduled before them at the first. It
// answers nil where there is nothing to start: an attempt is open, the delivery has ended, or it is not due yet.
func (d *Delivery) Start(s Start) []Record {
	if d.Open != nil || d.Status.Terminal() || d.Status == StatusRetrying && d.DueAt.After(s.At) {
		return nil
	}
	facts := make([]Fact, 0, 3)
	cause := d.LastRecord
	if d.Revision == NoStream {
		cause = s.Cause
		facts = append(facts, d.scheduled(s.Due, s.Policy))
	}
	headers, trigger, replay := s.Headers, d.next, d.replay(s.Due)
	if mark := d.Mark(s.Due); mark != "" {
		headers = append(append(make([]Header, 0, len(headers)+1), headers...), Header{HeaderWebhookReplay, mark})
	}
	if replay != "" && trigger == TriggerInitial {
		trigger = TriggerReplay
	}
	facts = append(facts, &AttemptStarted{Attempt: s.Attempt, N: d.Attempts + 1, EndpointRevision: s.EndpointRevision,
		Trigger: trigger, Forced: d.confirmed, Method: s.Method, Host: s.Host, Headers: headers,
		Timeout: Duration(s.Timeout), StartedAt: s.At, Node: s.Node,
		Endpoint: cmp.Or(d.Endpoint, s.Due.Endpoint), Content: s.Content})
	if s.Signed.Scheme != "" {
		signed := s.Signed
		signed.Attempt = s.Attempt
		facts = append(facts, &signed)
	}
	return s.Records(DeliveryStream(s.Due.Tenant, s.Due.Delivery), s.Due.Tenant, s.Due.Event, cause, facts...)
}

// StartedAs is the id that AttemptStarted gets from a Start with this stamp.
func (d *Delivery) StartedAs(s Stamp) ulid.ULID {
	if d.Revision == NoStream {
		return IDAt(s.Base, 1)
	}
	return s.Base
}

// Mark is what a request that repeats an event is marked with: the replay that sends it, or, where the receiver has
// confirmed it before, the delivery itself. It is empty for all others.
func (d *Delivery) Mark(due Due) string {
	if mark := d.replay(due); mark != "" || !d.confirmed {
		return mark
	}
	return due.Delivery
}

func (d *Delivery) scheduled(due Due, policy RetryPolicy) *DeliveryScheduled {
	return &DeliveryScheduled{Event: due.Event, Endpoint: due.Endpoint, Cause: cmp.Or(due.Replay, CauseRouted),
		Policy: policy, DueAt: due.DueAt}
}

// replay is the one that the delivery was scheduled for, empty where it was routed.
func (d *Delivery) replay(due Due) string {
	if d.Revision == NoStream {
		return due.Replay
	}
	return ReplayOf(d.Cause)
}

// Outcome is what an attempt came to: a response or a failure, exactly one of them.
type Outcome struct {
	Stamp
	Attempt      string
	Response     *ResponseReceived
	Failure      *AttemptFailed
	Jitter       float64 // -1 to 1, drawn by the caller
	EndpointGone bool    // the endpoint was removed meanwhile: no retry follows
	Rejected     bool    // the answer is the service's last word on this event: no retry follows
}

// Succeeded says whether the receiver took the event: a 2xx, whole, with which the service confirms.
func (o *Outcome) Succeeded() bool { return o.Response != nil && o.Response.Taken() }

// Finish decides on an outcome, always together with what follows from it. The outcome of an attempt that is no longer
// the open one, or of a delivery that has ended, is late: a 2xx still ends a delivery that is not ended, anything else
// is only recorded.
func (d *Delivery) Finish(o Outcome) []Record {
	open := d.Open != nil && d.Open.ID == o.Attempt
	late := !open || d.Status.Terminal()
	var outcome Fact
	if o.Response != nil {
		f := *o.Response
		f.Attempt, f.Late = o.Attempt, late
		outcome = &f
	} else {
		f := *o.Failure
		f.Attempt, f.Late = o.Attempt, late
		outcome = &f
	}
	cause := d.LastRecord
	if open {
		cause = d.Open.Record
	}
	facts := []Fact{outcome}
	switch {
	case o.Succeeded() && !d.Status.Terminal():
		facts = append(facts, &DeliverySucceeded{Attempt: o.Attempt, Attempts: d.Attempts})
	case late:
	case o.EndpointGone:
		facts = append(facts, &DeliveryCancelled{Reason: "endpoint_removed"})
	default:
		facts = append(facts, d.retryOrExhaust(o))
	}
	return d.records(o.Stamp, cause, facts...)
}

func (d *Delivery) exhausted(last, reason string) *DeliveryExhausted {
	return &DeliveryExhausted{Attempts: d.Attempts, Last: last, Reason: reason, Confirmed: d.confirmed}
}

func (d *Delivery) retryOrExhaust(o Outcome) Fact {
	if o.Rejected {
		return d.exhausted(o.Attempt, "rejected")
	}
	wait, ok := d.Policy.Backoff(d.Step, o.Jitter)
	if !ok || d.single {
		return d.exhausted(o.Attempt, "schedule")
	}
	r := &RetryScheduled{N: d.Attempts + 1, DueAt: o.At.Add(wait), Backoff: Duration(wait)}
	if o.Response != nil {
		if asked := min(time.Duration(o.Response.RetryAfter), MaxRetryAfter); asked > wait {
			r.DueAt, r.Backoff, r.RetryAfterTaken = o.At.Add(asked), Duration(asked), true
		}
	}
	return r
}

// Interrupt decides on an open attempt of which nobody will ever know more: it is closed as unknown, and tried again
// unless the delivery has ended. Interruptions use up no step of the schedule; ten in a row exhaust the delivery.
func (d *Delivery) Interrupt(s Stamp, reason string) []Record {
	if d.Open == nil {
		return nil
	}
	facts := []Fact{&AttemptInterrupted{Attempt: d.Open.ID, Reason: reason}}
	switch n := d.Interruptions + 1; {
	case d.Status.Terminal(): // a late 2xx of an earlier attempt ended it meanwhile
	case n >= MaxInterruptions:
		facts = append(facts, d.exhausted(d.Open.ID, "interruptions"))
	default:
		wait := interruptedBackoff(n)
		facts = append(facts, &RetryScheduled{N: d.Attempts + 1, DueAt: s.At.Add(wait), Backoff: Duration(wait)})
	}
	return d.records(s, d.Open.Record, facts...)
}

// RequestRetry decides on a retry that somebody asks for. An open attempt must end first; a delivery that the receiver
// confirmed is repeated only by force, and that is marked on the wire.
func (d *Delivery) RequestRetry(s Stamp, due Due, policy RetryPolicy, force bool) ([]Record, error) {
	if d.Open != nil {
		return nil, errInFlight()
	}
	if d.confirmed && !force {
		return nil, Refuse(KindConflict, "already_succeeded", "the receiver has confirmed this delivery",
			"repeat with force to send it again, marked as a replay")
	}
	var facts []Fact
	if d.Revision == NoStream {
		facts = append(facts, d.scheduled(due, policy))
	}
	facts = append(facts, d.retryRequest(due, policy))
	return s.Records(DeliveryStream(due.Tenant, due.Delivery), due.Tenant, due.Event, d.LastRecord, facts...), nil
}

// retryRequest says what the retry does to the schedule: it takes the place, and with it the step, of what waited.
func (d *Delivery) retryRequest(due Due, policy RetryPolicy) *RetryRequested {
	f := &RetryRequested{Force: d.confirmed, N: d.Attempts + 1, InPlaceOf: d.DueAt}
	if d.Status.Terminal() {
		f.InPlaceOf = time.Time{}
		return f
	}
	if d.Revision == NoStream {
		f.InPlaceOf = due.DueAt
	} else {
		policy = d.Policy
	}
	if !d.single && d.Step < len(policy.Schedule) {
		f.NextStep, f.NextWait = d.Step+1, policy.Schedule[d.Step]
	}
	return f
}

func errInFlight() error {
	return Refuse(KindConflict, "attempt_in_flight", "an attempt of this delivery is in flight",
		"wait for its outcome, then ask again")
}

// Cancel decides on the end of a delivery that has no open attempt.
func (d *Delivery) Cancel(s Stamp, due Due, policy RetryPolicy, reason string) []Record {
	if d.Open != nil || d.Status.Terminal() {
		return nil
	}
	return d.cancel(s, due, policy, &DeliveryCancelled{Reason: reason})
}

// RequestCancel decides on an end that somebody asks for, of a delivery that waits: for its first attempt, for a retry,
// or held; or of one that is exhausted, which others may wait behind. One that is cancelled stays so. content, where it
// is not nil, is sealed for the record that CancelledAs names.
func (d *Delivery) RequestCancel(s Stamp, due Due, policy RetryPolicy, content *Sealed) ([]Record, error) {
	switch {
	case d.Open != nil:
		return nil, errInFlight()
	case d.Status == StatusCancelled:
		return nil, nil
	case d.Status == StatusSucceeded:
		return nil, Refuse(KindConflict, "delivery_ended", "the delivery has ended: it is "+string(d.Status),
			"there is nothing left to cancel")
	}
	return d.cancel(s, due, policy, &DeliveryCancelled{Reason: CancelRequested, Content: content}), nil
}

// CancelledAs is the id that DeliveryCancelled gets from a decision with this stamp.
func (d *Delivery) CancelledAs(s Stamp) ulid.ULID {
	if d.Revision == NoStream {
		return IDAt(s.Base, 1) // behind DeliveryScheduled
	}
	return s.Base
}

func (d *Delivery) cancel(s Stamp, due Due, policy RetryPolicy, f *DeliveryCancelled) []Record {
	var facts []Fact
	if d.Revision == NoStream {
		facts = append(facts, d.scheduled(due, policy))
	}
	facts = append(facts, f)
	return s.Records(DeliveryStream(due.Tenant, due.Delivery), due.Tenant, due.Event, d.LastRecord, facts...)
}

func (d *Delivery) records(s Stamp, cause ulid.ULID, facts ...Fact) []Record {
	return s.Records(DeliveryStream(d.Tenant, d.ID), d.Tenant, d.Event, cause, facts...)
}
