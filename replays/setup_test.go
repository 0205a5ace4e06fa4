package replays

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/ledger/pebblestore"
	"hookledger/ledger/storetest"
	"hookledger/projections"
	"hookledger/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ten = "acme"

// node is a whole node in memory but for its sender, whose part a test plays.
type node struct {
	t     testing.TB
	store ledger.Store
	vault *vault.Vault
	proj  *projections.Projections
	in    *ingest.Ingest
	plan  *Planner

	mu    sync.Mutex
	clock time.Time // guarded by mu
	sent  map[string]int
	order []string // events, as they were delivered
}

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{t: t, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), sent: map[string]int{}}
	fs := vfs.NewMem()
	embedded, err := pebblestore.Open(pebblestore.Config{Dir: "ledger", FS: fs})
	n.must(err)
	n.store = storetest.Sparse(embedded)
	t.Cleanup(func() { n.must(n.store.Close()) })
	n.vault, err = vault.Open(vault.Config{Dir: "vault", FS: fs, LedgerID: "led_1",
		Master: domain.NewSecret("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")})
	n.must(err)
	t.Cleanup(func() { n.must(n.vault.Close()) })
	n.proj, err = projections.Open(t.Context(), projections.Config{Dir: t.TempDir(), Store: n.store, Now: n.now,
		FlushEvery: time.Millisecond})
	n.must(err)
	t.Cleanup(func() { n.must(n.proj.Close()) })
	n.running(n.proj.Run)
	bodies := ingest.NewBodies(n.store, n.vault, 1<<20)
	n.in = ingest.New(ingest.Config{Store: n.store, Vault: n.vault, Directory: n.proj.Directory(), Now: n.now,
		NewID: ulid.Make, Bodies: bodies})
	n.plan = &Planner{Store: n.store, Rows: n.proj, Bodies: bodies}
	n.append(domain.TenantStream(ten), &domain.TenantRegistered{Name: ten})
	return n
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// running runs a part until the test or the returned function ends it.
func (n *node) running(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			n.t.Error(err)
		}
	})
	n.t.Cleanup(stop)
	return stop
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

func (n *node) stamp() domain.Stamp {
	return domain.Stamp{At: n.now(), Base: ulid.Make(), Actor: domain.System("test")}
}

// append writes facts behind what stands on the stream.
func (n *node) append(stream domain.Stream, facts ...domain.Fact) domain.Position {
	n.t.Helper()
	at := domain.NoStream
	for r, err := range n.store.ReadStream(n.t.Context(), stream, 0) {
		n.must(err)
		at = r.Revision
	}
	done, err := n.store.Append(n.t.Context(), stream, at, n.stamp().Records(stream, ten, "", ulid.ULID{}, facts...))
	n.must(err)
	n.must(n.proj.Directory().WaitFor(n.t.Context(), done.Position))
	return done.Position
}

func (n *node) endpoint(id string, types ...string) {
	n.t.Helper()
	n.append(domain.EndpointStream(ten, id), &domain.EndpointRegistered{Config: domain.EndpointConfig{Kind: "webhook",
		Scheme: "https", Host: "example.com", EventTypes: types, RetrySchedule: []domain.Duration{},
		Timeout: domain.Duration(time.Second)}})
}

// post posts an event of one of the six types and gives its routed deliveries by endpoint.
func (n *node) post(id, eventType, subject string) map[string]string {
	n.t.Helper()
	data := map[string]json.RawMessage{
		"agent.status_changed": json.RawMessage(`{"agentId":"a","from":"online","to":"offline"}`),
		"cron.completed": json.RawMessage(
			`{"jobId":"job_1","runId":"run_1","status":"success","startedAt":"2026-02-01T08:00:00Z","duration":1}`),
	}[eventType]
	receipt, err := n.in.Post(n.t.Context(), ingest.Post{Tenant: ten, ID: id, Event: eventType, Subject: subject,
		Data: data, Actor: domain.System("test")})
	n.must(err)
	out := map[string]string{}
	for _, d := range receipt.Deliveries {
		out[d.Endpoint] = d.Delivery
	}
	return out
}

// attempt makes one attempt of a delivery, which the receiver answers with the status.
func (n *node) attempt(due domain.Due, status int) {
	n.t.Helper()
	state, at, err := ledger.Load(n.t.Context(), n.store, domain.DeliveryStream(due.Tenant, due.Delivery),
		domain.NewDelivery)
	n.must(err)
	stamp := n.stamp()
	started := state.Start(domain.Start{Stamp: stamp, Due: due, Attempt: domain.AttemptID(n.now(), ulid.Make()),
		Method: "POST", Host: "example.com", Timeout: time.Second, Node: "one"})
	if len(started) == 0 {
		return
	}
	ledger.Fold(state, at, started)
	end := domain.Stamp{At: n.now(), Base: domain.IDAt(stamp.Base, 5), Actor: stamp.Actor}
	records := append(started, state.Finish(domain.Outcome{Stamp: end, Attempt: state.Open.ID,
		Response: &domain.ResponseReceived{Status: status, RemoteAddr: "192.0.2.1:443"}})...)
	_, err = n.store.Append(n.t.Context(), domain.DeliveryStream(due.Tenant, due.Delivery), at, records)
	n.must(err)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent[due.Event+" "+due.Endpoint+" "+due.Replay]++
	n.order = append(n.order, due.Event)
}

// deliver plays the sender: it takes what is due, in any order, and answers with what status says, until stop.
func (n *node) deliver(status func(domain.Due) int) (stop func()) {
	b := n.proj.Backlog()
	return n.running(func(ctx context.Context) error {
		for {
			keys, _ := b.Activate(n.now().Add(time.Second)) // pairs of a page are due a microsecond apart
			for _, k := range keys {
				for {
					due, ok := b.Take(k, n.now().Add(time.Second))
					if !ok {
						break
					}
					n.attempt(due, status(due))
					b.Done(due)
				}
			}
			select {
			case <-b.Changed():
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

func ok200(domain.Due) int { return 200 }

// ask plans and requests a replay as the API does.
func (n *node) ask(id string, request domain.ReplayRequested, selector domain.ReplaySelector) *Plan {
	n.t.Helper()
	ctx := n.t.Context()
	if request.Match == "" {
		request.Match = domain.MatchThen
	}
	n.must(n.proj.WaitFor(ctx, n.store.Head()))
	at, ref, err := n.proj.AsOf(ctx, ten)
	n.must(err)
	plan, err := n.plan.Plan(ctx, Spec{Tenant: ten, Endpoint: request.Endpoint, Match: request.Match, Selector: selector,
		AsOf: at})
	n.must(err)
	stamp, stream := n.stamp(), domain.ReplayStream(ten, id)
	keyID, err := n.vault.DataKey(ctx, vault.Scope{Tenant: ten, Type: "replay", At: stamp.At})
	n.must(err)
	raw, err := json.Marshal(domain.ReplayContent{Selector: selector})
	n.must(err)
	request.Content, err = n.vault.Seal(ctx, keyID, vault.Place{Tenant: ten, Stream: stream, Record: stamp.Base,
		Type: "ReplayRequested"}, raw)
	n.must(err)
	facts, err := domain.NewReplay().Ask(request, domain.ReplayPlanned{AsOf: ref, Count: plan.Count, Bytes: plan.Bytes,
		Skipped: plan.Skipped, Digest: plan.Digest.String()})
	n.must(err)
	_, err = n.store.Append(ctx, stream, domain.NoStream, stamp.Records(stream, ten, "", ulid.ULID{}, facts...))
	n.must(err)
	return plan
}

// runner starts a Runner that is never more than ahead deliveries before the sender.
func (n *node) runner(ahead int) (r *Runner, stop func()) {
	n.t.Helper()
	r, err := New(Config{Store: n.store, Planner: n.plan, Progress: n.proj, Endpoints: n.proj.Directory(), Vault: n.vault,
		Now: n.now, Base: n.stamp, Ahead: ahead})
	n.must(err)
	return r, n.running(r.Run)
}

// state reads a replay from its stream.
func (n *node) state(id string) *domain.Replay {
	n.t.Helper()
	r, _, err := ledger.Load(n.t.Context(), n.store, domain.ReplayStream(ten, id), domain.NewReplay)
	n.must(err)
	return r
}

// await waits until the replay is as it is asked to be.
func (n *node) await(id string, ready func(*domain.Replay) bool) *domain.Replay {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	for {
		head := n.store.Head()
		r := n.state(id)
		if ready(r) {
			return r
		}
		if err := n.store.Wait(ctx, head); err != nil {
			n.t.Fatalf("replay %s stays as it is: %+v (%v)", id, r, err)
		}
	}
}

// pairs reads what was scheduled, from the ledger.
func (n *node) pairs(id string) (out []domain.ReplayPair) {
	n.t.Helper()
	for r, err := range n.store.ReadStream(n.t.Context(), domain.ReplayStream(ten, id), 0) {
		n.must(err)
		if f, ok := r.Fact.(*domain.ReplayPageScheduled); ok {
			out = append(out, f.Pairs...)
		}
	}
	return out
}

func (n *node) counts() (sent map[string]int, order []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sent = map[string]int{}
	for k, v := range n.sent {
		sent[k] = v
	}
	return sent, slices.Clone(n.order)
}

func name(i int) string { return fmt.Sprintf("evt_%05d", i) }
