package projections

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLedger is a ledger.Reader in memory whose positions have gaps, with a clock and an author of valid records.
type fakeLedger struct {
	mu      sync.Mutex
	records []*domain.Record
	dropped int // records that were forgotten before them
	streams map[domain.Stream]domain.Revision
	grown   chan struct{}
	clock   time.Time
	ids     uint64
	// The author's view of what it wrote.
	endpoints  map[domain.EndpointKey]*domain.Endpoint
	deliveries map[string]*fakeDelivery
	order      []string                      // deliveries, as they were routed
	replayed   int                           // pairs in the pages of the replay
	paused     bool                          // it is
	policies   map[string]domain.RetryPolicy // by endpoint; else policy
}

type fakeDelivery struct {
	*domain.Delivery
	due       domain.Due
	cancelled bool // by its endpoint's removal
}

var _ ledger.Reader = (*fakeLedger)(nil)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newFakeLedger() *fakeLedger {
	return &fakeLedger{streams: map[domain.Stream]domain.Revision{}, grown: make(chan struct{}), clock: start,
		endpoints: map[domain.EndpointKey]*domain.Endpoint{}, deliveries: map[string]*fakeDelivery{}}
}

func (l *fakeLedger) now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock
}

func (l *fakeLedger) pass(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock = l.clock.Add(d)
}

func (l *fakeLedger) newID() ulid.ULID {
	l.ids++
	var u ulid.ULID
	_ = u.SetTime(uint64(l.clock.UnixMilli()))
	binary.BigEndian.PutUint64(u[8:], l.ids<<8) // room for IDAt
	return u
}

// append writes facts to a stream and gives the position of the last.
func (l *fakeLedger) append(stream domain.Stream, tenant, correlation string, facts ...domain.Fact) domain.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(domain.Stamp{At: l.clock, Base: l.newID()}.Records(stream, tenant, correlation, ulid.ULID{}, facts...))
}

// write appends records; l.mu is held.
func (l *fakeLedger) write(records []domain.Record) domain.Position {
	var pos domain.Position
	for i := range records {
		r := records[i]
		next, ok := l.streams[r.Stream]
		if !ok {
			next = domain.NoStream
		}
		r.Revision = next + 1
		l.streams[r.Stream] = r.Revision
		// Positions are not dense.
		n := l.dropped + len(l.records)
		pos = domain.Position(n*3 + 2 + n%2)
		r.Position = pos
		l.records = append(l.records, &r)
		if d := l.deliveries[r.Stream.ID()]; d != nil && r.Stream.Category() == domain.CategoryDelivery {
			d.Evolve(&r)
			d.cancelled = d.cancelled && !decides(r.Fact)
		}
	}
	close(l.grown)
	l.grown = make(chan struct{})
	return pos
}

// decides says whether a record changes where its delivery stands; a late answer does not.
func decides(f domain.Fact) bool {
	switch f.(type) {
	case *domain.AttemptStarted, *domain.RetryScheduled, *domain.RetryRequested, *domain.DeliverySucceeded,
		*domain.DeliveryExhausted, *domain.DeliveryCancelled:
		return true
	}
	return false
}

func (l *fakeLedger) Head() domain.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == 0 {
		return 0
	}
	return l.records[len(l.records)-1].Position
}

func (l *fakeLedger) Wait(ctx context.Context, after domain.Position) error {
	for {
		l.mu.Lock()
		grown := l.grown
		l.mu.Unlock()
		if l.Head() > after {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *fakeLedger) ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		l.mu.Lock()
		records := l.records
		at := max(0, min(int(after/3)-l.dropped, len(records)))
		l.mu.Unlock()
		for at > 0 && records[at-1].Position > after {
			at--
		}
		for _, r := range records[at:] {
			if r.Position <= after {
				continue
			}
			if ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (l *fakeLedger) ReadStream(ctx context.Context, s domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		for r, err := range l.ReadAll(ctx, 0) {
			if err == nil && (r.Stream != s || r.Revision < from) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// forget drops the records up to the position, which nobody will read any more, and where streams stand: none of those
// that are there may be written again.
func (l *fakeLedger) forget(pos domain.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.records)-1 && l.records[n].Position <= pos {
		n++
	}
	l.records, l.dropped = slices.Clone(l.records[n:]), l.dropped+n
	l.streams = map[domain.Stream]domain.Revision{} // as large as the ledger was long
}

// What the author writes.

func (l *fakeLedger) tenant(name string) {
	l.append(domain.TenantStream(name), name, "", &domain.TenantRegistered{Name: name})
}

func (l *fakeLedger) endpoint(tenant, id string, types ...string) {
	if len(types) == 0 {
		types = []string{"*"}
	}
	key := domain.EndpointKey{Tenant: tenant, Endpoint: id}
	l.endpoints[key] = &domain.Endpoint{}
	l.configure(key, &domain.EndpointRegistered{Config: domain.EndpointConfig{Kind: "webhook", Scheme: "https",
		Host: "example.com", EventTypes: types, RetrySchedule: domain.DefaultRetrySchedule(),
		Timeout: domain.Duration(domain.DefaultTimeout)}})
}

func (l *fakeLedger) configure(key domain.EndpointKey, f domain.Fact) domain.Position {
	pos := l.append(domain.EndpointStream(key.Tenant, key.Endpoint), key.Tenant, "", f)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endpoints[key].Evolve(l.records[len(l.records)-1])
	if _, gone := f.(*domain.EndpointRemoved); gone {
		for _, d := range l.deliveries {
			if d.Tenant == key.Tenant && d.Endpoint == key.Endpoint && d.Open == nil && !d.Status.Terminal() {
				d.cancelled = true
			}
		}
	}
	return pos
}

// event posts an event of the type to the endpoints, in one append.
func (l *fakeLedger) event(tenant, id, eventType string, endpoints ...string) domain.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	routed := &domain.EventRouted{}
	for _, ep := range endpoints {
		m := domain.Match{Endpoint: ep, Delivery: domain.DeliveryID(l.clock, tenant, id, ep, domain.CauseRouted)}
		routed.Matches = append(routed.Matches, m)
		d := &fakeDelivery{Delivery: domain.NewDelivery(), due: domain.Due{Tenant: tenant, Endpoint: ep,
			Delivery: m.Delivery, Event: id, DueAt: l.clock, Revision: domain.NoStream}}
		d.Tenant, d.ID, d.Endpoint = tenant, m.Delivery, ep
		l.deliveries[m.Delivery] = d
		l.order = append(l.order, m.Delivery)
	}
	stamp := domain.Stamp{At: l.clock, Base: l.newID()}
	return l.write(stamp.Records(domain.EventStream(tenant, id), tenant, id, ulid.ULID{},
		&domain.EventReceived{ID: id, Event: eventType, SchemaVersion: 1, Timestamp: l.clock, Size: 300}, routed))
}

// adopt lets the author write about a delivery that it has forgotten, and that was never tried.
func (l *fakeLedger) adopt(due domain.Due) {
	d := &fakeDelivery{Delivery: domain.NewDelivery(), due: due}
	d.Tenant, d.ID, d.Endpoint = due.Tenant, due.Delivery, due.Endpoint
	l.deliveries[due.Delivery] = d
}

// post is event with an id of its own; it gives the first delivery.
func (l *fakeLedger) post(tenant string, endpoints ...string) string {
	l.event(tenant, fmt.Sprintf("evt_%08d", l.dropped+len(l.records)), "agent.status_changed", endpoints...)
	return l.order[len(l.order)-len(endpoints)]
}

var policy = domain.RetryPolicy{Schedule: domain.DefaultRetrySchedule(), Jitter: domain.DefaultJitter}

func (l *fakeLedger) policy(endpoint string) domain.RetryPolicy {
	if p, ok := l.policies[endpoint]; ok {
		return p
	}
	return policy
}

// begin opens an attempt and gives its id; empty where the delivery takes none.
func (l *fakeLedger) begin(delivery string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.deliveries[delivery]
	attempt := domain.NewID(domain.PrefixAttempt, l.newID())
	records := d.Start(domain.Start{Stamp: domain.Stamp{At: l.clock, Base: l.newID()}, Due: d.due,
		Policy: l.policy(d.Endpoint), Attempt: attempt, Method: "POST", Host: "example.com",
		Timeout: domain.DefaultTimeout, Node: "one"})
	if len(records) == 0 {
		return ""
	}
	l.write(records)
	return attempt
}

func (l *fakeLedger) respond(delivery, attempt string, status int) domain.Position {
	return l.finish(delivery, domain.Outcome{Attempt: attempt, Response: &domain.ResponseReceived{Status: status,
		RemoteAddr: "127.0.0.1:80", Timings: domain.Timings{Total: 1500}}})
}

func (l *fakeLedger) fail(delivery, attempt string, code domain.ErrorCode) domain.Position {
	return l.finish(delivery, domain.Outcome{Attempt: attempt, Failure: &domain.AttemptFailed{Phase: "request", Code: code,
		Sent: domain.SentMaybe, Timings: domain.Timings{Total: 2500}}})
}

func (l *fakeLedger) finish(delivery string, o domain.Outcome) domain.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.deliveries[delivery]
	o.Stamp = domain.Stamp{At: l.clock, Base: l.newID()}
	o.EndpointGone = !l.endpoints[domain.EndpointKey{Tenant: d.due.Tenant, Endpoint: d.due.Endpoint}].Exists()
	return l.write(d.Finish(o))
}

func (l *fakeLedger) interrupt(delivery string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(l.deliveries[delivery].Interrupt(domain.Stamp{At: l.clock, Base: l.newID()}, domain.InterruptCrash))
}

func (l *fakeLedger) retry(delivery string, force bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.deliveries[delivery]
	records, err := d.RequestRetry(domain.Stamp{At: l.clock, Base: l.newID()}, d.due, l.policy(d.Endpoint), force)
	if err != nil {
		return false
	}
	l.write(records)
	return true
}

func (l *fakeLedger) cancel(delivery string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.deliveries[delivery]
	if records := d.Cancel(domain.Stamp{At: l.clock, Base: l.newID()}, d.due, policy,
		"endpoint_removed"); len(records) > 0 {
		l.write(records)
	}
}

// skip is a cancel that somebody asks for.
func (l *fakeLedger) skip(delivery string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.deliveries[delivery]
	records, err := d.RequestCancel(domain.Stamp{At: l.clock, Base: l.newID()}, d.due, l.policy(d.Endpoint), nil)
	if err == nil {
		l.write(records)
	}
}

// reorder changes how an endpoint's deliveries follow each other.
func (l *fakeLedger) reorder(tenant, id string, ordered bool, onExhausted string) {
	key := domain.EndpointKey{Tenant: tenant, Endpoint: id}
	cfg := l.endpoints[key].Config
	cfg.Ordered, cfg.OnExhausted = ordered, onExhausted
	l.configure(key, &domain.EndpointReconfigured{Config: cfg})
}

// deliver is a whole attempt that succeeds.
func (l *fakeLedger) deliver(delivery string) domain.Position {
	return l.respond(delivery, l.begin(delivery), 200)
}

// opened opens projections on the ledger.
func (l *fakeLedger) opened(t testing.TB, change func(*Config)) *Projections {
	t.Helper()
	cfg := Config{Dir: t.TempDir(), Store: l, Now: l.now}
	if change != nil {
		change(&cfg)
	}
	p, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}
