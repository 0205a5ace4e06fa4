package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/projections"
)

func projectionColumns() []output.Column[apiclient.Projection] {
	return []output.Column[apiclient.Projection]{
		column("name", func(p apiclient.Projection) string { return p.Name }),
		column("position", func(p apiclient.Projection) string { return output.Int(p.Position) }),
		column("head", func(p apiclient.Projection) string { return output.Int(p.Head) }),
		column("lag_ms", func(p apiclient.Projection) string { return output.Float(p.LagMS, 1) }),
		column("error", func(p apiclient.Projection) string { return p.Error }),
	}
}

func newProjection(a *app) *cobra.Command {
	return group("projection", "See the read models, or make them anew from the ledger",
		newProjectionList(a), newProjectionRebuild(a), newProjectionDrop(a))
}

func newProjectionList(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(&cobra.Command{Use: "list", Short: "Say up to where each read model holds the ledger",
		Example: "  hookledger projection list", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var page apiclient.Page[apiclient.Projection]
			if err := c.Get(cmd.Context(), "/v1/projections", nil, &page); err != nil {
				return err
			}
			list := output.NewList(a.printer, projectionColumns())
			for _, p := range page.Data {
				if err := list.Add(p.Raw, p.Value); err != nil {
					return err
				}
			}
			return list.Close()
		}}, r)
}

// rebuilt is what rebuild did.
type rebuilt struct {
	Position uint64  `json:"position"`
	Seconds  float64 `json:"seconds"`
	Digest   string  `json:"digest"`
}

func newProjectionRebuild(a *app) *cobra.Command {
	var dir string
	at := &storeFlags{}
	c := &cobra.Command{Use: "rebuild", Short: "Fold the read models anew from the ledger, while no server runs",
		Long: `Fold the read models anew from the ledger into a fresh file, which then takes the place of the old one.
The server must not run; the ledger is only read.`,
		Example: "  hookledger projection rebuild --data-dir ./hookledger-data", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.rebuild(cmd.Context(), dir, at) }}
	c.Flags().StringVar(&dir, "data-dir", defaultDataDir, "the server's data directory")
	asSetting(c.Flags(), "data-dir")
	at.add(c)
	return c
}

// offline opens the ledger whose read models stand in the directory, while no server runs there.
func (a *app) offline(ctx context.Context, dir string, at *storeFlags) (nodeStore, error) {
	cfg, err := a.storeConfig(at)
	if err != nil {
		return nil, err
	}
	if err := refuseHalf(dir, cfg.Kind); err != nil { // before what it has not brought yet is missed
		return nil, err
	}
	// A vault stands beside every ledger, wherever that is.
	needed := ledgerDir
	if cfg.remote() {
		needed = vaultDir
	}
	if there, err := exists(filepath.Join(dir, needed)); err != nil || !there {
		return nil, errors.Join(err, usage("there is no "+needed+" in "+dir,
			"name the server's data directory with --data-dir or HOOKLEDGER_DATA_DIR"))
	}
	return openStore(ctx, dir, cfg)
}

func (a *app) rebuild(ctx context.Context, dir string, at *storeFlags) (err error) {
	store, err := a.offline(ctx, dir, at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if holds, err := begun(ctx, store); err != nil || holds == heldNothing {
		return errors.Join(err, usage("the ledger is empty: there is nothing to fold",
			"name the ledger that the server uses"))
	}
	done, err := projections.Rebuild(ctx, projections.Config{Dir: filepath.Join(dir, projectionsDir), Store: store,
		Now: now})
	if err != nil {
		return fmt.Errorf("rebuild the read models: %w", err)
	}
	return printOne(a, []output.Column[rebuilt]{
		column("position", func(r rebuilt) string { return output.Int(r.Position) }),
		column("seconds", func(r rebuilt) string { return output.Float(r.Seconds, 3) }),
		column("digest", func(r rebuilt) string { return r.Digest }),
	}, rebuilt{uint64(done.Position), done.Took.Round(time.Millisecond).Seconds(), done.Digest})
}
