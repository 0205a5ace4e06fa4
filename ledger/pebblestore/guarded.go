package pebblestore

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guarded is the file system as Pebble gets it.
//
// Pebble answers some failures, of its log and of directory syncs, with a panic in whatever goroutine met them, some of
// which nobody can recover; the process would die without a word. Here such a failure fails the store and does not
// return: Pebble never hears of it, and so can't make anything of it.
//
// And a marker never stands without what it names: Pebble makes a new manifest and the marker that names it, and then
// syncs the directory once for both; a loss of power in between may keep either. Here the directory is synced before
// the marker is made as well.
type guarded struct {
	vfs.FS
	hang func(error) // does not return
}

func (g guarded) check(what, name string, err error) {
	if err != nil {
		g.hang(fmt.Errorf("%s %s: %w", what, g.PathBase(name), err))
	}
}

func (g guarded) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	base := g.PathBase(name)
	if strings.HasPrefix(base, "marker.") {
		dir, err := g.FS.OpenDir(g.PathDir(name))
		g.check("open", "the directory of "+base, err)
		g.check("sync", "the directory of "+base, dir.Sync())
		g.check("close", "the directory of "+base, dir.Close())
	}
	f, err := g.FS.Create(name, category)
	if !strings.HasSuffix(base, ".log") {
		return f, err
	}
	g.check("create", name, err)
	return guardedFile{f, g, name}, nil
}

// ReuseForWrite makes a new log of an old one.
func (g guarded) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.ReuseForWrite(from, to, category)
	g.check("reuse", from, err)
	return guardedFile{f, g, to}, nil
}

func (g guarded) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return guardedFile{f, g, name}, nil
}

// Unwrap implements vfs.FS.
func (g guarded) Unwrap() vfs.FS { return g.FS }

// guardedFile is a log that is written, or a directory.
type guardedFile struct {
	vfs.File
	fs   guarded
	name string
}

func (f guardedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.fs.check("write", f.name, err)
	return n, nil
}

func (f guardedFile) Sync() error {
	f.fs.check("sync", f.name, f.File.Sync())
	return nil
}

func (f guardedFile) SyncData() error {
	f.fs.check("sync", f.name, f.File.SyncData())
	return nil
}

func (f guardedFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	f.fs.check("sync", f.name, err)
	return full, nil
}

func (f guardedFile) Close() error {
	f.fs.check("close", f.name, f.File.Close())
	return nil
}
