package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/output"
	"hookledger/projections"
)

// dropped is one index that drop deleted.
type dropped struct {
	Projection string `json:"projection"`
	Tenant     string `json:"tenant"`
}

func newProjectionDrop(a *app) *cobra.Command {
	var dir string
	at := &storeFlags{}
	c := &cobra.Command{Use: "drop " + projections.TextDir, Short: "Delete the indexes of texts, while no server runs",
		Long: `Delete the indexes of what events say, one file for each tenant that wants one. The server must not run.
When it starts again it makes them anew from the ledger, for the tenants whose setting text_search is on: so this
is also how to rebuild them. To be rid of an index for good: hookledger tenant update NAME --text-search=false`,
		Example: "  hookledger projection drop text-search --data-dir ./hookledger-data", Args: args("PROJECTION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != projections.TextDir {
				return usage("the projection "+args[0]+" can't be dropped",
					"drop "+projections.TextDir+", or make the rows anew with: hookledger projection rebuild")
			}
			return a.drop(cmd.Context(), dir, at)
		}}
	c.Flags().StringVar(&dir, "data-dir", defaultDataDir, "the server's data directory")
	asSetting(c.Flags(), "data-dir")
	at.add(c)
	return c
}

func (a *app) drop(ctx context.Context, dir string, at *storeFlags) (err error) {
	store, err := a.offline(ctx, dir, at) // which a server that runs would hold
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	tenants, err := projections.DropTextSearch(filepath.Join(dir, projectionsDir))
	list := output.NewList(a.printer, []output.Column[dropped]{
		column("projection", func(d dropped) string { return d.Projection }),
		column("tenant", func(d dropped) string { return d.Tenant })})
	for _, tenant := range tenants {
		d := dropped{projections.TextDir, tenant}
		raw, failed := json.Marshal(d)
		err = errors.Join(err, failed, list.Add(raw, d))
	}
	return errors.Join(err, list.Close())
}
