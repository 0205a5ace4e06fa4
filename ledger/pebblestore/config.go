package pebblestore

import (
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of a Config, in bytes and records.
const (
	DefaultLowWater    = 256 << 20
	DefaultCache       = 64 << 20
	DefaultMemTable    = 32 << 20
	DefaultTailRecords = 32 << 10
	DefaultTailBytes   = 24 << 20
)

// Config says where the store lives and what it may use. Zero values stand for the defaults.
type Config struct {
	// Dir belongs to the store alone. It is created, with mode 0700, if it is absent.
	Dir string
	// FS is the file system; nil: the operating system's.
	FS vfs.FS
	// LowWater is the free space below which Room refuses, in bytes.
	LowWater uint64
	// Metrics registers the store's metrics; nil: they are kept and shown nowhere.
	Metrics prometheus.Registerer
	// Logger gets what Pebble has to say; nil: nobody.
	Logger *slog.Logger
	// Now is the clock of Room and of the metrics; nil: time.Now.
	Now func() time.Time
	// CacheBytes bounds the cache of blocks read, MemTableBytes one of Pebble's few tables of recent writes.
	CacheBytes    int64
	MemTableBytes uint64
	// TailRecords and TailBytes bound the cache of the newest records; the count is rounded up to a power of two.
	TailRecords int
	TailBytes   int64
	// Compactions makes what says when a compaction may run; nil: Pebble's own, which looks every 100 ms. Where days
	// pass in seconds, nothing else takes as much time.
	Compactions func() pebble.CompactionScheduler

	// heads bounds the cache of streams' heads; tests make it small.
	heads int
}

func (c *Config) setDefaults() error {
	if c.Dir == "" {
		return errors.New("pebblestore: no directory is given")
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.LowWater == 0 {
		c.LowWater = DefaultLowWater
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCache
	}
	if c.MemTableBytes == 0 {
		c.MemTableBytes = DefaultMemTable
	}
	if c.TailRecords == 0 {
		c.TailRecords = DefaultTailRecords
	}
	if c.TailBytes == 0 {
		c.TailBytes = DefaultTailBytes
	}
	if c.heads == 0 {
		c.heads = 32 << 10
	}
	return nil
}
