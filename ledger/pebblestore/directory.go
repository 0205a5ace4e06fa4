package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
	"hookledger/ledger"
)

// What is in a store's directory.
const (
	formatFile = "STORE" // what this directory is, and its format
	markFile   = "HEAD"  // a durable position that the ledger has reached
	lockFile   = "LOCK"
	engineDir  = "db" // Pebble's
	tmpSuffix  = ".tmp"
)

// storeFormat is the version of the store's layout: keys, values and files.
const storeFormat = 1

const formatText = "hookledger ledger store\nformat %d\n"

// directory is where a store lives.
type directory struct {
	fs   vfs.FS
	path string
}

func (d directory) join(name string) string { return d.fs.PathJoin(d.path, name) }

// prepare makes sure that the directory is a store's, or can become one, and locks it.
func (d directory) prepare() (io.Closer, error) {
	fresh, err := d.check()
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := d.create(); err != nil {
			return nil, fmt.Errorf("create the ledger's directory: %w", err)
		}
	}
	lock, err := d.fs.Lock(d.join(lockFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", domain.Refuse(domain.KindUnavailable, "ledger_in_use",
			"the ledger in "+d.path+" is in use by another process",
			"stop that process, or give this one a data directory of its own"), err)
	}
	// Another process may have changed it before we had the lock.
	if fresh, err = d.check(); err == nil && fresh {
		err = d.writeFile(formatFile, fmt.Sprintf(formatText, storeFormat))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// check reads what the directory is: a store of this format, or nothing yet (fresh). It changes nothing.
func (d directory) check() (fresh bool, err error) {
	text, err := d.readFile(formatFile)
	if err == nil {
		return false, d.checkFormat(text)
	}
	if !oserror.IsNotExist(err) {
		return false, fmt.Errorf("open the ledger in %s: %w", d.path, err)
	}
	names, err := d.fs.List(d.path)
	if err != nil && !oserror.IsNotExist(err) {
		return false, fmt.Errorf("open the ledger in %s: %w", d.path, err)
	}
	for _, name := range names {
		if name != lockFile && name != formatFile+tmpSuffix {
			return false, domain.Refuse(domain.KindUnavailable, "not_a_ledger",
				fmt.Sprintf("%s is not a ledger: it holds %s and no %s file", d.path, name, formatFile),
				"name an empty directory, or the right one")
		}
	}
	return true, nil
}

func (d directory) checkFormat(text string) error {
	var format int
	if n, err := fmt.Sscanf(text, formatText, &format); n != 1 || err != nil || format < 1 ||
		text != fmt.Sprintf(formatText, format) {
		return domain.Refuse(domain.KindUnavailable, "not_a_ledger",
			fmt.Sprintf("%s is not a ledger, or damaged: its %s file says something else", d.path, formatFile),
			"name the right directory, or restore a backup")
	}
	if format > storeFormat {
		return fmt.Errorf("%w: %w", ledger.ErrNewerFormat, domain.Refuse(domain.KindUnavailable, "newer_format",
			fmt.Sprintf("the ledger in %s has format %d, this binary knows %d", d.path, format, storeFormat),
			"use the hookledger that wrote it, or a newer one"))
	}
	return nil
}

// create makes the directory and what is missing above it, durably.
func (d directory) create() error {
	var made []string
	for p := filepath.Clean(d.path); ; p = d.fs.PathDir(p) {
		made = append(made, p)
		if _, err := d.fs.Stat(p); err == nil || p == d.fs.PathDir(p) {
			break
		} else if !oserror.IsNotExist(err) {
			return err
		}
	}
	if err := d.fs.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	for _, p := range slices.Backward(made) {
		if err := d.syncDir(p); err != nil {
			return err
		}
	}
	return nil
}

// founded says whether Pebble was made there to its end, and what the ledger had reached.
func (d directory) founded() (known mark, founded bool, err error) {
	_, err = d.fs.Stat(d.join(engineDir))
	if err != nil && !oserror.IsNotExist(err) {
		return mark{}, false, err
	}
	founded = err == nil
	known, err = d.readMark()
	switch {
	case oserror.IsNotExist(err) && !founded:
		return mark{}, false, nil
	case oserror.IsNotExist(err):
		return mark{}, false, damaged(fmt.Errorf("its %s file is missing: %w", markFile, errDamaged))
	case err != nil:
		return mark{}, false, err
	case !founded && known.pos > 0:
		return mark{}, false, damaged(fmt.Errorf("its %s directory is missing: %w", engineDir, errDamaged))
	}
	return known, founded, nil
}

func (d directory) readFile(name string) (string, error) {
	f, err := d.fs.Open(d.join(name))
	if err != nil {
		return "", err
	}
	const enough = 4 << 10
	b, err := io.ReadAll(io.LimitReader(f, enough))
	return string(b), errors.Join(err, f.Close())
}

// writeFile replaces a small file, durably: it holds the old text or the new one at any instant.
func (d directory) writeFile(name, text string) error {
	tmp := d.join(name + tmpSuffix)
	f, err := d.fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write([]byte(text))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := d.fs.Rename(tmp, d.join(name)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := d.syncDir(d.path); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (d directory) syncDir(path string) error {
	f, err := d.fs.OpenDir(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, os.ErrInvalid) {
		err = nil // a file system that knows no such sync
	}
	return errors.Join(err, f.Close())
}
