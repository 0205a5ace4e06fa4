package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/domain"
	"hookledger/ledger"
)

// chunkBytes bounds what is read from the server at once; no call outlives a chunk, so that a slow reader holds none.
const chunkBytes = 4 << 20

// tailChunk is how many records a reader takes from the tail at once.
const tailChunk = 128

// opening starts a read of the client's.
type opening func(context.Context, *esdb.Client) (*esdb.ReadStream, error)

// fetch reads events once: up to count, or fewer if they are large. more says that there may be others behind them.
func (s *Store) fetch(ctx context.Context, count int, open opening) (events []*esdb.RecordedEvent, more bool,
	err error) {
	c, err := s.reads.acquire(ctx, s.cfg.patience)
	if err != nil {
		return nil, false, err
	}
	reading, cancel := context.WithTimeout(leader(ctx), readTime*s.cfg.deadline)
	defer cancel()
	type page struct {
		events []*esdb.RecordedEvent
		more   bool
	}
	got, err, _ := call(ctx, s.reads, c, func(client *esdb.Client) (page, error) {
		events, more, err := drain(reading, client, count, open)
		if ctx.Err() != nil { // then the connection is not to blame
			err = ctx.Err()
		}
		return page{events, more}, err
	})
	return got.events, got.more, err
}

// readTime is how many times the deadline of an append a chunk may take.
const readTime = 3

func drain(ctx context.Context, client *esdb.Client, count int, open opening) ([]*esdb.RecordedEvent, bool, error) {
	stream, err := open(ctx, client)
	if err != nil {
		return nil, false, err
	}
	defer stream.Close()
	var events []*esdb.RecordedEvent
	for bytes := 0; len(events) < count; {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return events, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		got := e.OriginalEvent()
		events = append(events, got)
		if bytes += weight(got); bytes > chunkBytes {
			break
		}
	}
	return events, true, nil
}

// persist repeats a read until it is answered: for so long, or, if that is 0, as long as ctx lives. Its errors are
// those of a store.
func (s *Store) persist(ctx context.Context, patience time.Duration, read func() error) error {
	begun := time.Now()
	for longest := s.cfg.firstPause; ; longest = min(2*longest, s.cfg.laterPause) {
		err := read()
		if err == nil {
			return nil
		}
		if e := s.usable(ctx); e != nil {
			return e
		}
		switch fateOf(err) {
		case absent, noPosition, deleted:
			return err
		}
		if over := patience > 0 && time.Since(begun) >= patience; over || !s.pause(ctx, longest) {
			if e := s.usable(ctx); e != nil {
				return e
			}
			return fmt.Errorf("%w: %w", ledger.ErrUnavailable, s.dialer.diagnose(err))
		}
	}
}

// lastRevision is where the stream ends: NoStream if there is none.
func (s *Store) lastRevision(ctx context.Context, stream domain.Stream) (domain.Revision, error) {
	last, err := s.lastOf(ctx, string(stream))
	if err != nil || last == nil {
		return domain.NoStream, err
	}
	return domain.Revision(last.EventNumber), nil
}

// lastOf is the stream's last event; nil if there is none.
func (s *Store) lastOf(ctx context.Context, stream string) (*esdb.RecordedEvent, error) {
	var events []*esdb.RecordedEvent
	err := s.persist(ctx, s.cfg.patience, func() (err error) {
		events, _, err = s.fetch(ctx, 1, lastEvent(stream))
		return err
	})
	switch {
	case fateOf(err) == absent:
		return nil, nil
	case err != nil:
		return nil, err
	case len(events) == 0:
		return nil, nil
	}
	return events[0], nil
}

// ReadStream implements ledger.Reader.
func (s *Store) ReadStream(ctx context.Context, stream domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		fail := func(err error) {
			if errors.Is(err, errTampered) {
				s.fail(err)
				err = s.closedError()
			}
			yield(nil, fmt.Errorf("read %s: %w", stream, err))
		}
		next := max(from, 0)
		for more := true; more; {
			if err := s.usable(ctx); err != nil {
				fail(err)
				return
			}
			var events []*esdb.RecordedEvent
			err := s.persist(ctx, s.cfg.patience, func() (err error) {
				events, more, err = s.fetch(ctx, s.cfg.chunk, forwards(stream, next, s.cfg.chunk))
				return err
			})
			switch fateOf(err) {
			case absent:
				return
			case deleted:
				err = tampered("the stream "+string(stream)+" was deleted", restore)
			}
			if err != nil {
				fail(err)
				return
			}
			for _, e := range events {
				rec, err := decode(e)
				if err == nil && rec.Revision != next {
					err = tampered(fmt.Sprintf("%s begins with revision %d where revision %d is due: what stood before was deleted",
						stream, rec.Revision, next), restore)
				}
				if err != nil {
					fail(err)
					return
				}
				if !yield(rec, nil) {
					return
				}
				next++
			}
		}
	}
}

func lastEvent(stream string) opening {
	return func(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
		return c.ReadStream(ctx, stream, esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1)
	}
}

func forwards(stream domain.Stream, from domain.Revision, count int) opening {
	options := esdb.ReadStreamOptions{Direction: esdb.Forwards, From: esdb.Revision(uint64(from))}
	return func(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
		return c.ReadStream(ctx, string(stream), options, uint64(count))
	}
}
