package ledgercopy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// A store that is away comes back, mostly: a new leader, a restart. A long copy waits for it this long before it gives
// up, and asks this often.
const (
	patience = 2 * time.Minute
	askEvery = 500 * time.Millisecond
)

// passes says whether an error is one that goes away by itself.
func passes(err error) bool {
	return errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrUnknownOutcome)
}

// waiter waits between tries, until patience has passed without success.
type waiter struct{ since time.Time }

// again says whether to try once more after the error, and waits before it does.
func (w *waiter) again(ctx context.Context, err error) bool {
	if !passes(err) || ctx.Err() != nil {
		return false
	}
	now := time.Now()
	if w.since.IsZero() {
		w.since = now
	}
	if now.Sub(w.since) >= patience {
		return false
	}
	t := time.NewTimer(askEvery)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *waiter) worked() { w.since = time.Time{} }

// read is ReadAll that goes on behind the last record when the store was away for a while.
func read(ctx context.Context, r ledger.Reader, after domain.Position) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		var w waiter
		for {
			var failed error
			for rec, err := range r.ReadAll(ctx, after) {
				if err != nil {
					failed = err
					break
				}
				w.worked()
				after = rec.Position
				if !yield(rec, nil) {
					return
				}
			}
			if failed == nil {
				return
			}
			if !w.again(ctx, failed) {
				yield(nil, fmt.Errorf("read the ledger behind position %d: %w", after, failed))
				return
			}
		}
	}
}
