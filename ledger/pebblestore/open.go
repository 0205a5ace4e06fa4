package pebblestore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"hookledger/domain"
)

// Open opens the store in cfg.Dir, or begins an empty one there. It refuses a directory that another process has open,
// that holds something else, that a newer hookledger wrote (ledger.ErrNewerFormat) or that is damaged, and then has
// changed nothing in it.
func Open(cfg Config) (_ *Store, err error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, wake: make(chan struct{}, 1), depth: make(chan struct{}, maxDepth),
		groups: make(chan *group, maxDepth), synced: make(chan struct{}), ended: make(chan struct{}),
		failure: failure{failed: make(chan struct{}), wedged: make(chan struct{})}, keeper: newKeeper(),
		disk: NewDisk(cfg.FS, cfg.Dir, cfg.LowWater, cfg.Now),
	}
	if s.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("pebblestore: %w", err)
	}
	d := directory{fs: cfg.FS, path: cfg.Dir}
	if s.lock, err = d.prepare(); err != nil {
		return nil, err
	}
	// Pebble takes the memory of its tables of recent writes off the cache: with one that is filled and one that is
	// written out there would be nothing left, and each look for a stream would read the tables' indexes from the disk.
	s.cache = pebble.NewCache(cfg.CacheBytes + 2*int64(cfg.MemTableBytes))
	if err := s.start(d); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ledger in %s: %w", cfg.Dir, err), s.release())
	}
	return s, nil
}

// start opens Pebble and starts the store's goroutines.
func (s *Store) start(d directory) error {
	known, founded, err := d.founded()
	if err != nil {
		return err
	}
	if founded {
		err = s.inspect(d, known)
	} else {
		err = s.found(d)
	}
	if err != nil {
		return err
	}
	if err := s.openPebble(d.join(engineDir), s.engine()); err != nil {
		return err
	}
	last, err := s.lastRecord()
	if err == nil {
		err = known.check(s, last.pos)
	}
	if err != nil {
		return errors.Join(damaged(err), s.guard("close", s.db.Close))
	}
	s.next = last.pos + 1
	s.heads = newHeads(s.cfg.heads, last.pos)
	s.tail = newTail(s.cfg.TailRecords, s.cfg.TailBytes, s.next)
	s.applied.Store(uint64(last.pos))
	s.durable.Store(uint64(last.pos))
	s.metrics.position.Set(float64(last.pos))
	go s.commit()
	go s.sync()
	go s.keep(d)
	return nil
}

// found makes an empty Pebble. It is made aside and renamed when it is whole, because Pebble does not take up again
// what a crash left half made.
func (s *Store) found(d directory) error {
	aside := d.join(engineDir + tmpSuffix)
	if err := d.fs.RemoveAll(aside); err != nil {
		return err
	}
	o := s.engine()
	o.ErrorIfExists, o.ErrorIfNotExists = true, false
	if err := s.openPebble(aside, o); err != nil {
		return err
	}
	if err := s.guard("close", s.db.Close); err != nil {
		return err
	}
	if err := d.writeMark(mark{}); err != nil {
		return err
	}
	if err := d.fs.Rename(aside, d.join(engineDir)); err != nil {
		return err
	}
	return d.syncDir(d.path)
}

func (s *Store) openPebble(dir string, o *pebble.Options) error {
	err := s.guard("open", func() (err error) {
		s.db, err = pebble.Open(dir, o)
		return err
	})
	return damaged(err)
}

// inspect opens Pebble for reading only, which changes nothing, and looks whether the records up to the mark are there.
// It reads the first chunk, too: no reader gets past damage there.
func (s *Store) inspect(d directory, known mark) error {
	o := s.engine()
	o.ReadOnly = true
	if err := s.openPebble(d.join(engineDir), o); err != nil {
		return err
	}
	last, err := s.lastRecord()
	if err == nil {
		err = known.check(s, last.pos)
	}
	if err == nil {
		err = s.checkTables()
	}
	if err == nil && last.pos > 0 {
		_, err = s.readChunk(1, last.pos)
	}
	return damaged(errors.Join(err, s.guard("close", s.db.Close)))
}

// checkTables looks for the first and the last key of each of Pebble's tables, which nothing ever deletes. A table
// whose file is another's, of the same size, has them not: Pebble does not see that, and would show less than there is.
func (s *Store) checkTables() error {
	levels, err := s.db.SSTables()
	if err != nil {
		return err
	}
	for _, tables := range levels {
		for _, t := range tables {
			for _, key := range [][]byte{t.Smallest.UserKey, t.Largest.UserKey} {
				_, closer, err := s.db.Get(key)
				if errors.Is(err, pebble.ErrNotFound) {
					return fmt.Errorf("table %s lacks its key %x: %w", t.FileNum, key, errDamaged)
				}
				if err != nil {
					return err
				}
				if err := closer.Close(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// lastRecord finds the end of the ledger.
func (s *Store) lastRecord() (at head, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindRecords}, UpperBound: []byte{kindRecords + 1}})
	if err != nil {
		return head{}, err
	}
	defer func() { err = closeIter(it, err) }()
	if !it.Last() {
		return head{}, it.Error()
	}
	first, err := recordsPosition(it.Key())
	if err != nil {
		return head{}, err
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return head{}, err
	}
	records, err := readValue(nil, value, first, first)
	if err != nil {
		return head{}, err
	}
	last := records[len(records)-1]
	return head{rev: last.Revision, pos: last.Position}, nil
}

const codeDamaged = "ledger_damaged"

// damaged puts what Pebble says about damage, once, into words that name the fix.
func damaged(err error) error {
	if err == nil || domain.Code(err) == codeDamaged || !pebble.IsCorruptionError(err) && !errors.Is(err, errDamaged) &&
		!errors.Is(err, pebble.ErrDBDoesNotExist) && !errors.Is(err, pebble.ErrDBNotPristine) {
		return err
	}
	return fmt.Errorf("%w: %w", domain.Refuse(domain.KindUnavailable, codeDamaged, "the ledger is damaged",
		"keep the directory as it is and restore a backup"), firstLine{err})
}

// firstLine is an error of Pebble's without the lines that are for Pebble's developers.
type firstLine struct{ error }

func (f firstLine) Error() string {
	line, _, _ := strings.Cut(f.error.Error(), "\n")
	return line
}

func (f firstLine) Unwrap() error { return f.error }

// Close implements ledger.Store.
func (s *Store) Close() error {
	var err error
	s.closeOne.Do(func() { err = s.close() })
	return err
}

func (s *Store) close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.nudge()
	select {
	case <-s.synced:
	case <-s.failure.wedged:
	}
	s.keeper.stop(s.failure.wedged)
	err := s.settle()
	close(s.ended)
	if !s.wedged() {
		s.reading.Lock()
		s.closed = true
		s.reading.Unlock()
		err = errors.Join(err, s.guard("close", s.db.Close), s.release())
	}
	if failed := s.failure.get(); failed != nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("close the ledger in %s: %w", s.cfg.Dir, err)
	}
	return nil
}

// settle leaves nothing to Pebble's log, of which nobody can tell a lost end from one that was never written, and moves
// the mark file to the end.
func (s *Store) settle() error {
	if s.failure.get() != nil {
		return nil
	}
	if err := s.guard("flush", s.db.Flush); err != nil {
		return err
	}
	return s.keepMark(directory{fs: s.cfg.FS, path: s.cfg.Dir})
}

// wedged says that Pebble can't be closed any more.
func (s *Store) wedged() bool {
	select {
	case <-s.failure.wedged:
		return true
	default:
		return false
	}
}

// release gives back what was taken before Pebble was opened. A wedged store keeps it, the lock above all, until the
// process ends: Pebble's goroutines may still write.
func (s *Store) release() error {
	if s.wedged() {
		return nil
	}
	s.cache.Unref()
	return s.lock.Close()
}
