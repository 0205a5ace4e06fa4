package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"hookledger/domain"
)

// place is one end of a move: where a ledger stands, and the data directory of the node that it is of, in which its
// vault and its keys are.
type place struct {
	flag  string // --from or --to
	store storeConfig
	home  string // the data directory; with a store elsewhere it may be empty: the vault is left alone
}

// place reads one end from its flags: a data directory, a connection string of EventStoreDB, or the word eventstore for
// the configured one.
func (a *app) place(flag string, where domain.Secret, home string, configured domain.Secret) (*place, error) {
	name, homeFlag := where.Reveal(), "--"+flag+"-data-dir"
	p := &place{flag: "--" + flag, store: storeConfig{Kind: storeEmbedded}, home: name}
	switch {
	case name == "":
		return nil, usage(p.flag+" is empty", "give a data directory, or EventStoreDB's connection string")
	case name == storeEventstore:
		p.store = storeConfig{Kind: storeEventstore, Connection: configured}
	case strings.Contains(name, "://"):
		p.store = storeConfig{Kind: storeEventstore, Connection: where}
	case home != "":
		return nil, usage(homeFlag+" is given, and "+p.flag+" is a data directory itself", "leave "+homeFlag+" out")
	default:
		return p, p.noAddress()
	}
	p.home = home
	var err error
	p.store, err = a.eventstoreConfig(p.store)
	return p, err
}

// noAddress refuses, and does not quote, a data directory that is not there and looks like an address without its
// scheme: a password would be its name.
func (p *place) noAddress() error {
	before, _, found := strings.Cut(p.home, ":")
	if !found || strings.ContainsRune(before, filepath.Separator) {
		return nil
	}
	if there, err := exists(p.home); there || err != nil {
		return err
	}
	return usage(p.flag+" is no data directory, and no connection string",
		"write esdb://user:password@host:2113, or ./ before the name of a directory with a colon in it")
}

// eventstoreConfig adds what the environment says about EventStoreDB beside the connection string.
func (a *app) eventstoreConfig(c storeConfig) (storeConfig, error) {
	return a.storeConfig(&storeFlags{kind: c.Kind, connection: c.Connection})
}

// String says where the ledger stands, without what may be secret in a connection string.
func (p *place) String() string {
	if !p.store.remote() {
		return p.home
	}
	return hosts(p.store.Connection)
}

// hosts is a connection string without user, password and settings. A password may hold any character.
func hosts(connection domain.Secret) string {
	scheme, rest, found := strings.Cut(connection.Reveal(), "://")
	if !found { // nobody knows where in it a password is
		return "EventStoreDB, whose connection string has no scheme"
	}
	rest = rest[strings.LastIndex(rest, "@")+1:]
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	return scheme + "://" + rest
}

// openSource opens a ledger that must be there.
func (p *place) openSource(ctx context.Context) (nodeStore, io.Closer, error) {
	needed := ledgerDir
	if p.store.remote() {
		needed = vaultDir
	}
	if p.home != "" {
		there, err := exists(filepath.Join(p.home, needed))
		if err != nil || !there {
			return nil, nil, errors.Join(err, usage("there is no "+needed+" in "+p.home,
				"name the data directory of the server that the ledger is of with "+p.homeFlag()))
		}
	}
	return p.open(ctx)
}

func (p *place) homeFlag() string {
	if p.store.remote() {
		return p.flag + "-data-dir"
	}
	return p.flag
}

// open opens the store, and keeps servers off the data directory until the lock is closed.
func (p *place) open(ctx context.Context) (store nodeStore, lock io.Closer, err error) {
	if lock, err = p.lock(); err != nil {
		return nil, nil, err
	}
	if p.store.remote() {
		store, err = dialEventstore(ctx, p.store)
	} else {
		store, err = openEmbedded(p.home, p.store)
	}
	var inUse *domain.Error
	if errors.As(err, &inUse) && inUse.Code == "ledger_in_use" { // what the system said about the lock helps nobody
		err = domain.Refuse(inUse.Kind, inUse.Code, inUse.Detail,
			"stop that process, or ask the server that runs on it: hookledger status, hookledger record list")
	}
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	return store, lock, nil
}

// lock keeps a server off a data directory whose ledger stands elsewhere; a ledger in it has a lock of its own.
func (p *place) lock() (io.Closer, error) {
	if p.home == "" || !p.store.remote() {
		return io.NopCloser(nil), nil
	}
	return lockDir(p.home)
}

// apart says whether the two data directories are two.
func apart(a, b string) (bool, error) {
	infoA, err := os.Stat(a)
	if err != nil {
		return true, ignoreAbsent(err)
	}
	infoB, err := os.Stat(b)
	if err != nil {
		return true, ignoreAbsent(err)
	}
	return !os.SameFile(infoA, infoB), nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
