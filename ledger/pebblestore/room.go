package pebblestore

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

// roomFor is how long a look at the disk stands.
const roomFor = time.Second

// Disk is the file system that a directory stands on. It is looked at no more than once a second, and is safe for
// concurrent use.
type Disk struct {
	fs  vfs.FS
	dir string
	low uint64
	now func() time.Time

	mu      sync.Mutex
	at      time.Time // guarded by mu, as all below
	refusal error
	space   Space
	full    bool // Pebble met the end of the disk since then
}

// Space is what a disk had free at the last look, and what must be, in bytes. Where Known is false, the file system
// does not say.
type Space struct {
	Free, LowWater uint64
	Known          bool
}

// NewDisk takes the directory and the free bytes that must be there.
func NewDisk(fs vfs.FS, dir string, low uint64, now func() time.Time) *Disk {
	return &Disk{fs: fs, dir: dir, low: low, now: now}
}

// Room says whether there is room for more events and attempts: nil above the low-water mark of free disk space, else a
// *domain.Error of KindNoRoom. Its own text is for anybody; that of the whole error names the directory and what is
// free, and is for the log.
func (d *Disk) Room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	return d.refusal
}

// Space is what the disk has free.
func (d *Disk) Space() Space {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	return d.space
}

// filled says that the disk was full just now.
func (d *Disk) filled() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = true
}

func (d *Disk) look() {
	now := d.now()
	if age := now.Sub(d.at); !d.full && !d.at.IsZero() && age >= 0 && age < roomFor {
		return
	}
	d.at, d.full, d.refusal, d.space = now, false, nil, Space{LowWater: d.low}
	usage, err := d.fs.GetDiskUsage(d.dir)
	switch {
	case errors.Is(err, vfs.ErrUnsupported):
		return
	case err != nil:
		d.refusal = fmt.Errorf("%w (%s: %w)", domain.Refuse(domain.KindUnavailable, "disk_unknown",
			"it can't be told how much disk space is free, and nothing is taken meanwhile",
			"repeat the request later; the server's log says more"), d.dir, err)
		return
	}
	if d.space.Free, d.space.Known = usage.AvailBytes, true; usage.AvailBytes < d.low {
		const mib = 1 << 20
		d.refusal = fmt.Errorf("%w (%d MiB are free in %s, %d MiB must be)", errNoRoom, usage.AvailBytes/mib, d.dir,
			d.low/mib)
	}
}

// errNoRoom says nothing of whose disk it is: each producer gets it.
var errNoRoom = domain.Refuse(domain.KindNoRoom, "no_room", "the server's disk is nearly full, and nothing is taken",
	"repeat the request later; whoever runs the server frees some disk space, and intake resumes by itself")

// Room is that of the ledger's disk. Appends themselves are not refused: what is left below the mark is for the
// outcomes of what is under way.
func (s *Store) Room() error { return s.disk.Room() }

// Space is what the ledger's disk has free.
func (s *Store) Space() Space { return s.disk.Space() }
