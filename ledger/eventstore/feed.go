package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/oklog/ulid/v2"

	"hookledger/ledger"
)

// Reasons for which the subscription is made anew.
const (
	dropped = "dropped" // by the server, as one that is too slow, or because its connection or node went
	silent  = "silent"  // nothing came for so long that it may be dead
	refused = "refused" // it could not be made
)

// window is after how many events of others the server says where it is. That is a sign of life, and no more: one can't
// read from there.
const window = 512

// feed is the one live subscription: from the last record that the tail has got it brings all that follow, for as long
// as the store is open. That the server ends it is no error but a turn of the loop.
func (s *Store) feed(ctx context.Context, seen *continuity) {
	const certain = 3 // times in a row that the tail's last record is not found, before that is believed
	gone := 0
	for longest := s.cfg.firstPause; ctx.Err() == nil; {
		before := s.tail.end()
		why, err := s.subscribe(ctx, seen)
		if ctx.Err() != nil {
			return
		}
		if gone++; !errors.Is(err, errGone) {
			gone = 0
		}
		if errors.Is(err, errTampered) && (gone == 0 || gone == certain) {
			s.fail(err)
			return
		}
		s.metrics.resubscribed.WithLabelValues(why).Inc()
		s.log.Debug("the subscription is made anew", "reason", why, "behind", before.pos, "error", err)
		if s.tail.end() != before || why == silent { // one that gives nothing and is dropped is asked for less and less
			longest = s.cfg.firstPause
			continue
		}
		if !ledger.Pause(ctx, longest) {
			return
		}
		longest = min(2*longest, s.cfg.laterPause)
	}
}

// subscribe makes the subscription and takes what it gives until it ends.
func (s *Store) subscribe(ctx context.Context, seen *continuity) (why string, err error) {
	c, err := s.subs.acquire(ctx, 0)
	if err != nil {
		return refused, err
	}
	why, err, _ = call(ctx, s.subs, c, func(client *esdb.Client) (string, error) { return s.consume(ctx, client, seen) })
	return why, err
}

// errUnanswered: the server did not answer in time. errLagging: it answers, and the subscription gives nothing.
var (
	errUnanswered = errors.New("the server did not answer in time")
	errLagging    = errors.New("the subscription does not give what is known to be there")
	errIdle       = errors.New("the subscription said nothing for a while")
	errGone       = errors.New("the last record that was seen is gone")
)

func (s *Store) consume(ctx context.Context, client *esdb.Client, seen *continuity) (why string, err error) {
	ctx, cancel := context.WithCancel(leader(ctx))
	defer cancel()
	sub, err := s.resume(ctx, cancel, client)
	if err != nil {
		return refused, err
	}
	w := watch{s: s, sub: sub, ended: make(chan struct{})}
	w.alive()
	go w.run(ctx)
	defer func() { <-w.ended }()
	defer cancel()
	for {
		e := sub.Recv()
		w.alive()
		switch {
		case e.EventAppeared != nil:
			if err := s.take(ctx, e.EventAppeared.OriginalEvent(), seen); err != nil {
				return dropped, err
			}
		case e.SubscriptionDropped != nil:
			if err := w.verdict.Load(); err != nil {
				return silent, *err
			}
			return dropped, e.SubscriptionDropped.Error
		}
	}
}

// resume subscribes behind the tail's last record, once it has seen that this still stands where it stood. cancel ends
// the subscription's context.
func (s *Store) resume(ctx context.Context, cancel context.CancelFunc, client *esdb.Client) (*esdb.Subscription,
	error) {
	timeout := time.AfterFunc(s.cfg.deadline, cancel)
	at := s.tail.end()
	options := esdb.SubscribeToAllOptions{From: esdb.Start{}, MaxSearchWindow: window, CheckpointInterval: 1,
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: prefixes}}
	err := s.stillThere(ctx, client, at)
	var sub *esdb.Subscription
	if err == nil {
		if at.pos != 0 {
			options.From = logPosition(at.pos)
		}
		sub, err = client.SubscribeToAll(ctx, options)
	}
	if !timeout.Stop() {
		return nil, errUnanswered
	}
	return sub, err
}

// stillThere checks that the record is the event that stands at its position.
func (s *Store) stillThere(ctx context.Context, client *esdb.Client, at mark) error {
	if at.pos == 0 {
		return nil
	}
	stream, err := client.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Forwards, From: logPosition(at.pos)}, 1)
	if err != nil {
		return err
	}
	defer stream.Close()
	e, err := stream.Recv()
	switch {
	case errors.Is(err, io.EOF), fateOf(err) == noPosition:
	case err != nil:
		return err
	default:
		got := e.OriginalEvent()
		if positionOf(got.Position.Commit) == at.pos && ulid.ULID(got.EventID) == at.id {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", errGone, tampered(fmt.Sprintf(
		"record %s does not stand at position %d any more: the database was replaced by an older or another one", at.id, at.pos),
		"restore the newest backup of this ledger, or connect to the right database"))
}

// take gives an event that the subscription brought to the tail.
func (s *Store) take(ctx context.Context, e *esdb.RecordedEvent, seen *continuity) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if name, is := metadataOf(e); is {
		return s.checkMetadata(ctx, name, e)
	}
	if !ours(e.StreamID) {
		return nil
	}
	if positionOf(e.Position.Commit) <= s.tail.end().pos {
		return nil
	}
	rec, err := decode(e)
	if err != nil {
		return err
	}
	if err := seen.check(rec); err != nil {
		return err
	}
	s.raise(rec.Position)
	s.tail.put(rec, weight(e))
	return nil
}

// checkMetadata looks at what somebody wrote into the metadata of one of our streams. If it hides records, and still
// does, a scavenge will delete them.
func (s *Store) checkMetadata(ctx context.Context, stream string, e *esdb.RecordedEvent) error {
	if hiding(e.Data) == "" {
		return nil
	}
	now, err := s.lastOf(ctx, e.StreamID)
	if err != nil {
		return err
	}
	if now == nil {
		return nil
	}
	if what := hiding(now.Data); what != "" {
		return tampered(fmt.Sprintf("the metadata of the stream %s at position %d says %s, which hides its records, and a "+
			"scavenge deletes them", stream, e.Position.Commit, what),
			"run no scavenge, and write the stream's metadata again without that; if there was a scavenge, restore a backup")
	}
	return nil
}

// watch is the heartbeat of a subscription: it ends one that gives nothing although there is something, and replaces
// one that was silent for long, for that it is alive can't be told otherwise.
type watch struct {
	s       *Store
	sub     *esdb.Subscription
	last    atomic.Int64 // when something came, in nanoseconds
	verdict atomic.Pointer[error]
	ended   chan struct{}
}

func (w *watch) alive() { w.last.Store(time.Now().UnixNano()) }

func (w *watch) run(ctx context.Context) {
	defer close(w.ended)
	defer func() { _ = w.sub.Close() }() // always gives nil
	ticks := time.NewTicker(max(w.s.cfg.lag/4, time.Millisecond))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		quiet := time.Duration(time.Now().UnixNano() - w.last.Load())
		switch {
		case quiet > w.s.cfg.lag && w.s.Head() > w.s.tail.end().pos:
			w.verdict.Store(&errLagging)
			return
		case quiet > w.s.cfg.silence:
			w.verdict.Store(&errIdle)
			return
		}
	}
}
