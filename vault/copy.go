package vault

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

// Copy copies the vault in cfg.Dir, whole and as it is, to the directory to, and compares the two entry by entry. It
// says how many entries there are. A vault that is there already and holds the same is left as it is, so that it can be
// repeated; anything else that is there is refused, and nothing is written over. The refusals of Open are Copy's, a
// vault that a process holds among them; there must be one. A crash leaves the copy whole or none.
//
// Both vaults open the same content from then on: an erasure in one does not reach the other.
func Copy(cfg Config, to string) (entries int, err error) {
	keys, err := parseMaster(cfg.Master)
	if err != nil {
		return 0, err
	}
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	cfg.MustExist = true
	from, err := openFiles(cfg, keys)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	target := cfg
	target.Dir = to
	c, err := readCard(cfg.FS, cfg.FS.PathJoin(to, cardName))
	if err != nil {
		return 0, err
	}
	if c != nil {
		return compare(from, target, keys, "give a data directory without a vault; nothing was written over")
	}
	if err := free(cfg.FS, to); err != nil {
		return 0, err
	}
	// It is made aside, and gets its name once it is whole. What a crash left aside is not a vault yet.
	target.Dir = to + ".new"
	if err := cfg.FS.RemoveAll(target.Dir); err != nil {
		return 0, fmt.Errorf("copy vault: %w", err)
	}
	if err := checkpoint(from, cfg, target.Dir); err != nil {
		return 0, fmt.Errorf("copy vault: %w", err)
	}
	if entries, err = compare(from, target, keys, "repeat it; if it happens again, the disk is not sound"); err != nil {
		return 0, err
	}
	if err := cfg.FS.Rename(target.Dir, to); err != nil {
		return 0, fmt.Errorf("copy vault: %w", err)
	}
	return entries, syncDir(cfg.FS, cfg.FS.PathDir(to))
}

// checkpoint writes the vault's files into a fresh directory, durably. The log is emptied first: it may hold keys that
// were destroyed since.
func checkpoint(from *pebble.DB, cfg Config, dir string) error {
	if err := makeDir(cfg.FS, dir); err != nil {
		return err
	}
	if err := from.Flush(); err != nil {
		return err
	}
	if err := from.Checkpoint(cfg.FS.PathJoin(dir, keysName), pebble.WithFlushedWAL()); err != nil {
		return err
	}
	c, err := readCard(cfg.FS, cfg.FS.PathJoin(cfg.Dir, cardName))
	if err != nil {
		return err
	}
	return writeCard(cfg.FS, dir, c)
}

// free refuses a directory that something stands in.
func free(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copy vault: %w", err)
	}
	if len(names) > 0 {
		return domain.Refuse(domain.KindConflict, "vault_target_not_empty",
			"a vault can't be copied to "+dir+": it holds "+names[0]+", and is no vault",
			"give another data directory; nothing was written over")
	}
	return fs.Remove(dir)
}

// compare refuses another vault, with the fix, that does not hold the same entries.
func compare(from *pebble.DB, cfg Config, keys masterKeys, fix string) (entries int, err error) {
	to, err := openFiles(cfg, keys)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	entries, same, err := sameEntries(from, to)
	if err != nil {
		return 0, fmt.Errorf("compare the vault in %s: %w", cfg.Dir, err)
	}
	if !same {
		return 0, domain.Refuse(domain.KindConflict, "vault_differs",
			"the vault in "+cfg.Dir+" holds other keys than the one that is copied", fix)
	}
	return entries, nil
}

// sameEntries walks through both at once, and counts.
func sameEntries(a, b *pebble.DB) (n int, same bool, err error) {
	x, err := a.NewIter(nil)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	y, err := b.NewIter(nil)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, y.Close()) }()
	more, also := x.First(), y.First()
	for ; more && also; more, also = x.Next(), y.Next() {
		if !bytes.Equal(x.Key(), y.Key()) || !bytes.Equal(x.Value(), y.Value()) {
			return n, false, nil
		}
		n++
	}
	return n, !more && !also, errors.Join(x.Error(), y.Error())
}
