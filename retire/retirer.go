package retire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// Endpoints know which secrets nothing uses from a time on; *projections.Directory does.
type Endpoints interface {
	Retiring() map[domain.EndpointKey][]domain.Retiring
	// RetiringChanged has a signal (capacity 1) whenever Retiring may give more than it last did.
	RetiringChanged() <-chan struct{}
}

// Vault destroys secrets; *vault.Vault does. Destroying one again is no error.
type Vault interface {
	Destroy(ctx context.Context, keyID string) error
}

// Config of a Retirer. Store, Vault, Endpoints and Now are needed.
type Config struct {
	Store     ledger.Store
	Vault     Vault
	Endpoints Endpoints
	Now       func() time.Time
	Room      func() error // refuses while the disk is nearly full; nil: never
	Logger    *slog.Logger // nil: silent
}

const (
	// lookAgain bounds how long a wall clock that was set is not noticed.
	lookAgain = time.Minute
	// afterFailure is the wait after something that a repeat may mend.
	afterFailure = 10 * time.Second
)

// Retirer does it. Make it with New, run it once.
type Retirer struct {
	cfg Config
	log *slog.Logger
}

// New checks the configuration.
func New(cfg Config) (*Retirer, error) {
	if cfg.Store == nil || cfg.Vault == nil || cfg.Endpoints == nil || cfg.Now == nil {
		return nil, errors.New("retire: the configuration lacks a part that is needed")
	}
	if cfg.Room == nil {
		cfg.Room = func() error { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Retirer{cfg: cfg, log: cfg.Logger}, nil
}

// Run destroys what is due until ctx ends, or the store was closed.
func (r *Retirer) Run(ctx context.Context) error {
	failed := false
	for {
		wait, err := r.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ledger.ErrClosed), errors.Is(err, vault.ErrClosed):
			return fmt.Errorf("retire: %w", err)
		case err != nil && !failed:
			r.log.Error("secrets that nothing uses any more are not destroyed yet", "again_in", afterFailure, "error", err)
		}
		if failed = err != nil; failed {
			wait = afterFailure
		}
		t := time.NewTimer(wait)
		select {
		case <-r.cfg.Endpoints.RetiringChanged():
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// pass destroys what is due, and says when to look again.
func (r *Retirer) pass(ctx context.Context) (time.Duration, error) {
	now := r.cfg.Now()
	wait := lookAgain
	var errs []error
	for key, retiring := range r.cfg.Endpoints.Retiring() {
		var due []domain.Retiring
		for _, one := range retiring {
			if left := one.From.Sub(now); left > 0 {
				wait = min(wait, left)
			} else {
				due = append(due, one)
			}
		}
		if len(due) == 0 {
			continue
		}
		err := r.cfg.Room()
		if err == nil {
			err = r.retire(ctx, key, due, now)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("endpoint %s: %w", key.Endpoint, err))
		}
	}
	return wait, errors.Join(errs...)
}

// retire destroys an endpoint's secrets, and appends that they are.
func (r *Retirer) retire(ctx context.Context, key domain.EndpointKey, due []domain.Retiring, now time.Time) error {
	slices.SortFunc(due, func(a, b domain.Retiring) int { return a.From.Compare(b.From) })
	ids := make([]string, len(due))
	for i, one := range due {
		ids[i] = one.KeyID
		// One that the vault never knew is as gone as it can be.
		if err := r.cfg.Vault.Destroy(ctx, one.KeyID); err != nil && !errors.Is(err, vault.ErrUnknownKey) {
			return err
		}
	}
	stream := domain.EndpointStream(key.Tenant, key.Endpoint)
	base := domain.DerivedID(due[0].From, append([]string{"retire", key.Tenant, key.Endpoint}, ids...)...)
	_, _, err := ledger.Execute(ctx, r.cfg.Store, stream, newEndpoint,
		func(e *domain.Endpoint) ([]domain.Record, error) {
			facts, because := e.Retire(ids, now)
			s := domain.Stamp{At: now, Base: base, Actor: domain.System("retire")}
			return s.Records(stream, key.Tenant, "", because, facts...), nil
		})
	return err
}

func newEndpoint() *domain.Endpoint { return &domain.Endpoint{Revision: domain.NoStream} }
