package main

import (
	"log/slog"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/httpapi"
	"hookledger/ingest"
	"hookledger/projections"
	"hookledger/replays"
	"hookledger/vault"
)

var (
	_ replays.Rows     = (*projections.Projections)(nil)
	_ replays.Progress = (*projections.Projections)(nil)
	_ replays.Bodies   = (*ingest.Bodies)(nil)
	_ httpapi.Replays  = nodeReplays{}
)

// nodeReplays are a node's replays: planned for the API, and run beside the delivery.
type nodeReplays struct {
	*replays.Planner
	*replays.Runner
}

func newReplays(store nodeStore, proj *projections.Projections, bodies delivery.Bodies, keys *vault.Vault,
	log *slog.Logger) (nodeReplays, error) {
	planner := &replays.Planner{Store: store, Rows: proj, Bodies: bodies}
	runner, err := replays.New(replays.Config{Store: store, Planner: planner, Progress: proj, Endpoints: proj.Directory(),
		Vault: keys, Room: store.Room, Now: now, Logger: log, Base: func() domain.Stamp {
			return domain.Stamp{At: now(), Base: newID(), Actor: domain.System("replay")}
		}})
	return nodeReplays{planner, runner}, err
}
