package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// A data directory holds a vault and read models, and the ledger that they belong to unless that stands elsewhere. What
// does not fit together is refused here, before anything is changed.

// lockName is the file whose lock keeps a second process off a data directory without a ledger in it; the embedded
// ledger has a lock of its own.
const lockName = "lock"

// lockHome makes the data directory this process's own. It refuses one that holds an embedded ledger.
func lockHome(dataDir string) (io.Closer, error) {
	embedded, err := exists(filepath.Join(dataDir, ledgerDir))
	if err != nil {
		return nil, err
	}
	if embedded {
		return nil, domain.Refuse(domain.KindInvalid, "ledger_here",
			"there is a ledger in "+filepath.Join(dataDir, ledgerDir)+", and --store eventstore names another",
			"leave --store out to go on with this one, move it with hookledger ledger copy, or give another --data-dir")
	}
	return lockDir(dataDir)
}

// lockDir keeps every other process off a data directory whose ledger stands elsewhere.
func lockDir(dataDir string) (io.Closer, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := vfs.Default.Lock(filepath.Join(dataDir, lockName))
	inUse := domain.Refuse(domain.KindUnavailable, "data_dir_in_use",
		"the data directory "+dataDir+" is in use by another process",
		"stop that process, or give this one a data directory of its own")
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, syscall.EAGAIN):
		return nil, inUse
	}
	return nil, fmt.Errorf("%w: %w", inUse, err)
}

// held is how much of a ledger there is.
type held int

const (
	heldNothing held = iota
	heldBegun        // LedgerCreated alone: nothing is sealed under a key of any vault yet
	heldRecords
)

// holds looks how much of a ledger there is. Nothing is opened where the ledger is the data directory's: that it is
// there must do.
func holds(ctx context.Context, dataDir string, store nodeStore) (held, error) {
	if store == nil {
		there, err := exists(filepath.Join(dataDir, ledgerDir))
		if there {
			return heldRecords, err
		}
		return heldNothing, err
	}
	if id, _, err := ledger.Identify(ctx, store); id == "" || err != nil {
		return heldNothing, err
	}
	return begun(ctx, store)
}

// begun says whether more than LedgerCreated stands on a ledger.
func begun(ctx context.Context, store ledger.Reader) (held, error) {
	n := heldNothing
	for _, err := range store.ReadAll(ctx, 0) {
		if err != nil {
			return n, fmt.Errorf("read the ledger's first records: %w", err)
		}
		if n++; n == heldRecords {
			break
		}
	}
	return n, nil
}

// fits refuses a vault without its ledger, and a ledger without its vault.
func fits(dataDir string, c storeConfig, ledger held) error {
	hasVault, err := vault.Exists(filepath.Join(dataDir, vaultDir), nil)
	switch {
	case err != nil:
		return err
	case hasVault && ledger == heldNothing && c.remote():
		return domain.Refuse(domain.KindInvalid, "ledger_missing",
			"there is a vault in "+dataDir+", and the EventStoreDB that --eventstore names holds no ledger",
			"name the one that holds this vault's ledger, copy the ledger there with hookledger ledger copy, or give another "+
				"--data-dir to begin a new one")
	case hasVault && ledger == heldNothing:
		return domain.Refuse(domain.KindInvalid, "ledger_missing", "there is a vault in "+dataDir+" and no ledger",
			"restore "+filepath.Join(dataDir, ledgerDir)+" from the backup that the vault is from, give --store eventstore and "+
				"--eventstore if its ledger stands in EventStoreDB, or give another --data-dir")
	case !hasVault && ledger == heldRecords && c.remote():
		return domain.Refuse(domain.KindInvalid, "vault_missing",
			"the ledger in EventStoreDB is of another data directory: there is no vault in "+dataDir+" that opens it",
			"give the --data-dir of the one node that works on this ledger, restore its vault and master key from a backup, or "+
				"name an EventStoreDB without a ledger")
	}
	return nil
}
