package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

// Format is the version of the vault's files that this binary writes.
const Format = 1

// A vault is a directory with a card, which says whose it is, and a Pebble. The card is written last, so that a card
// without a Pebble, or a Pebble with keys and no card, is a vault of which a part was lost.
const (
	cardName = "vault.json"
	keysName = "keys"
)

// card says whose a vault is.
type card struct {
	Format   int    `json:"format"`
	LedgerID string `json:"ledger_id"`
	Check    string `json:"check"` // base64 HMAC of the ledger's id under a key derived from the master key
}

func openFiles(cfg Config, keys masterKeys) (*pebble.DB, error) {
	fs, keysDir := cfg.FS, cfg.FS.PathJoin(cfg.Dir, keysName)
	c, err := readCard(fs, fs.PathJoin(cfg.Dir, cardName))
	if err != nil {
		return nil, err
	}
	if c == nil && cfg.MustExist {
		return nil, domain.Refuse(domain.KindInvalid, "vault_missing",
			"the ledger holds sealed content, and there is no vault in "+cfg.Dir,
			"restore that directory from the backup that belongs to this ledger")
	}
	if c != nil {
		if err := c.belongs(cfg, keys); err != nil {
			return nil, err
		}
	}
	if err := makeDir(fs, keysDir); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	lock, err := pebble.LockDirectory(keysDir, fs)
	if err != nil {
		return nil, domain.Refuse(domain.KindConflict, "vault_in_use", "the vault in "+cfg.Dir+" is in use: "+err.Error(),
			"stop the process that holds it, or use another data directory")
	}
	defer func() { _ = lock.Close() }() // the open Pebble holds a reference of its own
	if c != nil {
		if err := inspect(keysDir, options(cfg, lock, true)); err != nil {
			return nil, damaged(cfg.Dir, err)
		}
	}
	db, err := pebble.Open(keysDir, options(cfg, lock, c != nil))
	if err != nil {
		return nil, damaged(cfg.Dir, err)
	}
	if c == nil {
		if err := found(cfg, keys, db); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

// found makes the Pebble in cfg.Dir, which must be empty, a vault.
func found(cfg Config, keys masterKeys, db *pebble.DB) error {
	it, err := db.NewIter(nil)
	if err != nil {
		return damaged(cfg.Dir, err)
	}
	holds := it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return damaged(cfg.Dir, err)
	}
	if holds {
		return damaged(cfg.Dir, errors.New(cardName+" is missing"))
	}
	c := card{Format: Format, LedgerID: cfg.LedgerID, Check: keys.check(cfg.LedgerID)}
	if err := writeCard(cfg.FS, cfg.Dir, &c); err != nil {
		return fmt.Errorf("make vault: %w", err)
	}
	return nil
}

func (c *card) belongs(cfg Config, keys masterKeys) error {
	if err := c.opens(cfg.Dir, keys); err != nil {
		return err
	}
	if c.LedgerID != cfg.LedgerID {
		return domain.Refuse(domain.KindInvalid, "wrong_vault",
			"the vault in "+cfg.Dir+" belongs to the ledger "+c.LedgerID+", not to "+cfg.LedgerID,
			"put the ledger and the vault of one data directory together again")
	}
	return nil
}

// opens says whether this binary and the master key open the vault.
func (c *card) opens(dir string, keys masterKeys) error {
	switch {
	case c.Format > Format:
		return domain.Refuse(domain.KindInvalid, "vault_newer_format",
			fmt.Sprintf("the vault in %s has format %d; this binary knows %d", dir, c.Format, Format),
			"use the newer hookledger that wrote it")
	case !keys.checks(c.Check, c.LedgerID):
		return domain.Refuse(domain.KindInvalid, "wrong_master_key",
			"the master key does not open the vault in "+dir,
			"give the master key that the vault was made with (HOOKLEDGER_MASTER_KEY, or the key file in the data directory)")
	}
	return nil
}

func damaged(dir string, err error) error {
	refusal := domain.Refuse(domain.KindInvalid, "vault_damaged", "the vault in "+dir+" can't be opened",
		"restore that directory from the backup that belongs to this ledger")
	return fmt.Errorf("%w: %w", refusal, firstLine{err})
}

// firstLine is an error of Pebble's without the lines that are for Pebble's developers.
type firstLine struct{ error }

func (f firstLine) Error() string {
	line, _, _ := strings.Cut(f.error.Error(), "\n")
	return line
}

func (f firstLine) Unwrap() error { return f.error }

// readCard gives nil where there is none.
func readCard(fs vfs.FS, path string) (*card, error) {
	f, err := fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	raw, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	var c card
	if err := json.Unmarshal(raw, &c); err != nil || c.Format < 1 {
		return nil, damaged(fs.PathDir(path), fmt.Errorf("%s is not readable: %w", cardName, err))
	}
	return &c, nil
}

// writeCard writes it whole or not at all, durably.
func writeCard(fs vfs.FS, dir string, c *card) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	path := fs.PathJoin(dir, cardName)
	f, err := fs.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

// makeDir makes a directory and those above it, durably, for the owner only.
func makeDir(fs vfs.FS, dir string) error {
	_, err := fs.Stat(dir)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func options(cfg Config, lock *pebble.Lock, exists bool) *pebble.Options {
	log := engineLog{logger: cfg.Logger, fatal: cfg.Fatal}
	if log.logger == nil {
		log.logger = slog.New(slog.DiscardHandler)
	}
	o := &pebble.Options{FS: inOrder{cfg.FS}, Lock: lock, Logger: log, ErrorIfNotExists: exists, Cleaner: removeAtOnce{},
		FormatMajorVersion: pebble.FormatNewest, MemTableSize: 4 << 20, CacheSize: 8 << 20, MaxOpenFiles: 100}
	if cfg.Compactions != nil {
		o.Experimental.CompactionScheduler = cfg.Compactions()
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most look-ups of a new subject find nothing
	}
	return o
}

// inOrder is the file system as Pebble gets it: a marker never stands on it without the file that it names. Pebble
// makes a new manifest and then its marker, and syncs the directory once for both; a loss of power in between could
// keep the marker alone. Here the directory is synced before the marker is made, too.
type inOrder struct{ vfs.FS }

func (o inOrder) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(o.PathBase(name), "marker.") {
		if err := syncDir(o.FS, o.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return o.FS.Create(name, category)
}

// Unwrap implements vfs.FS.
func (o inOrder) Unwrap() vfs.FS { return o.FS }

// removeAtOnce is Pebble's own cleaner, with one difference: Pebble keeps old log files to write over them, unless its
// cleaner is one that needs what they hold, as the archiving one is. Old logs hold wrapped keys, and must go.
type removeAtOnce struct {
	pebble.DeleteCleaner // Clean and String: the shallower ones
	keepsNoLogs
}

type keepsNoLogs struct{ pebble.ArchiveCleaner }

// engineLog takes what Pebble has to say.
type engineLog struct {
	logger *slog.Logger
	fatal  func(reason string)
}

func (l engineLog) Infof(format string, args ...any)  { l.logger.Debug(fmt.Sprintf(format, args...)) }
func (l engineLog) Errorf(format string, args ...any) { l.logger.Error(fmt.Sprintf(format, args...)) }
func (l engineLog) Fatalf(format string, args ...any) {
	reason, _, _ := strings.Cut(fmt.Sprintf(format, args...), "\n") // Pebble's errors can carry a stack
	if l.fatal != nil {
		l.fatal(reason)
		panic("vault: " + reason) // Fatal returned; going on could give out keys that are not durable
	}
	fmt.Fprintln(os.Stderr, "hookledger: the vault failed, and the process ends:", reason)
	os.Exit(1)
}
