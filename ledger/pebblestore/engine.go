package pebblestore

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// format is the version of Pebble's own files that this binary writes.
const format = pebble.FormatTableFormatV6

// filterBits of a bloom filter for each key: each append to a new stream asks all tables for it, and one in a thousand
// then reads a block for nothing.
const filterBits = 14

// engine gives Pebble's options: bounded memory, few compactions, for values that are appended and never changed.
func (s *Store) engine() *pebble.Options {
	o := &pebble.Options{
		FS:                          guarded{s.cfg.FS, s.hang},
		Cache:                       s.cache,
		ErrorIfNotExists:            true,
		Logger:                      logger{s},
		FormatMajorVersion:          format,
		MemTableSize:                s.cfg.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       8,
		L0StopWritesThreshold:       1000,
		LBaseMaxBytes:               256 << 20,
		MaxOpenFiles:                512,
		DisableTableStats:           true, // they only serve deletions
		EventListener: &pebble.EventListener{
			BackgroundError: s.backgroundError,
			FlushEnd:        s.flushed,
			// Who reads damaged data gets the error; the default would end the process.
			DataCorruption: func(info pebble.DataCorruptionInfo) { s.metrics.damage.Inc() },
			WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
				s.cfg.Logger.Warn("appends wait for compactions", "reason", info.Reason)
			},
		},
	}
	if s.cfg.Compactions != nil {
		o.Experimental.CompactionScheduler = s.cfg.Compactions()
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	// Records only ever get higher positions. In tables of their own they are moved from level to level; together with
	// the index entries, which have no such order, they would be written anew each time.
	o.Experimental.SpanPolicyFunc = func(start []byte) (pebble.SpanPolicy, []byte, error) {
		if len(start) == 0 || start[0] < kindStream {
			return pebble.SpanPolicy{}, []byte{kindStream}, nil
		}
		return pebble.SpanPolicy{}, nil, nil
	}
	o.TargetFileSizes[0] = 8 << 20
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(filterBits)
		o.Levels[i].BlockSize = 32 << 10
	}
	return o
}

// backgroundError hears of a failed compaction, in Pebble's own goroutine. A full disk only means that there is no
// room: Pebble tries again, and nothing is lost. Anything else is the store's end: goroutines that repeat what failed
// could make it worse.
func (s *Store) backgroundError(err error) {
	if errors.Is(err, syscall.ENOSPC) {
		s.disk.filled()
		return
	}
	s.halt(err)
}

// flushed hears of the end of each flush, in Pebble's own goroutine. What is flushed stands no longer in the log, so
// the mark file is moved on.
func (s *Store) flushed(info pebble.FlushInfo) {
	// A flush of nothing ends in an error, which Pebble does not export and does not mind.
	if info.Err != nil && !strings.HasSuffix(info.Err.Error(), "empty table") {
		s.halt(fmt.Errorf("flush: %w", info.Err))
	}
	s.keeper.kick()
}

// halt fails the store and ends the calling goroutine, which is Pebble's: it can't go on, and returning would make it
// try again. Pebble can't be closed after that.
func (s *Store) halt(err error) {
	s.failure.abandon(fmt.Errorf("pebblestore: %w", err))
	runtime.Goexit()
}

// hang fails the store and does not return, where ending the goroutine would unlock what is not locked.
func (s *Store) hang(err error) {
	s.failure.abandon(fmt.Errorf("pebblestore: %w", err))
	select {}
}

// logger is what Pebble logs to. Fatalf must not return and, by default, ends the process; here it fails the store.
type logger struct{ s *Store }

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.s.cfg.Logger.Error(fmt.Sprintf(format, args...), slog.String("component", "pebble"))
}

func (l logger) Fatalf(format string, args ...any) { l.s.halt(fmt.Errorf(format, args...)) }

// guard runs what calls Pebble and may end in a panic, in Fatalf, or hang because one of Pebble's goroutines ended in
// it.
func (s *Store) guard(what string, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		returned := false
		defer func() {
			if !returned {
				s.failure.abandon(fmt.Errorf("pebblestore: %s: %w", what, cause(recover(), s.failure.get())))
			}
		}()
		err := fn()
		returned = true
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-s.failure.wedged:
		return s.failure.get()
	}
}
