package projections

import (
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// deliveryState is a delivery's row while it is folded: domain's own fold with what the row says beside it.
type deliveryState struct {
	domain.Delivery
	eventType   string
	createdAt   int64 // microseconds, as all times of rows
	updatedAt   int64
	completedAt int64
	succeededAt int64 // for the first time
	lastCode    int
	lastError   domain.ErrorCode
	replay      string          // that scheduled it
	position    domain.Position // of the record that did, or that routed it
	line        bool            // it stands in an ordered endpoint's line
	stored      bool            // the table has a row of it
	dirty       bool            // and lacks this state
}

// attemptState is an attempt's row while it is folded.
type attemptState struct {
	AttemptRow
	stored, dirty bool
}

// eventState is an event's row while it is folded.
type eventState struct {
	EventRow
	stored, dirty bool
}

// batch is what one transaction folds: the records turn into states, each of which is written once, whatever happened
// to it meanwhile. The maps hold all that the records are about: load fills them before the first is folded.
type batch struct {
	events     map[string]*eventState // by tenant and id
	deliveries map[string]*deliveryState
	attempts   map[string]*attemptState
	replays    map[string]*replayState // by tenant and id
	config     []*domain.Record
	last       checkpoint
	heads      map[string]checkpoint // the last record of each tenant

	// In the order in which they came, so that the rows go into the tables in order.
	eventOrder    []*eventState
	deliveryOrder []*deliveryState
	attemptOrder  []*attemptState
	replayOrder   []*replayState
	reconciled    []domain.Reconciliation
	refused       []domain.Refusal
	fulfilled     []*deliveryState // that succeeded for the first time
	sourceEvents  map[sourceKey]SourceEvents
	// removed names the endpoint whose removal was folded last: its rows must be ended before anything else is folded.
	removed *domain.Record
	// orders are the endpoints' as of the last record; reordered is the one that changed last: its rows must be brought
	// into the new order before anything else is folded.
	orders    map[domain.EndpointKey]order
	reordered *domain.Record
}

func newBatch(orders map[domain.EndpointKey]order) *batch {
	return &batch{orders: orders, events: map[string]*eventState{}, deliveries: map[string]*deliveryState{},
		attempts: map[string]*attemptState{}, replays: map[string]*replayState{}, heads: map[string]checkpoint{}}
}

// openStates are the attempts in flight at the end of a transaction, with their deliveries. Most come to their outcome
// in the next one, which then need not read their rows.
type openStates struct {
	deliveries []*deliveryState
	attempts   []*attemptState
}

// maxOpen bounds each list of openStates; the rows of what is left out are read.
const maxOpen = 4096

// inFlight gives what the next batch is to carry, once this one is committed.
func (b *batch) inFlight() (open openStates) {
	for _, d := range b.deliveries {
		if d != nil && d.Status == domain.StatusInFlight && len(open.deliveries) < maxOpen {
			open.deliveries = append(open.deliveries, d)
		}
	}
	for _, a := range b.attempts {
		if a != nil && a.Status == AttemptInFlight && len(open.attempts) < maxOpen {
			open.attempts = append(open.attempts, a)
		}
	}
	return open
}

// carry takes what the batch before left open. It is taken away: a batch that fails leaves states that no row has.
func (b *batch) carry(open *openStates) {
	for _, d := range open.deliveries {
		b.deliveries[d.ID] = d
	}
	for _, a := range open.attempts {
		b.attempts[a.ID] = a
	}
	*open = openStates{}
}

func eventKey(tenant, id string) string { return tenant + "." + id }

// foldError says that a record can't be folded: the projection stops at it.
type foldError struct {
	projection string
	record     ulid.ULID
	err        error
}

func (e *foldError) Error() string {
	return fmt.Sprintf("the %s projection stopped at record %s: %v", e.projection, e.record, e.err)
}

func (e *foldError) Unwrap() error { return e.err }

// fold folds one record. An error names what is wrong with it.
func (b *batch) fold(r *domain.Record) error {
	var err error
	switch f := r.Fact.(type) {
	case *domain.Unknown:
		return fmt.Errorf("this binary does not know %s in version %d: use a newer one", f.Type, f.Version)
	case *domain.EventReceived:
		b.received(r, f)
	case *domain.EventRouted:
		err = b.routed(r, f)
	case *domain.ReconciliationRun:
		b.reconciled = append(b.reconciled, domain.NewReconciliation(r, f))
	case *domain.EventRefused:
		b.refused = append(b.refused, domain.NewRefusal(r, f))
	case *domain.EndpointRegistered:
		b.config = append(b.config, r)
		b.reorder(r, &f.Config)
	case *domain.EndpointReconfigured:
		b.config = append(b.config, r)
		if b.reorder(r, &f.Config) {
			b.reordered = r
		}
	case *domain.EndpointRemoved:
		b.config = append(b.config, r)
		b.removed = r
		delete(b.orders, keyOf(r))
	default:
		switch r.Stream.Category() {
		case domain.CategoryDelivery:
			err = b.delivery(r)
		case domain.CategoryReplay:
			err = b.replay(r)
		case domain.CategoryTenant, domain.CategoryEndpoint, domain.CategoryAccess, domain.CategorySource:
			b.config = append(b.config, r)
		}
	}
	if err != nil {
		return err
	}
	b.last = checkpoint{position: r.Position, record: r.ID, stream: r.Stream, revision: r.Revision,
		at: micros(r.RecordedAt)}
	b.heads[r.Tenant] = b.last
	return nil
}

func (b *batch) received(r *domain.Record, f *domain.EventReceived) {
	e := &eventState{dirty: true, EventRow: EventRow{Tenant: r.Tenant, ID: r.Stream.ID(), Event: f.Event,
		SchemaVersion: f.SchemaVersion, Timestamp: f.Timestamp, Source: f.Source, Sequence: f.Sequence, Size: f.Size,
		CreatedAt: r.RecordedAt, Position: r.Position}}
	b.events[eventKey(e.Tenant, e.ID)] = e
	b.eventOrder = append(b.eventOrder, e)
	b.brought(r)
}

func (b *batch) routed(r *domain.Record, f *domain.EventRouted) error {
	e := b.events[eventKey(r.Tenant, r.Stream.ID())]
	if e == nil {
		return fmt.Errorf("event %s was routed and never received", r.Stream.ID())
	}
	e.Deliveries = len(f.Matches)
	if !e.dirty {
		e.dirty = true
		b.eventOrder = append(b.eventOrder, e)
	}
	for _, m := range f.Matches {
		d := &deliveryState{Delivery: *domain.NewDelivery(), eventType: e.Event, createdAt: micros(r.RecordedAt)}
		d.Tenant, d.ID, d.Event, d.Endpoint, d.DueAt = r.Tenant, m.Delivery, e.ID, m.Endpoint, r.RecordedAt
		d.position = r.Position
		b.inLine(d, r, false)
		b.deliveries[d.ID] = d
		b.touch(d, r)
	}
	return nil
}

func (b *batch) touch(d *deliveryState, r *domain.Record) {
	d.updatedAt = micros(r.RecordedAt)
	if !d.dirty {
		d.dirty = true
		b.deliveryOrder = append(b.deliveryOrder, d)
	}
}

func (b *batch) delivery(r *domain.Record) error {
	d := b.deliveries[r.Stream.ID()]
	if f, first := r.Fact.(*domain.DeliveryScheduled); first && d == nil {
		d = b.scheduled(r, f)
	}
	if d == nil {
		return fmt.Errorf("delivery %s was never routed", r.Stream.ID())
	}
	if _, first := r.Fact.(*domain.DeliveryScheduled); first {
		d.Status = domain.StatusPending // also where its endpoint's removal had ended it: somebody went on all the same
	}
	ended := d.Status.Terminal()
	switch f := r.Fact.(type) {
	case *domain.RequestSigned:
		d.Revision = r.Revision // all that this one changes of a row
		b.touch(d, r)
		return nil
	case *domain.AttemptStarted:
		b.started(d, r, f)
		d.completedAt = 0
	case *domain.ResponseReceived:
		if err := b.responded(r, f); err != nil {
			return err
		}
		// A late answer changes nothing, unless it is the one that ends the delivery.
		if code := answerError(f); !f.Late || code == "" && !ended {
			d.lastCode, d.lastError = f.Status, code
		}
	case *domain.AttemptFailed:
		if err := b.failed(r, f); err != nil {
			return err
		}
		if !f.Late {
			d.lastCode, d.lastError = 0, f.Code
		}
	case *domain.AttemptInterrupted:
		if err := b.interrupted(f); err != nil {
			return err
		}
		d.lastCode, d.lastError = 0, domain.CodeInterrupted
	case *domain.DeliverySucceeded:
		b.succeeded(d, r)
	}
	d.Evolve(r)
	switch now := d.Status.Terminal(); {
	case now && !ended:
		d.completedAt = micros(r.RecordedAt)
	case !now:
		d.completedAt = 0
	}
	b.inLine(d, r, ended)
	b.touch(d, r)
	return nil
}

// scheduled is the state of a row that was not read: no attempt was begun, and what is not known here (the event's
// type) never changes in a row.
func (b *batch) scheduled(r *domain.Record, f *domain.DeliveryScheduled) *deliveryState {
	d := &deliveryState{Delivery: *domain.NewDelivery(), stored: true, createdAt: micros(f.DueAt),
		replay: domain.ReplayOf(f.Cause)}
	d.Tenant, d.ID, d.Event, d.Endpoint = r.Tenant, r.Stream.ID(), f.Event, f.Endpoint
	b.deliveries[d.ID] = d
	return d
}

// dueAt is the row's: when a delivery that waits is to be tried.
func (d *deliveryState) dueAt() int64 {
	if d.Status == domain.StatusPending || d.Status == domain.StatusRetrying {
		return dueMicros(d.DueAt)
	}
	return 0
}

func (b *batch) started(d *deliveryState, r *domain.Record, f *domain.AttemptStarted) {
	a := &attemptState{dirty: true, AttemptRow: AttemptRow{Tenant: d.Tenant, ID: f.Attempt, DeliveryID: d.ID,
		EventID: d.Event, EndpointID: d.Endpoint, N: f.N, Trigger: f.Trigger, Forced: f.Forced,
		Status: AttemptInFlight, StartedAt: f.StartedAt}}
	b.attempts[a.ID] = a
	b.attemptOrder = append(b.attemptOrder, a)
}

func (b *batch) outcome(id string) (*attemptState, error) {
	a := b.attempts[id]
	if a == nil {
		return nil, fmt.Errorf("attempt %s was never started", id)
	}
	if !a.dirty {
		a.dirty = true
		b.attemptOrder = append(b.attemptOrder, a)
	}
	return a, nil
}

func (b *batch) responded(_ *domain.Record, f *domain.ResponseReceived) error {
	a, err := b.outcome(f.Attempt)
	if err != nil {
		return err
	}
	a.Status, a.Code, a.ErrorCode = AttemptSucceeded, f.Status, answerError(f)
	if a.ErrorCode != "" {
		a.Status = AttemptFailed
	}
	a.Duration, a.RemoteAddr, a.Late = time.Duration(f.Timings.Total)*time.Microsecond, f.RemoteAddr, f.Late
	return nil
}

func (b *batch) failed(_ *domain.Record, f *domain.AttemptFailed) error {
	a, err := b.outcome(f.Attempt)
	if err != nil {
		return err
	}
	a.Status, a.Code, a.ErrorCode = AttemptFailed, 0, f.Code
	a.Duration, a.RemoteAddr, a.Late = time.Duration(f.Timings.Total)*time.Microsecond, f.RemoteAddr, f.Late
	return nil
}

func (b *batch) interrupted(f *domain.AttemptInterrupted) error {
	a, err := b.outcome(f.Attempt)
	if err != nil {
		return err
	}
	a.Status, a.ErrorCode = AttemptInterrupted, domain.CodeInterrupted
	return nil
}

// answerError is responseError, and says of a 2xx that the service does not confirm with what it is.
func answerError(f *domain.ResponseReceived) domain.ErrorCode {
	if f.Unconfirmed {
		return domain.CodeBadResponse
	}
	return responseError(f.Status)
}

// responseError is empty for a 2xx.
func responseError(status int) domain.ErrorCode {
	switch {
	case status >= 200 && status < 300:
		return ""
	case status >= 300 && status < 400:
		return domain.CodeRedirect
	}
	return domain.CodeHTTPStatus
}

// end ends the deliveries of a removed endpoint that stand in the batch and have no open attempt, as the statement of
// endRemoved does with the rows; both have been written before.
func (b *batch) end(removed *domain.Record) {
	for _, d := range b.deliveries {
		if d != nil && d.Tenant == removed.Tenant && d.Endpoint == removed.Stream.ID() && d.dueAt() > 0 {
			d.Status, d.line = domain.StatusCancelled, false
			d.completedAt, d.updatedAt = micros(removed.RecordedAt), micros(removed.RecordedAt)
		}
	}
}

// micros is a time as rows hold it; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// dueMicros is micros of the due time of something that waits: never 0, which would say that it does not.
func dueMicros(t time.Time) int64 { return max(1, t.UnixMicro()) }

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
