package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/pebblestore"
)

// The ledger's stores, by the name that --store takes.
const (
	storeEmbedded   = "embedded"
	storeEventstore = "eventstore"
)

// nodeStore is what a node needs of the store that its ledger stands in.
type nodeStore interface {
	ledger.Store
	// Room refuses more events and attempts, with a *domain.Error, while they can't be taken.
	Room() error
	// Ready says why the store can't serve now; it asks the server, where there is one.
	Ready(ctx context.Context) error
	// Failed is closed when the store has failed for good: the process must end. Err says why.
	Failed() <-chan struct{}
	Err() error
}

// storeConfig says where a ledger stands, and what its store may use.
type storeConfig struct {
	Kind       string        // storeEmbedded, also where it is empty, or storeEventstore
	Connection domain.Secret // of EventStoreDB: it may hold a password
	Username   string        // for EventStoreDB, where the connection string has none
	Password   domain.Secret
	LowWater   uint64                // free bytes of the disk below which Room refuses; 0: the default
	Metrics    prometheus.Registerer // nil: none
	Logger     *slog.Logger          // nil: none
	// Note tells a person something while the store is opened; nil: nobody is told.
	Note func(format string, args ...any)
}

func (c *storeConfig) remote() bool { return c.Kind == storeEventstore }

// openStore is the one place that picks an adapter. The data directory is that of the node that the ledger is of; where
// the ledger stands elsewhere, the directory is locked for this process all the same, and must hold no ledger itself.
// What a copy has not finished is refused once nobody else can begin one.
func openStore(ctx context.Context, dataDir string, c storeConfig) (nodeStore, error) {
	if c.remote() {
		return openEventstore(ctx, dataDir, c)
	}
	s, err := openEmbedded(dataDir, c)
	if err != nil {
		return nil, err
	}
	if err := refuseHalf(dataDir, c.Kind); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func openEmbedded(dataDir string, c storeConfig) (nodeStore, error) {
	s, err := pebblestore.Open(pebblestore.Config{Dir: filepath.Join(dataDir, ledgerDir), LowWater: c.LowWater,
		Metrics: c.Metrics})
	if err != nil {
		return nil, err
	}
	return embedded{s}, nil
}

// embedded is the store in the data directory.
type embedded struct{ *pebblestore.Store }

func (e embedded) Ready(context.Context) error { return e.Err() }

// storeFlags are those of every command that opens a store.
type storeFlags struct {
	kind       string
	connection domain.Secret
}

func (f *storeFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.kind, "store", storeEmbedded, "where the ledger stands: "+storeEmbedded+
		" (in the data directory) or "+storeEventstore+" (EventStoreDB)")
	flags.Var(secretValue{&f.connection}, "eventstore",
		"EventStoreDB's connection string; with a password in it, better as HOOKLEDGER_EVENTSTORE or HOOKLEDGER_EVENTSTORE_FILE")
	asSetting(flags, "store", "eventstore")
	// It fails for a flag that does not exist only: a broken build.
	if err := c.RegisterFlagCompletionFunc("store", cobra.FixedCompletions(
		[]string{storeEmbedded, storeEventstore}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

// storeConfig checks the flags, and reads what the environment says beside them.
func (a *app) storeConfig(f *storeFlags) (c storeConfig, err error) {
	c = storeConfig{Kind: f.kind, Connection: f.connection, Note: a.note}
	switch {
	case f.kind != storeEmbedded && f.kind != storeEventstore:
		return c, usage("--store "+f.kind+" is unknown", "give embedded or eventstore")
	case f.kind == storeEmbedded && a.settings.moreExplicit("store", "eventstore"):
		c.Connection = domain.Secret{} // what the environment says for other commands
		return c, nil
	case f.kind == storeEmbedded && !f.connection.Empty():
		return c, usage(a.named("eventstore")+" is given, and the store is the embedded one",
			"give --store eventstore, or --store embedded for the ledger in the data directory")
	case f.kind == storeEmbedded:
		return c, nil
	case f.connection.Empty():
		return c, usage("the store is EventStoreDB, and nothing says where it is",
			"give --eventstore, HOOKLEDGER_EVENTSTORE or HOOKLEDGER_EVENTSTORE_FILE, such as esdb://127.0.0.1:2113?tls=false")
	}
	username, err := a.secret("EVENTSTORE_USERNAME")
	if err != nil {
		return c, err
	}
	c.Username = username.Reveal()
	c.Password, err = a.secret("EVENTSTORE_PASSWORD")
	return c, err
}

// named is a setting as the user gave it: by its flag, its variable, or the file that has it.
func (a *app) named(setting string) string {
	switch from := a.settings.source(setting); from {
	case "flag", "default":
		return "--" + setting
	default:
		if from == a.settings.file {
			return fmt.Sprintf("%s (in %s)", setting, from)
		}
		return from
	}
}

// secretValue is a flag that holds a secret: whoever prints it sees [redacted].
type secretValue struct{ secret *domain.Secret }

var _ pflag.Value = secretValue{}

// String is asked of the zero value too, by pflag.
func (v secretValue) String() string {
	if v.secret == nil || v.secret.Empty() {
		return ""
	}
	return v.secret.String()
}

func (v secretValue) Set(s string) error {
	*v.secret = domain.NewSecret(s)
	return nil
}

func (secretValue) Type() string { return "string" }
