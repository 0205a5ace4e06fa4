package agenfleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/sources/agenfleet/agenfleettest"
	"hookledger/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 17, 12, 0, 0, 0, time.UTC)

// memStore keeps records in memory. before, where it is set, is asked before each append, and its error is the answer.
type memStore struct {
	mu     sync.Mutex // guards all below
	all    []*domain.Record
	byName map[domain.Stream][]*domain.Record
	before func(domain.Stream, []domain.Record) error
	after  func(domain.Stream, []domain.Record) error
}

var _ ledger.Store = (*memStore)(nil)

func (s *memStore) Append(_ context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	s.mu.Lock()
	before, after := s.before, s.after
	s.mu.Unlock()
	if before != nil {
		if err := before(stream, records); err != nil {
			return ledger.Appended{}, err
		}
	}
	done, err := s.apply(stream, expected, records)
	if err == nil && after != nil {
		err = after(stream, records)
	}
	return done, err
}

func (s *memStore) apply(stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := s.byName[stream]
	from := int(expected) + 1
	if to := from + len(records); to <= len(there) && slices.EqualFunc(records, there[from:to],
		func(a domain.Record, b *domain.Record) bool { return a.ID == b.ID }) {
		return ledger.Appended{Revision: there[to-1].Revision, Position: there[to-1].Position, Duplicate: true}, nil
	}
	if from != len(there) {
		return ledger.Appended{}, ledger.ErrConflict
	}
	for i := range records {
		r := records[i]
		r.Revision, r.Position = domain.Revision(from+i), domain.Position(len(s.all)+1)
		body, err := ledger.AppendBody(nil, &r) // what can't be encoded could not be appended
		if err != nil || len(body) > domain.MaxAppend {
			return ledger.Appended{}, fmt.Errorf("%d bytes: %w", len(body), errors.Join(err, ledger.ErrTooLarge))
		}
		s.all = append(s.all, &r)
		if s.byName == nil {
			s.byName = map[domain.Stream][]*domain.Record{}
		}
		s.byName[stream] = append(s.byName[stream], &r)
	}
	last := s.all[len(s.all)-1]
	return ledger.Appended{Revision: last.Revision, Position: last.Position}, nil
}

func (s *memStore) ReadStream(_ context.Context, stream domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		s.mu.Lock()
		all := s.byName[stream]
		s.mu.Unlock()
		for _, r := range all[min(int(from), len(all)):] {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (s *memStore) ReadAll(context.Context, domain.Position) iter.Seq2[*domain.Record, error] {
	return func(func(*domain.Record, error) bool) {}
}

func (s *memStore) Wait(ctx context.Context, _ domain.Position) error { <-ctx.Done(); return ctx.Err() }
func (s *memStore) Close() error                                      { return nil }
func (s *memStore) Head() domain.Position                             { return domain.Position(len(s.records())) }

func (s *memStore) records() []*domain.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *memStore) fate(before, after func(domain.Stream, []domain.Record) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

// plainVault seals nothing, but keeps places apart and can erase.
type plainVault struct {
	mu     sync.Mutex // guards all below
	erased bool
	secret domain.Secret
}

func (v *plainVault) DataKey(context.Context, vault.Scope) (string, error) { return "dk_1", nil }
func (v *plainVault) Erasures() uint64                                     { return 0 }

func (v *plainVault) Seal(_ context.Context, key string, p vault.Place, plain []byte) (*domain.Sealed, error) {
	return &domain.Sealed{KeyID: key, Nonce: []byte(p.Record.String()), Ciphertext: slices.Clone(plain)}, nil
}

func (v *plainVault) Open(_ context.Context, p vault.Place, s *domain.Sealed) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.erased {
		return nil, vault.ErrErased
	}
	if string(s.Nonce) != p.Record.String() {
		return nil, vault.ErrTampered
	}
	return s.Ciphertext, nil
}

func (v *plainVault) Secret(context.Context, string) (domain.Secret, error) {
	if v.secret.Empty() {
		return v.secret, vault.ErrUnknownKey
	}
	return v.secret, nil
}

// tenants is a directory of one tenant, and of sources.
type tenants struct {
	routing *domain.Routing
	changed chan struct{}

	mu      sync.Mutex // guards sources
	sources []*domain.Source
}

func newTenants(facts ...domain.Fact) *tenants {
	t := &domain.Tenant{}
	for i, f := range append([]domain.Fact{&domain.TenantRegistered{Name: "acme"}}, facts...) {
		t.Evolve(&domain.Record{ID: ulid.ULID{byte(i + 1)}, Revision: domain.Revision(i), Tenant: "acme",
			Stream: domain.TenantStream("acme"), Fact: f})
	}
	return &tenants{routing: domain.NewRouting(t, t.AsOf, nil), changed: make(chan struct{}, 1)}
}

func (t *tenants) Routing(tenant string) (*domain.Routing, bool) { return t.routing, tenant == "acme" }
func (t *tenants) SourcesChanged() <-chan struct{}               { return t.changed }

func (t *tenants) Sources(string) []*domain.Source {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.sources)
}

func (t *tenants) set(sources ...*domain.Source) {
	t.mu.Lock()
	t.sources = sources
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// bridge is all that polling needs, around a stand-in.
type bridge struct {
	t      testing.TB
	store  *memStore
	vault  *plainVault
	dir    *tenants
	fleet  *agenfleettest.Server
	now    func() time.Time
	ingest *ingest.Ingest
	source *domain.Source
}

func newSource(change func(*domain.SourceConfig)) *domain.Source {
	s := &domain.Source{ID: "src_1", Tenant: "acme", ConfigRecord: ulid.ULID{1}, Config: domain.SourceConfig{
		Kind: domain.SourceAgenFleet, TimeZone: "UTC", Poll: &domain.PollConfig{URL: "https://api.agenfleet.ai/api",
			Auth: domain.AuthLogin, Credentials: domain.VaultRef{KeyID: "cr_1"}, Every: domain.Duration(time.Minute),
			RateLimit: 6000}}} // the limit waits by the machine's clock; it has tests of its own
	if change != nil {
		change(&s.Config)
	}
	return s
}

func withCosts(c *domain.SourceConfig) {
	c.Poll.CostsEvery, c.Poll.Currency, c.Poll.CostPeriod = domain.Duration(time.Hour), "USD", "monthly"
	c.Poll.AlertThreshold = "0.8"
}

func newBridge(t testing.TB, now func() time.Time, change func(*domain.SourceConfig), facts ...domain.Fact) *bridge {
	b := &bridge{t: t, store: &memStore{}, vault: &plainVault{}, dir: newTenants(facts...), fleet: agenfleettest.New(),
		now: now, source: newSource(change)}
	b.fleet.Now = now
	credentials := Credentials{Email: b.fleet.Email, Password: b.fleet.Password}
	b.vault.secret = credentials.Secret()
	b.ingest = ingest.New(ingest.Config{Store: b.store, Vault: b.vault, Directory: b.dir, Now: now})
	b.dir.set(b.source)
	return b
}

func (b *bridge) runner() *Runner {
	b.t.Helper()
	r, err := New(Config{Store: b.store, Vault: b.vault, Ingest: b.ingest, Sources: b.dir, Transport: b.fleet.Transport(),
		Now: b.now, NewID: ulid.Make})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// poller is one life of a poller, driven by hand.
func (b *bridge) poller() *poller {
	b.t.Helper()
	p, err := b.runner().poller(context.Background(), b.source, func(Status) {})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bridge) agents(p *poller) {
	b.t.Helper()
	if _, err := p.pollAgents(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bridge) costs(p *poller) {
	b.t.Helper()
	if _, err := p.pollCosts(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// posted is an event that came onto the ledger.
type posted struct {
	ID, Event string
	Data      map[string]any
	Raw       string
	At        time.Time
}

func (p posted) String() string { return p.Event + " " + p.Raw }

// events are all that were received, in order.
func (b *bridge) events() []posted {
	b.t.Helper()
	var out []posted
	for _, r := range b.store.records() {
		f, ok := r.Fact.(*domain.EventReceived)
		if !ok {
			continue
		}
		var content domain.EventContent
		var envelope domain.Envelope
		p := posted{ID: f.ID, Event: f.Event, At: f.Timestamp}
		if err := errors.Join(json.Unmarshal(f.Content.Ciphertext, &content), json.Unmarshal(content.Body, &envelope),
			json.Unmarshal(envelope.Data, &p.Data)); err != nil {
			b.t.Fatal(err)
		}
		p.Raw = string(envelope.Data)
		out = append(out, p)
	}
	return out
}

// kinds counts events by "type agent".
func (b *bridge) kinds() map[string]int {
	out := map[string]int{}
	for _, e := range b.events() {
		out[strings.TrimPrefix(e.Event, "agent.")+" "+fmt.Sprint(e.Data["agentId"])]++
	}
	return out
}

// polls are the records of the source's poll stream.
func (b *bridge) polls() []*domain.SourcePolled {
	var out []*domain.SourcePolled
	for _, r := range b.store.records() {
		if f, ok := r.Fact.(*domain.SourcePolled); ok {
			out = append(out, f)
		}
	}
	return out
}

func (b *bridge) message(f *domain.SourcePolled) string {
	b.t.Helper()
	var c domain.PollContent
	if err := json.Unmarshal(f.Content.Ciphertext, &c); err != nil {
		b.t.Fatal(err)
	}
	return c.Message
}
