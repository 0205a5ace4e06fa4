package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

const (
	// freshFor is how old a signed timestamp may be when the request is sent; receivers refuse at 300 s.
	freshFor = 60
	// heldPause is the wait before a delivery to a disabled endpoint is looked at again, when the backlog gave it all
	// the same.
	heldPause = time.Second
	// claimedPause is the wait before a delivery is looked at again which another message of this node deals with.
	claimedPause = 50 * time.Millisecond
	// brokenPause is the wait before a delivery is looked at again of which not even the failure could be recorded.
	brokenPause = 10 * time.Minute
	// maxTurns bounds how often an attempt decides anew because its stream moved on.
	maxTurns = 20
)

// consume is the Watermill handler: it settles the message that handle deals with, where its Router acks or nacks it.
func (d *Delivery) consume(msg *message.Message) (err error) {
	it := itemOf(msg.Context())
	if it == nil {
		return errors.New("delivery: the message is not of a delivery.Source")
	}
	ledger.GrowStack()
	err = errPanic // unless handle returns; the Router then nacks
	defer func() { d.source.settle(it, err) }()
	return d.handle(it)
}

// handle takes a delivery's turn. Its error means that the ledger could not be written or read, nothing else.
func (d *Delivery) handle(it *item) error {
	if d.draining() {
		it.returnAt = it.due.DueAt
		return nil
	}
	if !d.claim(it.due) {
		// Another message deals with it, or has just ended it; what there is to do then, the ledger will say.
		it.returnAt = d.cfg.Now().Add(claimedPause)
		return nil
	}
	defer d.release(it.due)
	a := attempt{d: d, it: it, due: it.due, stream: domain.DeliveryStream(it.due.Tenant, it.due.Delivery),
		state: domain.NewDelivery()}
	return a.run()
}

// attempt is one delivery's turn: what it came to is in the item, and on the ledger.
type attempt struct {
	d      *Delivery
	it     *item
	due    domain.Due
	stream domain.Stream
	state  *domain.Delivery

	endpoint *domain.Endpoint // once something was prepared for it
	prepared *prepared        // with the endpoint
	id       string           // of the attempt, once its intent is durable
	signedAt int64
	sent     bool // the request was handed to the sender
}

// run takes the turn. What would go wrong each time (a panic, records that the ledger does not take) becomes the
// attempt's outcome; where even that can't be recorded, the delivery rests for long.
func (a *attempt) run() error {
	err := a.turn()
	if !wouldRecur(err) {
		return err
	}
	a.d.log.Error("an attempt came to grief", "delivery", a.due.Delivery, "error", forLog(err))
	if err = a.broken(err); !wouldRecur(err) {
		return err
	}
	a.d.log.Error("a failure could not be recorded", "delivery", a.due.Delivery, "again_in", brokenPause,
		"error", forLog(err))
	a.it.returnAt = a.d.cfg.Now().Add(brokenPause)
	return nil
}

// broken records the cause as what the attempt came to: as one that was never sent while there is no intent, else as
// the outcome of the open one. It answers the cause where there is nothing to record it with.
func (a *attempt) broken(cause error) (err error) {
	defer caught(&err)
	if a.id == "" {
		if a.endpoint == nil || a.state.Open != nil {
			return cause
		}
		return a.failUnsent(a.endpoint, a.prepared, a.d.cfg.Now(), cause)
	}
	if err := a.loadPatiently(); err != nil {
		return err
	}
	if a.state.Open == nil || a.state.Open.ID != a.id {
		return nil // its outcome stands there already
	}
	r := &result{err: cause, code: domain.CodeInternal, phase: phasePrepare, sent: domain.SentNo}
	if a.sent {
		r.phase, r.sent = phaseResponse, domain.SentMaybe
	}
	return a.finish(r)
}

func (a *attempt) turn() (err error) {
	defer caught(&err)
	if a.due.Revision != domain.NoStream {
		if err := a.load(); err != nil {
			return err
		}
	}
	begun, err := a.begin()
	if err != nil || !begun {
		return err
	}
	if a.d.draining() {
		return a.interrupt(domain.InterruptShutdown)
	}
	if a.d.cfg.Now().Unix()-a.signedAt >= freshFor {
		return a.interrupt(domain.InterruptExpired)
	}
	a.sent = true
	r := a.prepared.to.send(a.d.sending, a.d.sender, a.prepared)
	if r.err != nil && a.d.sending.Err() != nil {
		return a.interrupt(domain.InterruptShutdown)
	}
	if errors.Is(r.err, errPanic) {
		a.d.log.Error("sending came to grief", "delivery", a.due.Delivery, "error", forLog(r.err))
	}
	return a.finish(r)
}

func (a *attempt) load() error {
	state, _, err := ledger.Load(a.d.recording, a.d.cfg.Store, a.stream, domain.NewDelivery)
	if err != nil {
		return err
	}
	a.state = state
	return nil
}

// begin decides what to do with the delivery, and appends it, until the ledger takes it. It says true when the intent
// to send is durable, is this attempt's, and is still the last word.
func (a *attempt) begin() (bool, error) {
	for range maxTurns {
		begun, err := a.decide()
		if !errors.Is(err, ledger.ErrConflict) {
			return begun, err
		}
		if err := a.load(); err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("begin an attempt of %s: %w", a.due.Delivery, ledger.ErrConflict)
}

func (a *attempt) decide() (bool, error) {
	now := a.d.cfg.Now()
	switch {
	case a.state.Open != nil:
		return false, a.takeOver()
	case a.state.Status.Terminal():
		return false, nil
	case a.state.Status == domain.StatusRetrying && a.state.DueAt.After(now):
		a.it.returnAt = a.state.DueAt
		return false, nil
	}
	e, ok := a.d.cfg.Endpoints.Endpoint(a.due.Tenant, a.due.Endpoint)
	if !ok || !e.Exists() {
		// The removal is the terminal only of what was routed before it: a terminal of its own serves any delivery.
		return false, a.cancel("endpoint_removed", e)
	}
	if e.Disabled {
		a.it.returnAt = now.Add(heldPause)
		return false, nil
	}
	p, err := a.d.prepare(a.due, e, a.state.Mark(a.due), now)
	a.endpoint, a.prepared = e, p
	stamp := a.d.stampAt(now)
	var content *domain.Sealed
	if err == nil {
		content, err = a.seal(stamp, p)
	}
	switch {
	case err == nil:
		return a.start(e, p, stamp, content)
	case errors.Is(err, vault.ErrErased):
		return false, a.cancel("erased", e)
	case ledgerError(err):
		return false, err
	}
	return false, a.failUnsent(e, p, now, err)
}

// takeOver ends an attempt that nobody works on: it is of a former life, or of this one and its handler came to grief.
func (a *attempt) takeOver() error {
	reason := domain.InterruptExpired
	if a.state.Open.Node != a.d.cfg.Node {
		reason = domain.InterruptCrash
	}
	a.count(domain.CodeInterrupted, 0, 0)
	_, err := a.d.append(a.stream, a.state.Revision, a.state.Interrupt(a.d.stamp(), reason), true)
	return err
}

// cancel ends a delivery that has no open attempt; e is nil where the endpoint is not known.
func (a *attempt) cancel(reason string, e *domain.Endpoint) error {
	var policy domain.RetryPolicy
	if e != nil {
		policy = policyOf(e)
	}
	_, err := a.d.append(a.stream, a.state.Revision, a.state.Cancel(a.d.stamp(), a.due, policy, reason), true)
	return err
}

// seal seals the message that p renders, where it does, for the record of the attempt's intent.
func (a *attempt) seal(stamp domain.Stamp, p *prepared) (*domain.Sealed, error) {
	if p.content == nil {
		return nil, nil
	}
	return a.d.cfg.Vault.Seal(a.d.recording, p.keyID, vault.Place{Tenant: a.due.Tenant, Stream: a.stream,
		Record: a.state.StartedAs(stamp), Type: (*domain.AttemptStarted)(nil).RecordType()}, p.content)
}

// start makes the intent durable. Nothing may be sent before it returns true.
func (a *attempt) start(e *domain.Endpoint, p *prepared, stamp domain.Stamp, content *domain.Sealed) (bool, error) {
	records := a.state.Start(domain.Start{Stamp: stamp, Due: a.due, Policy: policyOf(e),
		Attempt: domain.AttemptID(stamp.At, a.d.cfg.NewID()), EndpointRevision: e.ConfigRevision, Method: p.method,
		Host: p.target.host, Headers: p.headers, Timeout: p.timeout, Node: a.d.cfg.Node, Content: content, Signed: p.signed})
	if len(records) == 0 {
		return false, nil
	}
	started := startedIn(records)
	repeated, err := a.d.append(a.stream, a.state.Revision, records, false)
	if err != nil {
		return false, err
	}
	a.id, a.signedAt = started.Attempt, stamp.At.Unix()
	ledger.Fold(a.state, a.state.Revision, records)
	p.headers = started.Headers // with the mark of a repetition
	if !repeated {
		return true, nil
	}
	// Time has passed, and others may have gone on from an intent that we did not know to be durable.
	if err := a.load(); err != nil {
		return false, err
	}
	return a.state.Open != nil && a.state.Open.ID == a.id && !a.state.Status.Terminal(), nil
}

// failUnsent records an attempt that could not even be prepared, with what follows from it, in one append: nothing was
// signed and nothing was sent.
func (a *attempt) failUnsent(e *domain.Endpoint, p *prepared, now time.Time, cause error) error {
	stamp := a.d.stampAt(now)
	id := domain.AttemptID(now, a.d.cfg.NewID())
	records := a.state.Start(domain.Start{Stamp: stamp, Due: a.due, Policy: policyOf(e), Attempt: id,
		EndpointRevision: e.ConfigRevision, Method: p.method, Host: e.Config.Host, Timeout: p.timeout, Node: a.d.cfg.Node})
	if len(records) == 0 {
		return nil
	}
	begun := a.state.Clone()
	ledger.Fold(begun, a.state.Revision, records)
	outcome := domain.Stamp{At: now, Base: domain.IDAt(stamp.Base, len(records)), Actor: stamp.Actor}
	failure := &domain.AttemptFailed{Phase: phasePrepare.String(), Code: domain.CodeInternal, Sent: domain.SentNo}
	failure.Content = a.d.sealFailure(a.stream, a.due.Tenant, p.keyID, outcome.Base, cause)
	records = append(records, begun.Finish(domain.Outcome{Stamp: outcome, Attempt: id, Failure: failure,
		Jitter: a.d.cfg.Jitter()})...)
	a.d.log.Error("an attempt could not be prepared", "delivery", a.due.Delivery, "error", forLog(cause))
	_, err := a.d.append(a.stream, a.state.Revision, records, true)
	a.it.tried = err == nil
	a.count(domain.CodeInternal, 0, 0)
	return err
}

// finish records what the attempt came to, together with what follows from it, however long the ledger takes.
func (a *attempt) finish(r *result) error {
	defer r.release()
	stamp := a.d.stamp()
	o := domain.Outcome{Stamp: stamp, Attempt: a.id, Jitter: a.d.cfg.Jitter()}
	if r.err == nil {
		v := a.prepared.to.judge(r)
		o.Rejected = v == rejected
		o.Response = a.d.response(a.stream, a.due.Tenant, a.prepared.keyID, stamp.Base, r)
		o.Response.Unconfirmed = v == unconfirmed
	} else {
		o.Failure = a.d.failure(a.stream, a.due.Tenant, a.prepared.keyID, stamp.Base, r)
	}
	e, ok := a.d.cfg.Endpoints.Endpoint(a.due.Tenant, a.due.Endpoint)
	o.EndpointGone = !ok || !e.Exists()
	err := a.record(func() []domain.Record { return a.state.Finish(o) })
	a.it.tried, a.it.timedOut = true, r.code == domain.CodeTimeout
	a.count(r.code, r.status, r.timings.Total)
	a.observe(r, stamp.At, err)
	return err
}

func (a *attempt) interrupt(reason string) error {
	stamp := a.d.stamp()
	a.count(domain.CodeInterrupted, 0, 0)
	return a.record(func() []domain.Record {
		if a.state.Open == nil || a.state.Open.ID != a.id {
			return nil
		}
		return a.state.Interrupt(stamp, reason)
	})
}

// record appends what decide gives; when the stream has moved on it decides anew on what is there. The ids may stay the
// same, for a conflict says that they were not written.
func (a *attempt) record(decide func() []domain.Record) error {
	for range maxTurns {
		_, err := a.d.append(a.stream, a.state.Revision, decide(), true)
		if !errors.Is(err, ledger.ErrConflict) {
			return err
		}
		if err := a.loadPatiently(); err != nil {
			return err
		}
	}
	return fmt.Errorf("record the outcome of %s: %w", a.id, ledger.ErrConflict)
}

func (a *attempt) loadPatiently() error {
	for wait := firstRepeat; ; wait = min(2*wait, longestRepeat) {
		err := a.load()
		if err == nil || errors.Is(err, ledger.ErrClosed) || !a.d.pause(wait) {
			return err
		}
	}
}

// Waits between repeats of an append.
const (
	firstRepeat   = 5 * time.Millisecond
	longestRepeat = time.Second
)

// append writes the records behind the revision. While the outcome of the append is unknown it repeats, with the same
// ids and revision, until the answer is known; repeated then says that time has passed, or that the records stood there
// already. patient repeats while the store is not available, too: what was sent must be recorded.
func (d *Delivery) append(stream domain.Stream, at domain.Revision, records []domain.Record,
	patient bool) (repeated bool, err error) {
	if len(records) == 0 {
		return false, nil
	}
	for wait := firstRepeat; ; wait = min(2*wait, longestRepeat) {
		done, err := d.cfg.Store.Append(d.recording, stream, at, records)
		switch {
		case err == nil:
			return repeated || done.Duplicate, nil
		case errors.Is(err, ledger.ErrUnknownOutcome):
			repeated = true
		case errors.Is(err, ledger.ErrUnavailable) && (patient || repeated):
		default:
			return repeated, err
		}
		if !d.pause(wait) {
			return repeated, err
		}
	}
}

// pause waits; false: the node's time to record is over.
func (d *Delivery) pause(wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.recording.Done():
		return false
	}
}

// ledgerError says whether err is the ledger's own, or that of a context that ended: then there is nothing to record it
// in, and the delivery comes again.
func ledgerError(err error) bool {
	for _, e := range []error{ledger.ErrUnavailable, ledger.ErrUnknownOutcome, ledger.ErrClosed, ledger.ErrConflict,
		context.Canceled} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// wouldRecur says whether err is this delivery's own and no state of the ledger: it would come back at each repeat.
func wouldRecur(err error) bool {
	return errors.Is(err, errPanic) || errors.Is(err, ledger.ErrInvalid) || errors.Is(err, ledger.ErrTooLarge)
}

// startedIn is the intent among the records of a domain.Start.
func startedIn(records []domain.Record) *domain.AttemptStarted {
	for i := range records {
		if f, ok := records[i].Fact.(*domain.AttemptStarted); ok {
			return f
		}
	}
	return nil
}

func (d *Delivery) stamp() domain.Stamp { return d.stampAt(d.cfg.Now()) }

func (d *Delivery) stampAt(now time.Time) domain.Stamp {
	return domain.Stamp{At: now, Base: d.cfg.NewID(), Actor: actor}
}

var actor = domain.System("delivery")

func policyOf(e *domain.Endpoint) domain.RetryPolicy {
	return domain.RetryPolicy{Schedule: e.Config.RetrySchedule, Jitter: domain.DefaultJitter}
}
