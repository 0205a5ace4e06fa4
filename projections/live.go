package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// live folds what is held in memory, record by record, as soon as a record is durable.
type live struct {
	store     ledger.Reader
	directory *Directory
	backlog   *Backlog
	health    *Health
	now       func() time.Time
	log       *slog.Logger
	notices   *notices
	progress  progress
}

// run folds until ctx ends, the store fails, or a record can't be folded; then the rest of the process goes on without
// it.
func (l *live) run(ctx context.Context) error {
	store := absence{name: nameLive, log: l.log}
	for {
		err := l.round(ctx)
		switch {
		case err == nil:
			store.back()
		case !store.wait(ctx, err):
			return l.end(ctx, err)
		}
	}
}

// round waits for records and folds them.
func (l *live) round(ctx context.Context) error {
	if err := l.store.Wait(ctx, l.progress.position()); err != nil {
		return err
	}
	l.progress.behind(l.now())
	for r, err := range l.store.ReadAll(ctx, l.progress.position()) {
		if err == nil {
			err = l.fold(r)
		}
		if err == nil {
			err = l.backlog.room(ctx, r.Position)
		}
		if err != nil {
			return err
		}
	}
	l.progress.behind(time.Time{})
	return nil
}

func (l *live) end(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.progress.stop(err)
	var bad *foldError
	if errors.As(err, &bad) {
		l.log.Error("the live projection stopped", "error", err)
		<-ctx.Done()
		return ctx.Err()
	}
	return fmt.Errorf("follow the ledger behind %d: %w", l.progress.position(), err)
}

func (l *live) fold(r *domain.Record) error {
	if u, ok := r.Fact.(*domain.Unknown); ok {
		return &foldError{projection: nameLive, record: r.ID,
			err: fmt.Errorf("this binary does not know %s in version %d: use a newer one", u.Type, u.Version)}
	}
	l.directory.fold(r)
	what := l.health.apply(r)
	l.backlog.fold(r)
	l.notices.see(r, what)
	l.progress.reached(r.Position, micros(r.RecordedAt))
	return nil
}
