package followups

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/ledger/pebblestore"
	"hookledger/ledger/storetest"
	"hookledger/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ten = "acme"

// node is a node in memory without a sender: a test says what receivers answered.
type node struct {
	t      testing.TB
	store  *failing
	vault  *vault.Vault
	bodies *ingest.Bodies
	in     *ingest.Ingest
	log    lockedText

	mu    sync.Mutex
	clock time.Time // guarded by mu
	ids   uint64    // guarded by mu
}

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{t: t, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	fs := vfs.NewMem()
	embedded, err := pebblestore.Open(pebblestore.Config{Dir: "ledger", FS: fs})
	n.must(err)
	n.store = &failing{Store: storetest.Sparse(embedded)}
	t.Cleanup(func() { n.must(n.store.Close()) })
	n.vault, err = vault.Open(vault.Config{Dir: "vault", FS: fs, LedgerID: "led_1",
		Master: domain.NewSecret("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")})
	n.must(err)
	t.Cleanup(func() { n.must(n.vault.Close()) })
	n.bodies = ingest.NewBodies(n.store, n.vault, 1<<20)
	n.in = ingest.New(ingest.Config{Store: n.store, Vault: n.vault, Directory: n, Now: n.now, NewID: n.newID,
		Bodies: n.bodies})
	n.append(domain.TenantStream(ten), &domain.TenantRegistered{Name: ten})
	return n
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.clock
}

func (n *node) pass(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clock = n.clock.Add(d)
}

// newID counts, with a gap behind each.
func (n *node) newID() ulid.ULID {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids++
	return domain.DerivedID(n.clock, "test", fmt.Sprint(n.ids))
}

func (n *node) stamp() domain.Stamp {
	return domain.Stamp{At: n.now(), Base: n.newID(), Actor: domain.System("test")}
}

func (n *node) stream(s domain.Stream) []*domain.Record {
	n.t.Helper()
	var out []*domain.Record
	for r, err := range n.store.ReadStream(context.Background(), s, 0) {
		n.must(err)
		out = append(out, r)
	}
	return out
}

func (n *node) append(stream domain.Stream, facts ...domain.Fact) {
	n.t.Helper()
	at := domain.Revision(len(n.stream(stream))) - 1
	_, err := n.store.Store.Append(context.Background(), stream, at,
		n.stamp().Records(stream, ten, "", ulid.ULID{}, facts...))
	n.must(err)
}

// Routing makes the node a Directory that is always up to date.
func (n *node) Routing(tenant string) (*domain.Routing, bool) {
	t, endpoints := &domain.Tenant{}, map[string]*domain.Endpoint{}
	var asOf ulid.ULID
	for r, err := range n.store.ReadAll(context.Background(), 0) {
		n.must(err)
		switch {
		case r.Tenant != tenant:
		case r.Stream.Category() == domain.CategoryTenant:
			t.Evolve(r)
			asOf = r.ID
		case r.Stream.Category() == domain.CategoryEndpoint:
			e := endpoints[r.Stream.ID()]
			if e == nil {
				e = &domain.Endpoint{}
				endpoints[r.Stream.ID()] = e
			}
			e.Evolve(r)
			asOf = r.ID
		}
	}
	return domain.NewRouting(t, asOf, slices.Collect(maps.Values(endpoints))), tenant == ten
}

// endpoint registers one.
func (n *node) endpoint(id string, change func(*domain.EndpointConfig), patterns ...string) {
	n.t.Helper()
	c := domain.EndpointConfig{Kind: "webhook", Scheme: "https", Host: "example.com", EventTypes: patterns,
		Timeout: domain.Duration(time.Second), RetrySchedule: []domain.Duration{domain.Duration(time.Minute),
			domain.Duration(time.Hour), domain.Duration(time.Hour)}}
	if change != nil {
		change(&c)
	}
	n.append(domain.EndpointStream(ten, id), &domain.EndpointRegistered{Config: c})
}

func kind(name string) func(*domain.EndpointConfig) {
	return func(c *domain.EndpointConfig) { c.Kind = name }
}

func urlChannel(c *domain.EndpointConfig) { c.Channel = domain.ChannelURL }

// post posts an event and gives its deliveries by endpoint.
func (n *node) post(event, data string) map[string]domain.Due {
	n.t.Helper()
	receipt, err := n.in.Post(context.Background(), ingest.Post{Tenant: ten, Actor: domain.System("test"), Event: event,
		Data: []byte(data), Subject: "user_1"})
	n.must(err)
	return n.routed(receipt.ID)
}

// routed are the deliveries of an event that stands on the ledger.
func (n *node) routed(event string) map[string]domain.Due {
	n.t.Helper()
	out := map[string]domain.Due{}
	for _, r := range n.stream(domain.EventStream(ten, event)) {
		if f, ok := r.Fact.(*domain.EventRouted); ok {
			for _, m := range f.Matches {
				out[m.Endpoint] = domain.Due{Tenant: ten, Endpoint: m.Endpoint, Delivery: m.Delivery, Event: event,
					DueAt: r.RecordedAt, Revision: domain.NoStream}
			}
		}
	}
	return out
}

// attempt makes attempts of a delivery, each when it is due, that are answered with the statuses; 0: a time-out.
func (n *node) attempt(due domain.Due, statuses ...int) {
	n.t.Helper()
	stream := domain.DeliveryStream(ten, due.Delivery)
	for _, status := range statuses {
		d, at, err := ledger.Load(context.Background(), n.store, stream, domain.NewDelivery)
		n.must(err)
		if wait := d.DueAt.Sub(n.now()); wait > 0 {
			n.pass(wait)
		}
		e := n.find(due.Endpoint)
		id := fmt.Sprintf("att_%d", d.Attempts+1)
		records := d.Start(domain.Start{Stamp: n.stamp(), Due: due, Policy: domain.RetryPolicy{
			Schedule: e.Config.RetrySchedule}, Attempt: id, EndpointRevision: e.ConfigRevision, Method: "POST",
			Host: e.Config.Host, Timeout: time.Second, Node: "n", Signed: domain.RequestSigned{Scheme: "v1", Attempt: id}})
		_, err = n.store.Store.Append(context.Background(), stream, at, records)
		n.must(err)
		ledger.Fold(d, at, records)
		n.pass(time.Millisecond)
		o := domain.Outcome{Stamp: n.stamp(), Attempt: id, Response: &domain.ResponseReceived{Status: status}}
		if status == 0 {
			o.Response, o.Failure = nil, &domain.AttemptFailed{Phase: "response", Code: domain.CodeTimeout}
		}
		_, err = n.store.Store.Append(context.Background(), stream, d.Revision, d.Finish(o))
		n.must(err)
	}
}

func (n *node) find(id string) *domain.Endpoint {
	n.t.Helper()
	r, _ := n.Routing(ten)
	for _, e := range r.Endpoints {
		if e.ID == id {
			return e
		}
	}
	n.t.Fatalf("there is no endpoint %s", id)
	return nil
}

// found folds the whole ledger anew: all that ever followed.
func (n *node) found() []domain.FollowUp {
	n.t.Helper()
	fold := domain.NewHealthFold(domain.DefaultHealthConfig())
	var out []domain.FollowUp
	for r, err := range n.store.ReadAll(context.Background(), 0) {
		n.must(err)
		_, more := fold.Apply(r)
		out = append(out, more...)
	}
	return out
}

// runner is one of a new life.
func (n *node) runner(p Pending) (*Runner, *prometheus.Registry) {
	n.t.Helper()
	registry := prometheus.NewRegistry()
	r, err := New(Config{Store: n.store, Pending: p, Poster: n.in, Directory: n, Bodies: n.bodies, Now: n.now,
		Logger: slog.New(slog.NewTextHandler(&n.log, nil)), Metrics: registry})
	n.must(err)
	return r, registry
}

// settle does all that followed, over and over, until nothing new follows, and counts the results as "kind result".
func (n *node) settle() map[string]int {
	n.t.Helper()
	r, _ := n.runner(&queue{})
	results, done := map[string]int{}, map[ulid.ULID]bool{}
	for again := true; again; {
		again = false
		for _, f := range n.found() {
			if done[f.ID()] {
				continue
			}
			result, err := r.do(context.Background(), &f)
			n.must(err)
			results[f.Kind+" "+result]++
			done[f.ID()], again = true, true
		}
	}
	return results
}

func (n *node) expect(got map[string]int, want ...string) {
	n.t.Helper()
	var lines []string
	for what, times := range got {
		lines = append(lines, fmt.Sprintf("%s %d", what, times))
	}
	slices.Sort(lines)
	slices.Sort(want)
	if !slices.Equal(lines, want) {
		n.t.Fatalf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// told are the events that followups posted: "type data", in the order of the ledger.
func (n *node) told() []string {
	n.t.Helper()
	var out []string
	for r, err := range n.store.ReadAll(context.Background(), 0) {
		n.must(err)
		f, ok := r.Fact.(*domain.EventReceived)
		if !ok || r.Actor != domain.FollowUpActor {
			continue
		}
		body, err := n.bodies.Event(context.Background(), ten, f.ID)
		n.must(err)
		var e domain.Envelope
		n.must(json.Unmarshal(body.Body, &e))
		out = append(out, f.Event+" "+string(e.Data))
	}
	return out
}

// queue is a Pending that a test fills.
type queue struct {
	mu     sync.Mutex
	items  []domain.FollowUp
	given  int
	done   []domain.FollowUp
	signal chan struct{}
}

func newQueue(items ...domain.FollowUp) *queue {
	return &queue{items: items, signal: make(chan struct{}, 1)}
}

func (q *queue) Next(ctx context.Context) (domain.FollowUp, error) {
	q.mu.Lock()
	if q.given < len(q.items) {
		defer q.mu.Unlock()
		q.given++
		return q.items[q.given-1], nil
	}
	q.mu.Unlock()
	<-ctx.Done()
	return domain.FollowUp{}, ctx.Err()
}

func (q *queue) Done(f domain.FollowUp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = append(q.done, f)
	if len(q.done) == len(q.items) {
		q.signal <- struct{}{}
	}
}

func (q *queue) Waiting() (int, time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.items) - len(q.done)
	if n == 0 {
		return 0, time.Time{}
	}
	return n, q.items[0].At
}

// failing is a store that can be told to fail.
type failing struct {
	ledger.Store
	mu     sync.Mutex
	before func(stream domain.Stream) (fail error, persist bool) // nil: nothing fails
}

func (s *failing) set(before func(domain.Stream) (error, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *failing) Append(ctx context.Context, stream domain.Stream, at domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil {
		if fail, persist := before(stream); fail != nil {
			if persist {
				if _, err := s.Store.Append(ctx, stream, at, records); err != nil {
					return ledger.Appended{}, err
				}
			}
			return ledger.Appended{}, fail
		}
	}
	return s.Store.Append(ctx, stream, at, records)
}

// lockedText is a log that is read while it is written.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
