package eventstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// ReadAll implements ledger.Reader. What the tail holds comes from there, what is older from the server.
func (s *Store) ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		fail := func(err error) {
			if errors.Is(err, errTampered) {
				s.fail(err)
				err = s.closedError()
			}
			yield(nil, fmt.Errorf("read from behind position %d: %w", after, err))
		}
		var cur *cursor
		defer func() { s.cursors.park(cur) }()
		end := s.Head()
		for buf := make([]*domain.Record, 0, tailChunk); ; {
			if err := s.usable(ctx); err != nil {
				fail(err)
				return
			}
			if after >= end {
				return
			}
			records, held := s.tail.after(after, buf[:0])
			if held && len(records) == 0 { // it is durable, and the feed has not brought it yet
				if err := s.Wait(ctx, after); err != nil {
					fail(err)
					return
				}
				continue
			}
			if !held {
				if cur == nil {
					cur = s.cursors.take(after, s.cfg.streams)
				}
				var err error
				if records, err = s.older(ctx, cur); err != nil {
					fail(err)
					return
				}
			}
			for _, rec := range records {
				if cur != nil { // one by one: a reader that leaves in the middle comes back for the rest
					if err := cur.pass(rec, held); err != nil {
						fail(err)
						return
					}
				}
				after = rec.Position
				if !yield(rec, nil) {
					return
				}
			}
		}
	}
}

// older reads the next chunk of $all from the server, and moves the cursor. It may hold no record.
func (s *Store) older(ctx context.Context, cur *cursor) ([]*domain.Record, error) {
	events, err := s.chunkBehind(ctx, cur)
	if err != nil {
		return nil, err
	}
	records := make([]*domain.Record, 0, len(events))
	for _, e := range events {
		if name, is := metadataOf(e); is {
			if err := s.checkMetadata(ctx, name, e); err != nil {
				return nil, err
			}
			continue
		}
		if !ours(e.StreamID) {
			continue
		}
		rec, err := decode(e)
		if err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	if len(events) == 0 { // what is durable is not shown yet, as by a leader that is new
		s.pause(ctx, s.cfg.laterPause)
		return nil, nil
	}
	last := events[len(events)-1]
	cur.at = mark{positionOf(last.Position.Commit), ulid.ULID(last.EventID)}
	return records, nil
}

// chunkBehind reads the events behind the cursor. From a position that is no event's a server reads nothing, so it
// reads from the event at the cursor on, which must still be the same, and leaves it out.
func (s *Store) chunkBehind(ctx context.Context, cur *cursor) ([]*esdb.RecordedEvent, error) {
	if cur.at.pos == 0 {
		return s.allFrom(ctx, esdb.Start{})
	}
	events, err := s.allFrom(ctx, logPosition(cur.at.pos))
	if err != nil && fateOf(err) != noPosition {
		return nil, err
	}
	there := err == nil && len(events) > 0 && positionOf(events[0].Position.Commit) == cur.at.pos
	switch zero := (ulid.ULID{}); {
	case there && (cur.at.id == zero || cur.at.id == ulid.ULID(events[0].EventID)):
		return events[1:], nil
	case cur.at != cur.yielded: // it was no record of ours: others' may be scavenged
		cur.at = cur.yielded
		return s.chunkBehind(ctx, cur)
	case cur.at.id != zero:
		return nil, tampered(fmt.Sprintf("event %s does not stand at position %d any more", cur.at.id, cur.at.pos), restore)
	}
	// The position may be the one right below an event's.
	events, err = s.allFrom(ctx, logPosition(cur.at.pos+1))
	if err == nil && len(events) > 0 && positionOf(events[0].Position.Commit) == cur.at.pos+1 {
		return events, nil
	}
	if err != nil && fateOf(err) != noPosition {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ledger.ErrPosition, domain.Refuse(domain.KindInvalid, "unknown_position",
		fmt.Sprintf("no record stands at position %d, or not any more", cur.at.pos), "take the position from a record"))
}

func (s *Store) allFrom(ctx context.Context, from esdb.AllPosition) (events []*esdb.RecordedEvent, err error) {
	options := esdb.ReadAllOptions{Direction: esdb.Forwards, From: from}
	err = s.persist(ctx, 0, func() (err error) {
		events, _, err = s.fetch(ctx, s.cfg.chunk, func(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
			return c.ReadAll(ctx, options, uint64(s.cfg.chunk))
		})
		return err
	})
	return events, err
}

// cursor is where a reader of older records stands.
type cursor struct {
	at      mark // the last event that was read, of whatever stream; its id is zero where only the position is known
	yielded mark // the last record that the reader took
	seen    *continuity
}

// pass notes that the reader takes the record. One that the tail holds takes the cursor along: the reader may fall
// behind the tail again.
func (c *cursor) pass(rec *domain.Record, held bool) error {
	if err := c.seen.check(rec); err != nil {
		return err
	}
	c.yielded = mark{rec.Position, rec.ID}
	if held {
		c.at = c.yielded
	}
	return nil
}

// cursors keep where readers stopped, for those that go on from there: they know which event stood there, and to which
// revision each stream had come.
type cursors struct {
	mu     sync.Mutex
	parked []*cursor // guarded by mu; the oldest first
}

const maxParked = 8

// take gives the cursor that was left behind at the position, or a new one.
func (c *cursors) take(after domain.Position, streams int) *cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.parked {
		if p.yielded.pos == after {
			c.parked = append(c.parked[:i], c.parked[i+1:]...)
			return p
		}
	}
	return &cursor{at: mark{pos: after}, yielded: mark{pos: after}, seen: newContinuity(streams, after == 0)}
}

// park keeps the cursor of a reader that stopped.
func (c *cursors) park(cur *cursor) {
	if cur == nil {
		return
	}
	cur.at = cur.yielded
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.parked) == maxParked {
		c.parked = append(c.parked[:0], c.parked[1:]...)
	}
	c.parked = append(c.parked, cur)
}
