package followups

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// Waits before something is tried again.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = time.Minute
	// longestAway is the longest pause of a worker while the ledger is away.
	longestAway = 5 * time.Second
)

// worker does its share, one thing after the other. What can't be done for a reason of its own is put off, and does not
// hold up the rest.
type worker struct {
	runner *Runner
	number int
	queue  <-chan domain.FollowUp
	later  []task // by the time to try again
}

type task struct {
	domain.FollowUp
	tries int
	at    time.Time
}

func (w *worker) run(ctx context.Context) error {
	for {
		t, err := w.next(ctx)
		if err != nil {
			return err
		}
		if !w.do(ctx, t) {
			return ctx.Err()
		}
	}
}

// next waits for what is to be done next: what was put off, when it is time, or something new.
func (w *worker) next(ctx context.Context) (task, error) {
	var again <-chan time.Time
	if len(w.later) > 0 {
		timer := time.NewTimer(time.Until(w.later[0].at))
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-ctx.Done():
		return task{}, ctx.Err()
	case <-again:
		t := w.later[0]
		w.later = slices.Delete(w.later, 0, 1)
		return t, nil
	case f := <-w.queue:
		return task{FollowUp: f}, nil
	}
}

// do does it, or puts it off. While the ledger is away it waits with it; false: ctx ended meanwhile.
func (w *worker) do(ctx context.Context, t task) bool {
	r := w.runner
	for wait := firstWait; ; wait = min(2*wait, longestAway) {
		result, err := r.do(ctx, &t.FollowUp)
		switch {
		case err == nil:
			r.troubled(w.number, nil)
			r.finished(&t.FollowUp, result)
			return true
		case ctx.Err() != nil:
			return false
		case refused(err):
			r.refused(&t.FollowUp, err)
			return true
		case !away(err):
			w.putOff(t, err)
			return true
		}
		r.troubled(w.number, err)
		r.metrics.troubles.Inc()
		if wait == firstWait {
			r.log.Warn("what follows from a record waits for the ledger", append(ids(&t.FollowUp), "error", err)...)
		}
		if !ledger.Pause(ctx, wait) {
			return false
		}
	}
}

// putOff has it tried again later, for as long as it takes.
func (w *worker) putOff(t task, err error) {
	t.tries++
	wait := min(firstWait<<min(t.tries-1, 16), longestWait)
	t.at = time.Now().Add(wait)
	w.runner.troubled(w.number, err)
	w.runner.metrics.troubles.Inc()
	w.runner.log.Error("what follows from a record could not be done, and is tried again", append(ids(&t.FollowUp),
		"tries", t.tries, "again_in", wait, "error", err)...)
	i, _ := slices.BinarySearchFunc(w.later, t.at, func(o task, at time.Time) int { return o.at.Compare(at) })
	w.later = slices.Insert(w.later, i, t)
}

func (r *Runner) finished(f *domain.FollowUp, result string) {
	r.metrics.done.WithLabelValues(f.Kind, result).Inc()
	if result == resultDone {
		r.log.Info("what follows from a record was done", ids(f)...)
	}
	r.cfg.Pending.Done(*f)
}

// refused gives it up: what is refused today, for instance because a tenant's schema does not take it, would be
// tomorrow. The refusal stands in the log and is counted.
func (r *Runner) refused(f *domain.FollowUp, err error) {
	r.log.Error("what follows from a record was refused, and is not tried again", append(ids(f),
		"code", domain.Code(err), "error", err)...)
	r.metrics.done.WithLabelValues(f.Kind, resultRefused).Inc()
	r.cfg.Pending.Done(*f)
}

func ids(f *domain.FollowUp) []any {
	return []any{"kind", f.Kind, "tenant", f.Tenant, "endpoint", f.Endpoint, "delivery", f.Delivery,
		"record", f.Evidence.String()}
}

// away says that the ledger, or the room on its disk, is what lacks: everything else would fail as well.
func away(err error) bool {
	for _, e := range []error{ledger.ErrUnavailable, ledger.ErrUnknownOutcome, ledger.ErrClosed, ledger.ErrConflict} {
		if errors.Is(err, e) {
			return true
		}
	}
	var refusal *domain.Error
	return errors.As(err, &refusal) && (refusal.Kind == domain.KindUnavailable || refusal.Kind == domain.KindNoRoom)
}

// refused says that a repeat would be refused as well.
func refused(err error) bool {
	var refusal *domain.Error
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Kind {
	case domain.KindInvalid, domain.KindNotFound, domain.KindConflict, domain.KindForbidden, domain.KindTooLarge,
		domain.KindErased:
		return true
	}
	return false
}

var errPanic = errors.New("panic")

// caught turns a panic into an error: one thing that can't be done must not end the others.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v at %s", errPanic, p, debug.Stack())
	}
}
