package pebblestore

import (
	"fmt"
	"hash/crc32"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// mark is a place that the ledger has reached durably, kept in a file of its own. Pebble takes a damaged end of its
// manifest, or of its log, for one that was being written at a crash; the mark tells the two apart: a ledger that ends
// before it has lost records. It is moved on after each flush and on Close.
type mark struct {
	pos domain.Position
	id  ulid.ULID // of the record there; zero on an empty ledger
}

const markText = "%d %s %08x\n"

func (m mark) sum() uint32 {
	return crc32.Checksum(fmt.Appendf(nil, "%d %s", m.pos, m.id), crc32.MakeTable(crc32.Castagnoli))
}

func (m mark) String() string { return fmt.Sprintf(markText, m.pos, m.id, m.sum()) }

// check looks whether the record at the mark is there, in a ledger that ends at last.
func (m mark) check(s *Store, last domain.Position) error {
	if m.pos == 0 {
		return nil
	}
	if m.pos > last {
		return fmt.Errorf("it ends at position %d and had reached %d: %w", last, m.pos, errDamaged)
	}
	records, err := s.readChunk(m.pos, m.pos)
	if err != nil {
		return err
	}
	if records[0].ID != m.id {
		return fmt.Errorf("position %d holds record %s, it had held %s: %w", m.pos, records[0].ID, m.id, errDamaged)
	}
	return nil
}

// readMark reads the mark file; there is none is oserror.ErrNotExist.
func (d directory) readMark() (m mark, err error) {
	text, err := d.readFile(markFile)
	if err != nil {
		return mark{}, fmt.Errorf("read %s: %w", markFile, err)
	}
	var id string
	var sum uint32
	if n, _ := fmt.Sscanf(text, markText, &m.pos, &id, &sum); n == 3 {
		m.id, err = ulid.ParseStrict(id)
	}
	if err != nil || m.String() != text {
		return mark{}, damaged(fmt.Errorf("its %s file can't be read: %w", markFile, errDamaged))
	}
	return m, nil
}

func (d directory) writeMark(m mark) error { return d.writeFile(markFile, m.String()) }

// keeper moves the mark file on when it is kicked.
type keeper struct {
	kicks   chan struct{} // cap 1
	quit    chan struct{}
	stopped chan struct{}
}

func newKeeper() keeper {
	return keeper{kicks: make(chan struct{}, 1), quit: make(chan struct{}), stopped: make(chan struct{})}
}

func (k *keeper) kick() {
	select {
	case k.kicks <- struct{}{}:
	default:
	}
}

// stop ends the keeper and waits for it, but not once Pebble is wedged: a read could hang.
func (k *keeper) stop(wedged <-chan struct{}) {
	close(k.quit)
	select {
	case <-k.stopped:
	case <-wedged:
	}
}

func (s *Store) keep(d directory) {
	defer close(s.keeper.stopped)
	for {
		select {
		case <-s.keeper.quit:
			return
		case <-s.keeper.kicks:
			if err := s.keepMark(d); err != nil {
				s.failure.set(fmt.Errorf("pebblestore: %w", err))
			}
		}
	}
}

// keepMark writes the durable mark to the mark file.
func (s *Store) keepMark(d directory) error {
	pos := s.Head()
	if pos == 0 || s.failure.get() != nil {
		return nil
	}
	rec := s.tail.get(pos)
	if rec == nil {
		records, err := s.readChunk(pos, pos)
		if err != nil {
			return err
		}
		rec = records[0]
	}
	return d.writeMark(mark{pos: pos, id: rec.ID})
}
