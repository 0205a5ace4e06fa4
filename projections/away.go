package projections

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"hookledger/ledger"
)

// A store in another process goes away and comes back: it is started anew, or its cluster finds another leader. A
// follower waits for it, and goes on behind the last record that it has folded.
const (
	askAgain = 500 * time.Millisecond
	// startPatience is how long the start waits for a store that answers nothing any more.
	startPatience = time.Minute
)

// absence is a follower's view of the store; it is used by the follower's goroutine.
type absence struct {
	name string
	log  *slog.Logger
	away bool
}

// wait says whether the error is one that passes, and returns when it is time to ask again.
func (a *absence) wait(ctx context.Context, err error) bool {
	if !errors.Is(err, ledger.ErrUnavailable) || ctx.Err() != nil {
		return false
	}
	if !a.away {
		a.away = true
		a.log.Warn("the ledger is not available: the "+a.name+" projection waits for it", "error", err)
	}
	timer := time.NewTimer(askAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// back says that the store has answered.
func (a *absence) back() {
	if a.away {
		a.away = false
		a.log.Info("the ledger is available again: the " + a.name + " projection goes on")
	}
}
