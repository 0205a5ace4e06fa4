package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
	"hookledger/ledger/pebblestore"
)

// elsewhere is a ledger in EventStoreDB, with the data directory that its vault and its read models stand in.
type elsewhere struct {
	nodeStore
	disk *disk
	lock io.Closer
}

// Room implements nodeStore: the server must take events, and the disk here their keys.
func (e *elsewhere) Room() error {
	if err := e.nodeStore.Room(); err != nil {
		return err
	}
	return e.disk.room()
}

func (e *elsewhere) Close() error { return errors.Join(e.nodeStore.Close(), e.lock.Close()) }

func openEventstore(ctx context.Context, dataDir string, c storeConfig) (nodeStore, error) {
	lock, err := lockHome(dataDir)
	if err != nil {
		return nil, err
	}
	store, err := dialEventstore(ctx, c)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &elsewhere{nodeStore: store, disk: newDisk(dataDir, c.LowWater), lock: lock}, nil
}

// dialEventstore connects to EventStoreDB.
func dialEventstore(context.Context, storeConfig) (nodeStore, error) {
	return nil, errors.New("this hookledger can't connect to EventStoreDB yet")
}

// disk is the file system of a data directory, looked at no more than once a second.
type disk struct {
	dir string
	low uint64 // free bytes that must be there

	mu      sync.Mutex
	at      time.Time // guarded by mu
	refusal error     // guarded by mu
}

func newDisk(dir string, low uint64) *disk {
	if low == 0 {
		low = pebblestore.DefaultLowWater
	}
	return &disk{dir: dir, low: low}
}

func (d *disk) room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if age := time.Since(d.at); age >= time.Second {
		d.at, d.refusal = time.Now(), d.look()
	}
	return d.refusal
}

func (d *disk) look() error {
	usage, err := vfs.Default.GetDiskUsage(d.dir)
	switch {
	case errors.Is(err, vfs.ErrUnsupported):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", domain.Refuse(domain.KindUnavailable, "disk_unknown",
			"the free space of "+d.dir+" can't be told", "check the file system that it stands on"), err)
	case usage.AvailBytes < d.low:
		return domain.Refuse(domain.KindNoRoom, "no_room",
			fmt.Sprintf("%d MiB are free in %s, %d MiB must be", usage.AvailBytes>>20, d.dir, d.low>>20),
			"free some disk space; intake resumes by itself")
	}
	return nil
}
