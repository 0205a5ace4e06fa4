package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/followups"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/projections"
)

// newFollowUps makes what does what follows from records in other streams.
func newFollowUps(store ledger.Store, proj *projections.Projections, in *ingest.Ingest, bodies *ingest.Bodies,
	metrics prometheus.Registerer, log *slog.Logger) (*followups.Runner, error) {
	return followups.New(followups.Config{Store: store, Pending: proj.Health(), Poster: in, Directory: proj.Directory(),
		Bodies: bodies, Now: now, Logger: log, Metrics: metrics})
}

// followUp starts it. It ends behind the delivery: what the last outcomes led to and is not done by then, the next life
// does.
func (s *server) followUp(r *followups.Runner) {
	ctx, stop := context.WithCancel(context.Background())
	s.stopFollowUps, s.followedUp = stop, make(chan struct{})
	s.group.Go(func() error {
		defer close(s.followedUp)
		return part("followups", ctx, r.Run)
	})
}

// lateAfter is when what follows from a record is late: it takes milliseconds.
const lateAfter = time.Minute

// followUpsLate says for /readyz how much of what follows from records waits for long, or "ok". Why, the log says: what
// a store says of itself is for nobody else.
func followUpsLate(r *followups.Runner) func() string {
	return func() string {
		status := r.Status()
		if status.Waiting == 0 || now().Sub(status.Oldest) < lateAfter {
			return "ok"
		}
		return fmt.Sprintf("%d wait, the oldest since %s: see the server's log", status.Waiting,
			status.Oldest.UTC().Format(time.RFC3339))
	}
}
