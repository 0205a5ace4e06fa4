package pebblestore

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"

	"github.com/cockroachdb/pebble/v2"

	"hookledger/domain"
)

// maxDepth is how many groups may be applied and not yet synced: one syncs, one is written behind it, and while both
// are under way the next one fills.
const maxDepth = 2

// Bounds of a group.
const (
	maxGroup      = 1024
	maxGroupBytes = 4 << 20
)

// group is a number of appends that are committed together.
type group struct {
	batch *pebble.Batch
	won   []*request
	last  domain.Position
}

// commit is the committer: it takes what is pending, puts it in order and hands it to Pebble, until the store closes or
// fails.
func (s *Store) commit() {
	defer close(s.groups)
	var queue []*request
	for {
		select {
		case s.depth <- struct{}{}:
		case <-s.failure.failed:
			return
		}
		var ok bool
		if queue, ok = s.take(queue); !ok {
			return
		}
		g, rest := s.sequence(queue)
		queue = queue[:copy(queue, rest)]
		if len(g.won) == 0 {
			s.discard(g)
			<-s.depth
			continue
		}
		if !s.apply(g) {
			return
		}
		s.groups <- g // has room for maxDepth
	}
}

// take adds what is pending to the queue; it waits while that is empty. It is false when the store has failed, or is
// closing and nothing is left.
func (s *Store) take(queue []*request) ([]*request, bool) {
	for {
		if s.failure.get() != nil {
			return queue, false
		}
		s.mu.Lock()
		queue = append(queue, s.pending...)
		clear(s.pending)
		s.pending = s.pending[:0]
		closing := s.closing
		s.mu.Unlock()
		if len(queue) > 0 {
			return queue, true
		}
		if closing {
			return queue, false
		}
		select {
		case <-s.wake:
		case <-s.failure.failed:
		}
	}
}

// sequence makes a group of the queue's first requests and gives the rest. It checks each one's expected revision,
// gives it the next positions and answers those that lost.
func (s *Store) sequence(queue []*request) (*group, []*request) {
	g := &group{batch: s.db.NewBatch(), won: make([]*request, 0, min(len(queue), maxGroup))}
	bytes := 0
	for i, r := range queue {
		if i >= maxGroup || bytes > maxGroupBytes {
			return g, queue[i:]
		}
		at, known := s.heads.find(r.stream, r.looked)
		if !known {
			r.topless = !s.heads.knows(r.stream)
			r.answer(unlooked, head{})
			continue
		}
		if at.rev != r.expected {
			r.answer(lost, at)
			continue
		}
		s.place(g, r)
		bytes += len(r.value)
	}
	return g, nil
}

// place writes a request into the group's batch, at the end of the ledger.
func (s *Store) place(g *group, r *request) {
	at := span{rev: r.expected + 1, pos: s.next, count: len(r.records)}
	for i := range r.records {
		r.records[i].Position = at.pos + domain.Position(i)
	}
	s.next = at.lastPos() + 1

	records := g.batch.SetDeferred(1+8, len(r.value))
	appendRecordsKey(records.Key[:0], at.pos)
	copy(records.Value, r.value)
	_ = records.Finish() // fails only on an indexed batch

	var value [2 * binary.MaxVarintLen64]byte
	entry := appendSpan(value[:0], at)
	size := 1 + len(r.stream)
	if at.rev != 0 {
		size += 1 + 8
	}
	index := g.batch.SetDeferred(size, len(entry))
	appendSpanKey(index.Key[:0], r.stream, at.rev)
	copy(index.Value, entry)
	_ = index.Finish()

	r.last = head{rev: at.lastRev(), pos: at.lastPos()}
	s.heads.put(r.stream, r.last)
	s.tail.put(r.records, r.size)
	g.won = append(g.won, r)
	g.last = at.lastPos()
}

// apply writes the group to Pebble's log and tables, without waiting for the sync. A panic, or a Fatalf of Pebble's,
// which ends the goroutine, is the store's end.
func (s *Store) apply(g *group) (ok bool) {
	defer func() {
		if !ok {
			s.failure.abandon(fmt.Errorf("pebblestore: commit: %w", cause(recover(), s.failure.get())))
		}
	}()
	if err := s.db.ApplyNoSyncWait(g.batch, pebble.Sync); err != nil {
		panic(err)
	}
	s.applied.Store(uint64(g.last))
	s.metrics.group.Observe(float64(len(g.won)))
	return true
}

// cause makes an error of what was recovered.
func cause(recovered any, before error) error {
	switch r := recovered.(type) {
	case nil:
		if before != nil {
			return before
		}
		return fmt.Errorf("pebble ended the goroutine")
	case error:
		return r
	default:
		return fmt.Errorf("%v\n%s", r, debug.Stack())
	}
}

// sync is the syncer: it waits for each group's sync, moves the durable mark and answers. The first failed sync is the
// store's end: what came after it is not answered, whatever its own sync said.
func (s *Store) sync() {
	defer close(s.synced)
	for g := range s.groups {
		if err := g.batch.SyncWait(); err != nil {
			s.failure.set(fmt.Errorf("pebblestore: sync: %w", err))
		}
		if s.failure.get() != nil {
			continue
		}
		s.durable.Store(uint64(g.last))
		<-s.depth
		s.moved.Fire()
		for _, r := range g.won {
			r.answer(appended, r.last)
		}
		s.metrics.position.Set(float64(g.last))
		s.discard(g)
	}
}

// discard gives the batch's memory back to Pebble.
func (s *Store) discard(g *group) {
	_ = g.batch.Close() // only gives memory back
}
