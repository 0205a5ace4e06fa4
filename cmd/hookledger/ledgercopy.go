package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
	"hookledger/ledger/ledgercopy"
)

// How many appends a second were measured, one after the other, each synced to a local disk: EventStoreDB 23.10.8 as
// one node, and the embedded store (BenchmarkCopy of ledgercopy).
const (
	eventstoreAppends = 900
	embeddedAppends   = 4000
)

// copyFlags are copy's own.
type copyFlags struct {
	from, to         domain.Secret // a connection string may hold a password
	fromHome, toHome string
	eventstore       domain.Secret
	ledgerOnly       bool
}

// copied is what copy did.
type copied struct {
	LedgerID   string  `json:"ledger_id"`
	From       string  `json:"from"`
	To         string  `json:"to"`
	Records    int64   `json:"records"`
	There      int64   `json:"records_there_before"`
	Written    int64   `json:"records_written"`
	Appends    int64   `json:"appends"`
	Seconds    float64 `json:"seconds"`
	DigestFrom string  `json:"digest_from"`
	DigestTo   string  `json:"digest_to"`
	Vault      string  `json:"vault"`
}

func newLedgerCopy(a *app) *cobra.Command {
	f := &copyFlags{}
	c := &cobra.Command{Use: "copy", Short: "Copy a ledger to another store, and verify the copy",
		Long: `Copy a ledger to another store, either way: every record, in the same order, with the same id, revision and
times; and the vault and the keys to the data directory of the target's node. --from and --to are each a data directory,
for a ledger that stands in it, or a connection string of EventStoreDB (or the word eventstore, for the one that
HOOKLEDGER_EVENTSTORE or HOOKLEDGER_EVENTSTORE_FILE holds).

No server may run at either end. The target must be empty, or hold what an earlier, interrupted run of this command
copied: it then goes on behind that. Until it has ended no server starts on the target. At
the end both are compared by a digest over all records. The source is only read; read models are not copied, since the
next start of the target's server folds them from the ledger.`,
		Example: `  hookledger ledger copy --from ./hookledger-data --to eventstore --to-data-dir ./hookledger-node \
    --eventstore 'esdb://127.0.0.1:2113?tls=false'
  hookledger ledger copy --from eventstore --from-data-dir ./hookledger-node --to ./hookledger-back
  hookledger ledger copy --from ./hookledger-data --to /mnt/new-disk/hookledger`, Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.ledgerCopy(cmd.Context(), f) }}
	flags := c.Flags()
	flags.Var(secretValue{&f.from}, "from", "the ledger: a data directory, or a connection string")
	flags.Var(secretValue{&f.to}, "to", "where it goes: a data directory, or a connection string")
	flags.StringVar(&f.fromHome, "from-data-dir", "", "with --from in EventStoreDB: the data directory of its node")
	flags.StringVar(&f.toHome, "to-data-dir", "", "with --to in EventStoreDB: the data directory of its node; it may be "+
		"that of --from, where the vault then stays")
	flags.BoolVar(&f.ledgerOnly, "ledger-only", false, "copy the records alone, and leave the vault and the keys to you")
	flags.Var(secretValue{&f.eventstore}, "eventstore", "the connection string that the word eventstore stands for")
	asSetting(flags, "eventstore")
	for _, name := range []string{"from", "to"} {
		// It fails for a flag that does not exist only: a broken build.
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return c
}

// ends reads both ends from the flags.
func (a *app) ends(f *copyFlags) (from, to *place, err error) {
	if from, err = a.place("from", f.from, f.fromHome, f.eventstore); err != nil {
		return nil, nil, err
	}
	if to, err = a.place("to", f.to, f.toHome, f.eventstore); err != nil {
		return nil, nil, err
	}
	for _, p := range []*place{from, to} {
		if p.home == "" && !f.ledgerOnly {
			return nil, nil, usage("nothing says which data directory holds the vault of "+p.flag+" "+p.String(),
				"give "+p.homeFlag()+", or --ledger-only to move the vault and the keys yourself")
		}
	}
	same := from.store.remote() && from.store.Connection.Reveal() == to.store.Connection.Reveal()
	if !from.store.remote() && !to.store.remote() {
		two, err := apart(from.home, to.home)
		if err != nil {
			return nil, nil, err
		}
		same = !two
	}
	if same {
		return nil, nil, usage("--from and --to are the same", "name another place with --to")
	}
	return from, to, nil
}

func (a *app) ledgerCopy(ctx context.Context, f *copyFlags) (err error) {
	from, to, err := a.ends(f)
	if err != nil {
		return err
	}
	begun := time.Now()
	source, lock, err := from.openSource(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close(), lock.Close()) }()
	if two, err := apart(from.home, to.home); err != nil || two { // else the mark is this copy's own
		if err := errors.Join(err, refuseHalf(from.home, from.store.Kind)); err != nil {
			return err
		}
	}
	progress := a.counting("read", 0)
	sum, err := ledgercopy.Survey(ctx, source, progress.set)
	progress.done()
	if err != nil {
		return a.copyError(ctx, fmt.Errorf("read the ledger in %s: %w", from, err), from, to)
	}
	if sum.Records == 0 {
		return noLedger(from)
	}
	var move *homeMove
	if !f.ledgerOnly {
		if move, err = a.homeMove(from, to, sum.LedgerID); err != nil {
			return err
		}
	}
	target, lock2, err := to.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close(), lock2.Close()) }()

	what := copied{LedgerID: sum.LedgerID, From: from.String(), To: to.String(), Records: sum.Records,
		DigestFrom: sum.Digest.String()}
	steps := &copySteps{a: a, sum: sum, to: to}
	done, err := ledgercopy.Run(ctx, ledgercopy.Config{From: source, To: target, Source: sum, Compared: steps.compared,
		Met: func(there int64) (err error) {
			mark := func() error {
				return to.mark(copyMark{to.store.Kind, sum.LedgerID, f.command(from, to), begun.UTC()})
			}
			if what.Vault, err = a.moveHome(move, f.ledgerOnly, to, mark); err == nil {
				steps.met(there)
			}
			return err
		}, Copied: steps.copied, Checked: steps.checked})
	steps.end()
	if err != nil {
		return a.copyError(ctx, err, from, to)
	}
	if err := to.unmark(); err != nil {
		return err
	}
	what.There, what.Written, what.Appends = done.Met, done.Written, done.Appends
	what.DigestTo, what.Seconds = done.Target.Digest.String(), time.Since(begun).Round(time.Millisecond).Seconds()
	if err := a.printCopied(what); err != nil {
		return err
	}
	a.sayWhatNow(from, to, !f.eventstore.Empty())
	return nil
}

// homeMove finds what has to move. Where opening the target begins a ledger, what stands in the way is looked for
// before; else once it is known whether the ledger there is the source's, which says more.
func (a *app) homeMove(from, to *place, ledgerID string) (*homeMove, error) {
	m, err := a.newHomeMove(from.home, to.home, ledgerID)
	if err != nil || m == nil || to.store.remote() {
		return m, err
	}
	there, err := exists(to.location())
	if err == nil && !there {
		err = m.check()
	}
	return m, err
}

// moveHome moves what opens the content, before the first record that needs it.
func (a *app) moveHome(move *homeMove, ledgerOnly bool, to *place, mark func() error) (string, error) {
	switch {
	case ledgerOnly:
		return "left to you", mark()
	case move == nil:
		return "stays in " + to.home, mark()
	}
	there, err := exists(filepath.Join(to.home, vaultDir))
	if err != nil {
		return "", err
	}
	entries, err := move.run(mark)
	if err != nil {
		return "", err
	}
	if there {
		return fmt.Sprintf("was in %s already, the same (%d entries)", to.home, entries), nil
	}
	return fmt.Sprintf("copied to %s (%d entries)", to.home, entries), nil
}

func (a *app) printCopied(c copied) error {
	return printOne(a, []output.Column[copied]{
		column("ledger_id", func(c copied) string { return c.LedgerID }),
		column("from", func(c copied) string { return c.From }),
		column("to", func(c copied) string { return c.To }),
		column("records", func(c copied) string { return output.Int(c.Records) }),
		column("records_there_before", func(c copied) string { return output.Int(c.There) }),
		column("records_written", func(c copied) string { return output.Int(c.Written) }),
		column("appends", func(c copied) string { return output.Int(c.Appends) }),
		column("seconds", func(c copied) string { return output.Float(c.Seconds, 3) }),
		column("digest_from", func(c copied) string { return c.DigestFrom }),
		column("digest_to", func(c copied) string { return c.DigestTo }),
		column("vault", func(c copied) string { return c.Vault }),
	}, c)
}

// sayWhatNow names what a person has to do next; configured says that EventStoreDB is named for every command.
func (a *app) sayWhatNow(from, to *place, configured bool) {
	a.note("the two are the same: every record, in the same order.")
	serve := "hookledger serve"
	if to.home != "" {
		serve += " --data-dir " + to.home
	}
	if configured && !to.store.remote() {
		serve += " --store embedded"
	}
	if to.store.remote() {
		serve += " --store eventstore, with the connection string of --to"
	}
	if there, _ := apart(from.home, to.home); !there && !from.store.remote() && to.store.remote() {
		a.note("move %s away first: a data directory holds the ledger, or is that of a node whose ledger stands elsewhere.",
			from.location())
	}
	a.note("go on with %s; its first start folds the read models from the ledger.", serve)
	a.note("never start a server on %s again: two servers on two copies of one ledger would both deliver.", from.location())
	if from.store.Kind != to.store.Kind {
		a.note("positions are the store's own: whoever kept one (record tail --after, Last-Event-ID, min_position) begins anew.")
	}
}

// copyError says what a person can do about an error of the copy.
func (a *app) copyError(ctx context.Context, err error, from, to *place) error {
	switch {
	case ctx.Err() != nil:
		return domain.Refuse(domain.KindUnavailable, "interrupted", "the copy was interrupted",
			"run the same command again: it goes on where it was")
	case errors.Is(err, ledgercopy.ErrForeign):
		return domain.Refuse(domain.KindConflict, "target_not_empty", fmt.Sprintf("%s: %v", to, err),
			"name an empty target with --to, or the one that the interrupted copy went to")
	case errors.Is(err, ledgercopy.ErrGrown):
		return domain.Refuse(domain.KindConflict, "source_in_use", fmt.Sprintf("%s: %v: what was there at the beginning "+
			"is copied and verified, and a server writes to it", from, err),
			"stop that server and run the same command again: it goes on where it was")
	case errors.Is(err, ledgercopy.ErrDiffers), errors.Is(err, ledgercopy.ErrLost):
		return &unverifiedError{err}
	}
	return err
}
