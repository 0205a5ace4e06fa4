package replays

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// Progress is what a Runner needs to know of the deliveries that it scheduled; *projections.Projections does.
type Progress interface {
	// OpenReplays gives the replays for which there is something left to do, as they were folded.
	OpenReplays(ctx context.Context) ([]domain.Replay, error)
	// ReplayProgress counts a replay's deliveries, as they were folded.
	ReplayProgress(ctx context.Context, tenant, id string) (domain.ReplayProgress, error)
	// ReplayDeliveries gives deliveries that have one of the statuses and did not succeed, behind the id, by id.
	ReplayDeliveries(ctx context.Context, tenant, replay, after string, limit int,
		statuses ...domain.DeliveryStatus) ([]domain.Due, error)
}

// Endpoints is this node's table of endpoints.
type Endpoints interface {
	Endpoint(tenant, id string) (*domain.Endpoint, bool)
}

// DefaultAhead bounds the deliveries of one replay that are scheduled and have not ended: as many as keep half of a
// window busy while the rows lag, and few enough that a pause or a cancellation finds little to hold back.
const DefaultAhead = 4 * domain.MaxReplayPage

// pageSize is the number of deliveries that are scheduled at once at most: what folds a page holds a lock meanwhile
// that the next live event needs.
const pageSize = 200

// Waits of a Runner.
const (
	idlePoll  = 500 * time.Millisecond // the default of Config.Idle
	busyPoll  = 50 * time.Millisecond  // for deliveries that end
	firstLook = 2 * time.Millisecond   // for the one delivery that an ordered replay waits for; doubled up to Config.Idle
	troubled  = time.Second            // after an error
	turnTime  = 50 * time.Millisecond  // for one replay's plan, before it is another's turn
)

// Config of a Runner. All but Room, Logger and Ahead are needed.
type Config struct {
	Store     ledger.Store
	Planner   *Planner
	Progress  Progress
	Endpoints Endpoints
	Vault     Opener
	Room      func() error // refuses while the disk is nearly full; nil: never
	Now       func() time.Time
	Base      func() domain.Stamp // a stamp of now with a fresh id, by the system
	Ahead     int                 // 0: DefaultAhead
	// Idle is the longest wait for what this node is not told: what another node was asked for; 0: half a second.
	Idle   time.Duration
	Logger *slog.Logger // nil: silent
}

// Runner runs the replays of all tenants, one step of each at a time. Make it with New, run it once.
type Runner struct {
	cfg  Config
	wake chan struct{}
	runs map[key]*run
}

type key struct{ tenant, id string }

// New makes a Runner that is not running yet.
func New(cfg Config) (*Runner, error) {
	if cfg.Store == nil || cfg.Planner == nil || cfg.Progress == nil || cfg.Endpoints == nil || cfg.Vault == nil ||
		cfg.Now == nil || cfg.Base == nil {
		return nil, errors.New("replays: the configuration lacks a part that is needed")
	}
	if cfg.Ahead <= 0 {
		cfg.Ahead = DefaultAhead
	}
	if cfg.Idle <= 0 {
		cfg.Idle = idlePoll
	}
	if cfg.Room == nil {
		cfg.Room = func() error { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Runner{cfg: cfg, wake: make(chan struct{}, 1), runs: map[key]*run{}}, nil
}

// Wake says that a replay was asked for or changed on this node.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run runs replays until ctx ends, whose error it returns, or the store is closed.
func (r *Runner) Run(ctx context.Context) error {
	defer func() {
		for _, run := range r.runs {
			run.release()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-r.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		wait, err := r.turn(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ledger.ErrClosed) {
			return fmt.Errorf("run replays: %w", err)
		}
		if err != nil {
			r.cfg.Logger.Warn("replays wait", "error", err)
			wait = troubled
		}
		timer.Reset(wait)
	}
}

// turn moves every replay on by a step, and says how long to wait for the next turn at most.
func (r *Runner) turn(ctx context.Context) (time.Duration, error) {
	open, err := r.cfg.Progress.OpenReplays(ctx)
	if err != nil {
		return 0, err
	}
	for i := range open {
		if k := (key{open[i].Tenant, open[i].ID}); r.runs[k] == nil {
			r.runs[k] = &run{cfg: &r.cfg, state: &open[i]}
		}
	}
	wait := r.cfg.Idle
	for k, run := range r.runs {
		next, err := run.step(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, ledger.ErrClosed):
			return 0, err
		case errors.Is(err, ledger.ErrConflict):
			next = 0 // somebody paused it, or another node runs it too: what stands there now decides
		case err != nil:
			r.cfg.Logger.Warn("a replay waits", "replay", k.id, "error", err)
			run.rest(troubled)
			next = troubled
		}
		if run.state.Ended() {
			run.release()
			delete(r.runs, k)
			continue
		}
		wait = min(wait, next)
	}
	return wait, nil
}
