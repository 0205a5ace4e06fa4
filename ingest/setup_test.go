package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/pebblestore"
	"hookledger/ledger/storetest"
	"hookledger/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	master = domain.NewSecret("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	noon   = time.Date(2026, 3, 17, 12, 0, 0, 123456789, time.UTC)
	actor  = domain.Actor{Kind: "key", ID: "key_1"}
)

// directory is a Directory of one tenant, "acme", that a test can change.
type directory struct {
	mu        sync.Mutex // guards all below
	tenant    *domain.Tenant
	endpoints []*domain.Endpoint
	routing   *domain.Routing
}

func newDirectory() *directory {
	d := &directory{tenant: &domain.Tenant{}}
	d.evolve(&domain.TenantRegistered{Name: "acme"})
	return d
}

func (d *directory) evolve(f domain.Fact) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tenant = d.tenant.Clone()
	d.tenant.Evolve(&domain.Record{ID: ulid.ULID{byte(d.tenant.Revision + 1)}, Revision: d.tenant.Revision + 1,
		Tenant: "acme", Stream: domain.TenantStream("acme"), Fact: f})
	d.routing = domain.NewRouting(d.tenant, d.tenant.AsOf, d.endpoints)
}

func (d *directory) endpoint(id string, disabled bool, patterns ...string) {
	e := &domain.Endpoint{}
	facts := []domain.Fact{&domain.EndpointRegistered{Config: domain.EndpointConfig{EventTypes: patterns}}}
	if disabled {
		facts = append(facts, &domain.EndpointDisabled{Reason: "manual"})
	}
	for i, f := range facts {
		e.Evolve(&domain.Record{Tenant: "acme", Stream: domain.EndpointStream("acme", id), Revision: domain.Revision(i),
			Fact: f})
	}
	d.mu.Lock()
	d.endpoints = append(d.endpoints, e)
	d.mu.Unlock()
	d.evolve(&domain.TenantReconfigured{})
}

func (d *directory) register(name string, version int, schema string) {
	d.evolve(&domain.EventTypeRegistered{Type: name, Version: version, Schema: json.RawMessage(schema)})
}

func (d *directory) Routing(tenant string) (*domain.Routing, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.routing, tenant == "acme"
}

// fixture is an Ingest over a real store and a real vault, in memory.
type fixture struct {
	*Ingest
	t        testing.TB
	store    ledger.Store
	vault    *vault.Vault
	dir      *directory
	bodies   *Bodies
	registry *prometheus.Registry
}

func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	return openOn(t, vfs.NewMem(), change...)
}

// openOn opens a fixture whose ledger and vault stand on one file system, so that one crash takes both.
func openOn(t testing.TB, fs vfs.FS, change ...func(*Config)) *fixture {
	t.Helper()
	embedded, err := pebblestore.Open(pebblestore.Config{Dir: "/data/ledger", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	store := storetest.Sparse(embedded)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	v, err := vault.Open(vault.Config{Dir: "/data/vault", Master: master, LedgerID: "led_1", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{t: t, store: store, vault: v, dir: newDirectory(), bodies: NewBodies(store, v, 0),
		registry: prometheus.NewRegistry()}
	cfg := Config{Store: store, Vault: v, Directory: f.dir, Now: func() time.Time { return noon }, Bodies: f.bodies,
		Metrics: f.registry}
	for _, fn := range change {
		fn(&cfg)
	}
	f.Ingest = New(cfg)
	return f
}

const completed = `{"jobId":"job_1","runId":"run_1"}`

func post(id, data string) Post {
	return Post{Tenant: "acme", Actor: actor, ID: id, Event: "cron.completed", Data: []byte(data)}
}

func (f *fixture) must(p Post) *Receipt {
	f.t.Helper()
	r, err := f.Post(f.t.Context(), p)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// refused posts and expects a refusal of a kind and code that names a fix, and that nothing was appended.
func (f *fixture) refused(p Post, kind domain.Kind, code string) *domain.Error {
	f.t.Helper()
	head := f.store.Head()
	r, err := f.Post(f.t.Context(), p)
	return f.refusal(head, r, err, kind, code)
}

func (f *fixture) refusal(head domain.Position, r *Receipt, err error, kind domain.Kind, code string) *domain.Error {
	f.t.Helper()
	var refusal *domain.Error
	if !errors.As(err, &refusal) || refusal.Kind != kind || refusal.Code != code || r != nil {
		f.t.Fatalf("got %v, %T %v; want kind %d, code %s", r, err, err, kind, code)
	}
	if refusal.Fix == "" {
		f.t.Errorf("%s names no fix", code)
	}
	if now := f.store.Head(); now != head {
		f.t.Errorf("%s: the ledger went from %d to %d", code, head, now)
	}
	return refusal
}

func (f *fixture) records(id string) []*domain.Record {
	f.t.Helper()
	var out []*domain.Record
	for r, err := range f.store.ReadStream(f.t.Context(), domain.EventStream("acme", id), 0) {
		if err != nil {
			f.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// scripted is a store whose appends go wrong as told.
type scripted struct {
	ledger.Store
	append func(ctx context.Context, through func() (ledger.Appended, error)) (ledger.Appended, error)
}

func (s *scripted) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	return s.append(ctx, func() (ledger.Appended, error) {
		return s.Store.Append(context.WithoutCancel(ctx), stream, expected, records)
	})
}

func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("id-%d", i)
	}
	return out
}

// counted reads hookledger_posts_total.
func (f *fixture) counted(result string) float64 {
	f.t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == result {
			return m.GetCounter().GetValue()
		}
	}
	return 0
}
