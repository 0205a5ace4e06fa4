package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
	"hookledger/ledger/ledgercopy"
)

// ledgerFacts is what info shows.
type ledgerFacts struct {
	LedgerID string           `json:"ledger_id"`
	Format   int              `json:"format"`
	Store    string           `json:"store"`
	Location string           `json:"location"`
	Head     domain.Position  `json:"head"`
	Records  int64            `json:"records"`
	Bytes    int64            `json:"bytes"` // of the records, encoded
	First    time.Time        `json:"first_recorded_at"`
	Last     time.Time        `json:"last_recorded_at"`
	Digest   string           `json:"digest"`
	Types    map[string]int64 `json:"types"`
}

type typeCount struct {
	name  string
	count int64
}

func newLedgerInfo(a *app) *cobra.Command {
	var dir string
	at := &storeFlags{}
	c := &cobra.Command{Use: "info", Short: "Read a ledger from end to end and say what is in it",
		Long: `Read a ledger from end to end and say what is in it: its id and format, how many records of which types, from
when to when, and the digest over all of them in their order, which is the same for the same ledger in whatever store.
An embedded ledger can't be read while a server runs on it; one in EventStoreDB can, and may grow meanwhile.`,
		Example: `  hookledger ledger info --data-dir ./hookledger-data
  hookledger ledger info --store eventstore --eventstore 'esdb://127.0.0.1:2113?tls=false' -o json`, Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if at.kind == storeEmbedded && a.settings.moreExplicit("data-dir", "eventstore") {
				at.connection = domain.Secret{} // it names where the ledger stands
			}
			cfg, err := a.storeConfig(at)
			if err != nil {
				return err
			}
			return a.ledgerInfo(cmd.Context(), &place{flag: "--data-dir", store: cfg, home: dir})
		}}
	c.Flags().StringVar(&dir, "data-dir", defaultDataDir, "the server's data directory, where the ledger stands in it")
	asSetting(c.Flags(), "data-dir")
	at.add(c)
	return c
}

func (a *app) ledgerInfo(ctx context.Context, p *place) (err error) {
	if p.store.remote() {
		p.home = "" // no server is kept off: reading disturbs none
	}
	store, lock, err := p.openSource(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(), lock.Close()) }()
	if err := refuseHalf(p.home, p.store.Kind); err != nil {
		a.note("what follows is of what is there so far: %v", err)
	}
	progress := a.counting("read", 0)
	sum, err := ledgercopy.Survey(ctx, store, progress.set)
	progress.done()
	if err != nil {
		return fmt.Errorf("read the ledger in %s: %w", p, err)
	}
	if sum.Records == 0 {
		return noLedger(p)
	}
	return a.printLedger(ledgerFacts{LedgerID: sum.LedgerID, Format: sum.Format, Store: p.store.Kind,
		Location: p.location(), Head: sum.End, Records: sum.Records, Bytes: sum.Bytes, First: sum.First, Last: sum.Last,
		Digest: sum.Digest.String(), Types: sum.Types})
}

// location is where a store keeps the ledger itself.
func (p *place) location() string {
	if p.store.remote() {
		return p.String()
	}
	return filepath.Join(p.home, ledgerDir)
}

// noLedger says that a store is empty.
func noLedger(p *place) error {
	return usage("there is no ledger in "+p.String(), "name the store that the server uses")
}

func (a *app) printLedger(f ledgerFacts) error {
	raw, err := marshal(f)
	if err != nil {
		return err
	}
	if err := output.One(a.printer, []output.Column[ledgerFacts]{
		column("ledger_id", func(f ledgerFacts) string { return f.LedgerID }),
		column("format", func(f ledgerFacts) string { return output.Int(f.Format) }),
		column("store", func(f ledgerFacts) string { return f.Store }),
		column("location", func(f ledgerFacts) string { return f.Location }),
		column("head", func(f ledgerFacts) string { return strconv.FormatUint(uint64(f.Head), 10) }),
		column("records", func(f ledgerFacts) string { return output.Int(f.Records) }),
		column("bytes", func(f ledgerFacts) string { return output.Int(f.Bytes) }),
		column("first_recorded_at", func(f ledgerFacts) string { return output.Time(f.First) }),
		column("last_recorded_at", func(f ledgerFacts) string { return output.Time(f.Last) }),
		column("digest", func(f ledgerFacts) string { return f.Digest }),
	}, raw, f); err != nil || a.printer.Format != output.Table {
		return err
	}
	a.blank()
	list := output.NewList(a.printer, []output.Column[typeCount]{
		column("type", func(t typeCount) string { return t.name }),
		column("records", func(t typeCount) string { return output.Int(t.count) }),
	})
	for _, name := range slices.Sorted(maps.Keys(f.Types)) {
		if err := list.Add(nil, typeCount{name, f.Types[name]}); err != nil {
			return err
		}
	}
	return list.Close()
}
