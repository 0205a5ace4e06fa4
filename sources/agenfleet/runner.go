package agenfleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/vault"
)

// Sources are all tenants' sources as of now. What it gives is shared and immutable.
type Sources interface {
	Sources(tenant string) []*domain.Source
	// SourcesChanged has a signal (capacity 1) whenever Sources may give something else.
	SourcesChanged() <-chan struct{}
}

// Vault seals readings and has the credentials; *vault.Vault is one.
type Vault interface {
	DataKey(ctx context.Context, s vault.Scope) (keyID string, err error)
	Seal(ctx context.Context, keyID string, p vault.Place, plaintext []byte) (*domain.Sealed, error)
	Open(ctx context.Context, p vault.Place, s *domain.Sealed) ([]byte, error)
	Secret(ctx context.Context, keyID string) (domain.Secret, error)
}

// Ingest takes what is derived; *ingest.Ingest is one.
type Ingest interface {
	PostBatch(ctx context.Context, posts []ingest.Post) []ingest.Result
}

var (
	_ Vault  = (*vault.Vault)(nil)
	_ Ingest = (*ingest.Ingest)(nil)
)

// Config of a Runner. Store, Vault, Ingest, Sources, Transport, Now and NewID are needed.
type Config struct {
	Store   ledger.Store
	Vault   Vault
	Ingest  Ingest
	Sources Sources
	// Transport is the one egress: it refuses addresses that must not be dialled, and follows no redirect.
	Transport http.RoundTripper
	Room      func() error // refuses when the disk is nearly full; nil: there is always room
	Now       func() time.Time
	NewID     func() ulid.ULID
	Logger    *slog.Logger          // nil: silent
	Metrics   prometheus.Registerer // nil: none
}

// Runner polls every source of kind agenfleet. Make it with New, run it once; the other methods are safe for concurrent
// use at any time.
type Runner struct {
	cfg     Config
	metrics *metrics

	mu       sync.Mutex // guards all below
	limiters map[string]*rate.Limiter
	statuses map[sourceKey]Status
}

type sourceKey struct{ tenant, id string }

// New checks the configuration and makes a Runner that is not running yet.
func New(cfg Config) (*Runner, error) {
	if cfg.Store == nil || cfg.Vault == nil || cfg.Ingest == nil || cfg.Sources == nil || cfg.Transport == nil ||
		cfg.Now == nil || cfg.NewID == nil {
		return nil, errors.New("agenfleet: the configuration lacks a part that is needed")
	}
	if cfg.Room == nil {
		cfg.Room = func() error { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("agenfleet: register the metrics: %w", err)
	}
	return &Runner{cfg: cfg, metrics: m, limiters: map[string]*rate.Limiter{}, statuses: map[sourceKey]Status{}}, nil
}

// worker is a poller that runs.
type worker struct {
	config ulid.ULID // that it polls by
	stop   context.CancelFunc
	done   chan struct{}
}

// Run polls until ctx ends, and returns when no poll is under way any more and what was read is recorded.
func (r *Runner) Run(ctx context.Context) error {
	workers := map[sourceKey]*worker{}
	defer func() {
		for _, w := range workers {
			w.stop()
		}
		for _, w := range workers {
			<-w.done
		}
	}()
	for {
		r.follow(ctx, workers)
		select {
		case <-r.cfg.Sources.SourcesChanged():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow ends the pollers of sources that are gone or changed, and starts those that are new.
func (r *Runner) follow(ctx context.Context, workers map[sourceKey]*worker) {
	want := map[sourceKey]*domain.Source{}
	for _, s := range r.cfg.Sources.Sources(domain.AnyTenant) {
		if s.Config.Kind == domain.SourceAgenFleet {
			want[sourceKey{s.Tenant, s.ID}] = s
		}
	}
	for key, w := range workers {
		if s := want[key]; s != nil && s.ConfigRecord == w.config {
			continue
		}
		w.stop()
		<-w.done
		delete(workers, key)
		r.forget(key)
	}
	for key, s := range want {
		if workers[key] == nil && ctx.Err() == nil {
			workers[key] = r.start(ctx, s)
		}
	}
}

func (r *Runner) start(ctx context.Context, s *domain.Source) *worker {
	ctx, stop := context.WithCancel(ctx)
	w := &worker{config: s.ConfigRecord, stop: stop, done: make(chan struct{})}
	show := func(st Status) { r.setStatus(sourceKey{s.Tenant, s.ID}, st) }
	go func() {
		defer close(w.done)
		p, err := r.poller(ctx, s, show)
		if err != nil {
			// What is wrong with the configuration, or with its credentials, no repeat mends.
			r.cfg.Logger.Error("a source can't be polled", "source", s.ID, "error", err)
			show(Status{Code: codeConfig, Message: err.Error()})
			<-ctx.Done()
			return
		}
		p.run(ctx)
	}()
	return w
}

func (r *Runner) poller(ctx context.Context, s *domain.Source, show func(Status)) (*poller, error) {
	b, err := newBook(&r.cfg, s)
	if err != nil {
		return nil, err
	}
	c, err := r.client(ctx, &s.Config)
	if err != nil {
		return nil, err
	}
	return &poller{cfg: &r.cfg, metrics: r.metrics, source: s, client: c, book: b, show: show,
		limitsAt: map[string]time.Time{}}, nil
}

// client makes a source's client. All that ask the same host share a limit: it counts by address.
func (r *Runner) client(ctx context.Context, c *domain.SourceConfig) (*client, error) {
	secret, err := r.cfg.Vault.Secret(ctx, c.Poll.Credentials.KeyID)
	if err != nil {
		return nil, err
	}
	return newClient(c, secret, r.cfg.Transport, r.limiter(c.Poll), r.cfg.Now)
}

func (r *Runner) limiter(p *domain.PollConfig) *rate.Limiter {
	host := p.URL
	if u, err := url.Parse(p.URL); err == nil {
		host = u.Host
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.limiters[host]
	fresh := newLimiter(p.RateLimit)
	if l == nil {
		r.limiters[host] = fresh
		return fresh
	}
	if l.Limit() > fresh.Limit() { // the smallest that a source of the host asks for holds for all of them
		l.SetLimit(fresh.Limit())
		l.SetBurst(fresh.Burst())
	}
	return l
}
