package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/ledger/pebblestore"
	"hookledger/ledger/storetest"
	"hookledger/projections"
	"hookledger/replays"
	"hookledger/vault"
)

// stack is a whole node without its deliveries: a store and a vault in memory, the read models, ingest, the API on a
// real port.
type stack struct {
	t     *testing.T
	store ledger.Store
	vault *vault.Vault
	proj  *projections.Projections
	in    *ingest.Ingest
	api   *api
	srv   *httptest.Server
	log   *lockedBuffer
	full  *atomic.Bool // the disk is nearly full
	room  error
}

// planned are replays that are planned, and never run.
type planned struct{ *replays.Planner }

func (planned) Wake() {}

// platform names the tenant of platform keys in key.
const platform = domain.AnyTenant

func newStack(t *testing.T, change ...func(*Config)) *stack {
	t.Helper()
	s := &stack{t: t, log: &lockedBuffer{}, full: &atomic.Bool{},
		room: fmt.Errorf("%w (29 MiB are free in /srv/canary)", domain.Refuse(domain.KindNoRoom, "no_room",
			"the disk is nearly full", "make room"))}
	fs := vfs.NewMem()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	store, err := pebblestore.Open(pebblestore.Config{Dir: "ledger", FS: fs})
	must(err)
	s.store = storetest.Sparse(store) // nothing of the API may count with positions
	t.Cleanup(func() { must(s.store.Close()) })
	ledgerID, err := ledger.Found(ctx, s.store, ulid.Make(), time.Now())
	must(err)
	master := domain.NewSecret(strings.Repeat("5a", 32))
	s.vault, err = vault.Open(vault.Config{Dir: "vault", FS: fs, Master: master, LedgerID: ledgerID})
	must(err)
	t.Cleanup(func() { must(s.vault.Close()) })
	s.proj, err = projections.Open(ctx, projections.Config{Dir: t.TempDir(), Store: s.store, FlushEvery: time.Millisecond,
		Logger: slog.New(slog.NewJSONHandler(s.log, nil))})
	must(err)
	t.Cleanup(func() { must(s.proj.Close()) })
	running, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.proj.Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("projections: %v", err)
		}
	})
	room := func() error {
		if s.full.Load() {
			return s.room
		}
		return nil
	}
	s.in = ingest.New(ingest.Config{Store: s.store, Vault: s.vault, Directory: s.proj.Directory(), Room: room})
	planner := &replays.Planner{Store: s.store, Rows: s.proj, Bodies: ingest.NewBodies(s.store, s.vault, 0)}
	cfg := Config{Store: s.store, Vault: s.vault, Ingest: s.in, Projections: s.proj, Replays: planned{planner},
		Now: time.Now, NewID: ulid.Make,
		Room: room, LedgerID: ledgerID, Egress: delivery.EgressConfig{},
		Logger: slog.New(slog.NewJSONHandler(s.log, nil))}
	for _, c := range change {
		c(&cfg)
	}
	s.api, err = build(cfg)
	must(err)
	s.srv = httptest.NewUnstartedServer(s.api.mux)
	base, endStreams := context.WithCancel(context.Background())
	s.srv.Config.BaseContext = func(net.Listener) context.Context { return base }
	s.srv.Start()
	t.Cleanup(s.srv.Close)
	t.Cleanup(endStreams)
	s.tenant("default")
	return s
}

// newClockedStack is a node whose clock the test moves: it stands at 12:00:40 of a day.
func newClockedStack(t *testing.T) (s *stack, now *atomic.Int64) {
	t.Helper()
	now = &atomic.Int64{} // unix nanoseconds
	now.Store(time.Date(2026, 3, 17, 12, 0, 40, 0, time.UTC).UnixNano())
	clock := func() time.Time { return time.Unix(0, now.Load()).UTC() }
	return newStack(t, func(c *Config) {
		c.Now = clock
		c.Ingest = ingest.New(ingest.Config{Store: c.Store, Vault: c.Vault.(*vault.Vault), Now: clock, Room: c.Room,
			Directory: c.Projections.Directory()})
	}), now
}

// on is the same node in a subtest.
func (s *stack) on(t *testing.T) *stack {
	c := *s
	c.t = t
	return &c
}

// tenant registers a tenant as the server's start does.
func (s *stack) tenant(name string) {
	s.t.Helper()
	s.append(domain.TenantStream(name), name, &domain.TenantRegistered{Name: name})
}

// key issues a key of a role.
func (s *stack) key(tenant string, role domain.Role) string {
	s.t.Helper()
	secret, prefix, hash := NewKey()
	id := domain.NewID(domain.PrefixKey, ulid.Make())
	s.append(domain.KeyStream(tenant, id), tenant, &domain.KeyIssued{Prefix: prefix, Hash: hash, Role: role})
	return secret.Reveal()
}

// append writes facts to a new stream and waits until they hold.
func (s *stack) append(stream domain.Stream, tenant string, facts ...domain.Fact) {
	s.t.Helper()
	stamp := domain.Stamp{At: time.Now(), Base: ulid.Make(), Actor: domain.System("test")}
	done, err := s.store.Append(s.t.Context(), stream, domain.NoStream,
		stamp.Records(stream, tenant, "", ulid.ULID{}, facts...))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.proj.Directory().WaitFor(s.t.Context(), done.Position); err != nil {
		s.t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// call sends a request; key may be empty; body is a string as it is, or a value to marshal; headers come in pairs.
func (s *stack) call(key, method, path string, body any, headers ...string) *answer {
	s.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.srv.URL+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if r != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := *s.srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.conforms(req, resp, got)
	return &answer{s.t, resp.StatusCode, resp.Header, got}
}

// conforms holds every answer that any test gets against the OpenAPI document.
func (s *stack) conforms(req *http.Request, resp *http.Response, body []byte) {
	s.t.Helper()
	_, pattern := s.api.mux.Handler(req)
	i := slices.IndexFunc(routes, func(r route) bool { return r.pattern() == pattern })
	if i < 0 || routes[i].scope == scopePublic {
		return
	}
	if err := theDocument().documented(&routes[i], resp.StatusCode, resp.Header, body); err != nil {
		s.t.Errorf("not as documented: %v\n%s", err, body)
	}
}

// want checks the status, and for an error its shape and code.
func (a *answer) want(status int, code string) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if status < 400 {
		return a
	}
	var p Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		a.t.Fatalf("no problem: %s", a.body)
	}
	if p.Code != code || p.Status != status || p.Title == "" || p.Detail == "" || p.Instance == "" ||
		a.header.Get("Content-Type") != problemType {
		a.t.Fatalf("want code %q in a whole problem: %v %s", code, a.header, a.body)
	}
	return a
}

func into[T any](a *answer) T {
	a.t.Helper()
	var v T
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// endpoint creates one and gives it with its secret.
func (s *stack) endpoint(key string, body map[string]any) Endpoint {
	s.t.Helper()
	if body["url"] == nil {
		body["url"] = "https://example.com/hook?token=capability"
	}
	if body["event_types"] == nil {
		body["event_types"] = []string{"*"}
	}
	return into[Endpoint](s.call(key, "POST", "/v1/endpoints", body).want(http.StatusCreated, ""))
}

// example is a post of one of the six types.
func example(id string) map[string]any {
	post := map[string]any{"event": "agent.status_changed",
		"data": json.RawMessage(`{"agentId":"agent_atlas","from":"online","to":"offline"}`)}
	if id != "" {
		post["id"] = id
	}
	return post
}

// lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
