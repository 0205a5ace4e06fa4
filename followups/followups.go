package followups

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
)

// Pending is what is to be done, oldest first. It is safe for concurrent use.
type Pending interface {
	// Next gives a follow-up that was not given yet, and waits for one. Its error is ctx's.
	Next(ctx context.Context) (domain.FollowUp, error)
	// Done says that it needs not be given again in any later life: it was done, or there is nothing to do.
	Done(f domain.FollowUp)
	// Waiting counts those that are not done, and says when the oldest one's evidence was recorded.
	Waiting() (n int, oldest time.Time)
}

// Poster takes events in.
type Poster interface {
	Post(ctx context.Context, p ingest.Post) (*ingest.Receipt, error)
}

// Directory knows the tenants' configuration as of now, no earlier than what Pending was folded from.
type Directory interface {
	Routing(tenant string) (*domain.Routing, bool)
}

// Bodies opens events. An erased one gives vault.ErrErased.
type Bodies interface {
	Event(ctx context.Context, tenant, event string) (domain.EventBody, error)
}

// Config of a Runner. Logger and Metrics may be nil.
type Config struct {
	Store     ledger.Store
	Pending   Pending
	Poster    Poster
	Directory Directory
	Bodies    Bodies
	Now       func() time.Time
	Logger    *slog.Logger
	Metrics   prometheus.Registerer
}

const (
	// workers do what is to be done at once; each waits for the ledger's disk most of the time. All of an endpoint is one
	// worker's, so that it is done in the order of the ledger.
	workers = 8
	// ahead is how much a worker is handed before it has done what it has.
	ahead = 64
)

// Runner does what is pending. Make it with New, run it once.
type Runner struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	since   positions

	mu      sync.Mutex // guards trouble
	trouble map[int]error
}

// New makes a Runner that is not running yet.
func New(cfg Config) (*Runner, error) {
	if cfg.Store == nil || cfg.Pending == nil || cfg.Poster == nil || cfg.Directory == nil || cfg.Bodies == nil ||
		cfg.Now == nil {
		return nil, errors.New("followups: the configuration lacks a part that is needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Metrics, cfg.Pending, cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("followups: register metrics: %w", err)
	}
	return &Runner{cfg: cfg, log: cfg.Logger, metrics: m, trouble: map[int]error{}}, nil
}

// Run does what is pending until ctx ends, and then returns nil. What it was about by then is found again.
func (r *Runner) Run(ctx context.Context) error {
	g, running := errgroup.WithContext(ctx)
	var queues [workers]chan domain.FollowUp
	for i := range queues {
		queues[i] = make(chan domain.FollowUp, ahead)
		w := worker{runner: r, number: i, queue: queues[i]}
		g.Go(func() error { return w.run(running) })
	}
	g.Go(func() error {
		for {
			f, err := r.cfg.Pending.Next(running)
			if err != nil {
				return err
			}
			select {
			case queues[share(&f)] <- f:
			case <-running.Done():
				return running.Err()
			}
		}
	})
	if err := g.Wait(); ctx.Err() == nil {
		return fmt.Errorf("followups: %w", err)
	}
	return nil
}

// share is the worker that does it.
func share(f *domain.FollowUp) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(f.Tenant + "." + f.Endpoint)) // never fails
	return int(h.Sum32() % workers)
}

// Status is how far what is to be done has come.
type Status struct {
	Waiting int
	Oldest  time.Time // when its evidence was recorded; zero: nothing waits
	Trouble error     // why something was put off when it was last tried; nil: nothing was
}

// Status says how far it has come.
func (r *Runner) Status() Status {
	s := Status{}
	s.Waiting, s.Oldest = r.cfg.Pending.Waiting()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.trouble {
		s.Trouble = err
	}
	return s
}

func (r *Runner) troubled(worker int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.trouble, worker)
		return
	}
	r.trouble[worker] = err
}
