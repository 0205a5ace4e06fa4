package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// memStore is a ledger in memory whose appends can be made to go wrong.
type memStore struct {
	mu      sync.Mutex
	all     []*domain.Record
	streams map[domain.Stream][]*domain.Record
	changed chan struct{}
	closed  bool
	// fault is asked before each append: whether it is written, and what is answered. nil: all goes well.
	fault func(n int, records []domain.Record) (write bool, err error)
	tries int
}

var _ ledger.Store = (*memStore)(nil)

func newMemStore() *memStore {
	return &memStore{streams: map[domain.Stream][]*domain.Record{}, changed: make(chan struct{})}
}

func (m *memStore) Append(_ context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ledger.Appended{}, ledger.ErrClosed
	}
	write, answer := true, error(nil)
	if m.fault != nil {
		write, answer = m.fault(m.tries, records)
	}
	m.tries++
	if !write {
		return ledger.Appended{}, answer
	}
	s := m.streams[stream]
	if at := int(expected) + 1; len(s) != at {
		same := len(s) >= at+len(records)
		for i := range records {
			same = same && s[at+i].ID == records[i].ID
		}
		if same {
			return ledger.Appended{Revision: expected + domain.Revision(len(records)), Duplicate: true}, answer
		}
		return ledger.Appended{}, fmt.Errorf("%s: %w", stream, ledger.ErrConflict)
	}
	for i := range records {
		r := records[i]
		r.Revision = expected + 1 + domain.Revision(i)
		r.Position = domain.Position(len(m.all) + 1)
		m.all = append(m.all, &r)
		m.streams[stream] = append(m.streams[stream], &r)
	}
	close(m.changed)
	m.changed = make(chan struct{})
	return ledger.Appended{Revision: expected + domain.Revision(len(records)),
		Position: domain.Position(len(m.all))}, answer
}

func (m *memStore) ReadStream(_ context.Context, stream domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return yieldAll(slices.Clone(m.streams[stream][min(int(from), len(m.streams[stream])):]))
}

func (m *memStore) ReadAll(_ context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return yieldAll(slices.Clone(m.all[after:]))
}

func yieldAll(records []*domain.Record) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (m *memStore) Wait(ctx context.Context, after domain.Position) error {
	m.mu.Lock()
	more, changed := len(m.all) > int(after), m.changed
	m.mu.Unlock()
	if more {
		return nil
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memStore) Head() domain.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	return domain.Position(len(m.all))
}

func (m *memStore) Close() error { m.mu.Lock(); defer m.mu.Unlock(); m.closed = true; return nil }

func (m *memStore) setFault(f func(n int, records []domain.Record) (bool, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault, m.tries = f, 0
}

// stream gives a delivery's facts.
func (m *memStore) facts(delivery string) []domain.Fact {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []domain.Fact
	for _, r := range m.streams[domain.DeliveryStream("default", delivery)] {
		out = append(out, r.Fact)
	}
	return out
}

func (m *memStore) types(delivery string) []string {
	var out []string
	for _, f := range m.facts(delivery) {
		out = append(out, f.RecordType())
	}
	return out
}

func find[F domain.Fact](t *testing.T, facts []domain.Fact) F {
	t.Helper()
	var found []F
	for _, f := range facts {
		if f, ok := f.(F); ok {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		t.Fatalf("no %T among %d facts", *new(F), len(facts))
	}
	return found[len(found)-1]
}

func count[F domain.Fact](facts []domain.Fact) int {
	n := 0
	for _, f := range facts {
		if _, ok := f.(F); ok {
			n++
		}
	}
	return n
}

// world is a Delivery with all that it needs.
type world struct {
	t       testing.TB
	store   *memStore
	backlog *memBacklog
	vault   *memVault
	house   *memHouse
	cfg     Config
	d       *Delivery
	n       int
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, store: newMemStore(), backlog: newMemBacklog(),
		vault: &memVault{key: testKey, erased: map[string]bool{}},
		house: &memHouse{endpoints: map[domain.EndpointKey]*domain.Endpoint{}, bodies: map[string]domain.EventBody{}}}
	w.cfg = Config{Store: w.store, Backlog: w.backlog, Endpoints: w.house, Bodies: w.house, Vault: w.vault, Now: time.Now,
		NewID: ulid.Make, Jitter: func() float64 { return 0 }, Node: "this life", Egress: EgressConfig{Dev: true}}
	for _, f := range change {
		f(&w.cfg)
	}
	w.reborn("this life")
	return w
}

// reborn makes the Delivery of another life over the same ledger.
func (w *world) reborn(node string) {
	w.cfg.Node = node
	d, err := New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.d = d
	w.t.Cleanup(func() { d.stopRecording(); d.stopSending(); d.sender.close() })
}

// endpoint registers an endpoint with a URL.
func (w *world) endpoint(id, url string, change ...func(*domain.EndpointConfig)) {
	w.t.Helper()
	scheme, host, path, err := domain.ParseTarget(url)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &domain.Record{ID: ulid.Make(), Stream: domain.EndpointStream("default", id), Tenant: "default"}
	cfg := domain.EndpointConfig{Kind: "webhook", Scheme: scheme, Host: host, EventTypes: []string{"*"},
		RetrySchedule: []domain.Duration{domain.Duration(5 * time.Second), domain.Duration(5 * time.Minute)},
		Timeout:       domain.Duration(20 * time.Second), Signing: domain.Signing{Scheme: "v1", KeyID: "sk_1"}}
	cfg.Content = &domain.Sealed{KeyID: "dk", Ciphertext: fmt.Appendf(nil, `{"path":%q}`, path),
		Nonce: placeTag(vault.Place{Tenant: "default", Stream: r.Stream, Record: r.ID, Type: "EndpointRegistered"})}
	for _, f := range change {
		f(&cfg)
	}
	r.Fact = &domain.EndpointRegistered{Config: cfg}
	e := &domain.Endpoint{}
	e.Evolve(r)
	w.house.mu.Lock()
	defer w.house.mu.Unlock()
	w.house.endpoints[domain.EndpointKey{Tenant: "default", Endpoint: id}] = e
}

// due adds a delivery that is due now, and gives its id.
func (w *world) due(endpoint string) string {
	w.t.Helper()
	w.n++
	event := fmt.Sprintf("evt_%06d", w.n)
	body := fmt.Appendf(nil, `{"id":%q,"event":"cron.completed","timestamp":"2026-11-23T20:00:00Z",`+
		`"data":{"jobId":"j1","runId":"r1"}}`, event)
	w.house.mu.Lock()
	w.house.bodies[event] = domain.EventBody{Body: body, KeyID: "dk", Received: &domain.EventReceived{ID: event}}
	w.house.mu.Unlock()
	now := w.cfg.Now()
	d := domain.Due{Tenant: "default", Endpoint: endpoint, Event: event, DueAt: now, Revision: domain.NoStream,
		Delivery: domain.DeliveryID(now, "default", event, endpoint, domain.CauseRouted)}
	w.backlog.add(d)
	return d.Delivery
}

// turn handles the endpoint's next due delivery as a message does, without the Router.
func (w *world) turn(endpoint string) (*item, error) {
	w.t.Helper()
	return w.turnOf(domain.EndpointKey{Tenant: "default", Endpoint: endpoint})
}

// turnOf is turn for what a replay sends, too.
func (w *world) turnOf(key domain.EndpointKey) (*item, error) {
	w.t.Helper()
	d, ok := w.backlog.Take(key, w.cfg.Now())
	if !ok {
		w.t.Fatalf("nothing is due at %s", key.Endpoint)
	}
	it := &item{Context: context.Background(), due: d}
	err := w.d.handle(it)
	w.backlog.mu.Lock()
	delete(w.backlog.taken, d.Delivery)
	w.backlog.mu.Unlock()
	return it, err
}

// run runs the Delivery and the fold until the test, or stop, ends them.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go w.backlog.follow(ctx, w.store)
	go func() { done <- w.d.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Errorf("the delivery's end: %v", err)
			}
		})
	}
	w.t.Cleanup(stop)
	return stop
}

// fakeTripper answers without a network.
type fakeTripper func(*http.Request) (*http.Response, error)

func (f fakeTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is a response with a body.
func answer(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader([]byte(body))),
		ContentLength: int64(len(body))}
}

func sameTypes(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("the delivery's records are\n  %v, not\n  %v", got, want)
	}
}

// again makes a delivery due at its endpoint, as the fold would after what its stream holds.
func (w *world) again(delivery string) {
	w.backlog.mu.Lock()
	d := w.backlog.known[delivery]
	w.backlog.mu.Unlock()
	d.DueAt, d.Revision = w.cfg.Now(), domain.Revision(len(w.store.facts(delivery))-1)
	w.backlog.add(d)
}

// state folds a delivery's stream.
func (w *world) state(delivery string) *domain.Delivery {
	w.t.Helper()
	s, _, err := ledger.Load(context.Background(), w.store, domain.DeliveryStream("default", delivery), domain.NewDelivery)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) stamp() domain.Stamp {
	return domain.Stamp{At: w.cfg.Now(), Base: ulid.Make(), Actor: domain.System("test")}
}

// write appends what somebody else decides on a delivery.
func (w *world) write(delivery string, decide func(*domain.Delivery) []domain.Record) {
	w.t.Helper()
	s := w.state(delivery)
	if _, err := w.store.Append(context.Background(), domain.DeliveryStream("default", delivery), s.Revision,
		decide(s)); err != nil {
		w.t.Fatal(err)
	}
}
