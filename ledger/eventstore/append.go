package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/domain"
	"hookledger/ledger"
)

// Append implements ledger.Store.
func (s *Store) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	start := time.Now()
	done, err := s.append(ctx, stream, expected, records)
	s.metrics.appended(done, err, time.Since(start))
	return done, err
}

func (s *Store) append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	if err := ledger.Validate(stream, expected, records); err != nil {
		return ledger.Appended{}, err
	}
	if !ours(string(stream)) {
		return ledger.Appended{}, fmt.Errorf("append to %s: %w: a ledger has no streams of that category", stream,
			ledger.ErrInvalid)
	}
	events, err := encode(stream, expected, records)
	if err != nil {
		return ledger.Appended{}, err
	}
	if err := s.enter(); err != nil {
		return ledger.Appended{}, err
	}
	defer s.underWay.Done()
	a := appending{s: s, stream: stream, expected: expected, events: events}
	a.twin = s.ids.begin(records[0].ID)
	defer s.ids.end(records[0].ID)
	a.before = s.Head() // after begin: a twin that has ended by now has raised it
	return a.run(ctx)
}

// appending is an append on its way.
type appending struct {
	s        *Store
	stream   domain.Stream
	expected domain.Revision
	events   []esdb.EventData

	twin   bool            // the same append was under way when this one began
	before domain.Position // what was durable when it began
	sent   bool            // an earlier try may have been carried out
	tries  int
}

// run tries until there is an answer. As long as no try can have reached the server, it gives up after the patience;
// from then on only a repeat can tell, with the same ids and the same expected revision, and ctx bounds it.
func (a *appending) run(ctx context.Context) (ledger.Appended, error) {
	var begun time.Time
	for longest := a.s.cfg.firstPause; ; longest = min(2*longest, a.s.cfg.laterPause) {
		result, err, left := a.try(ctx)
		var stuck *notTried
		if left || errors.As(err, &stuck) {
			a.sent = a.sent || left
			return a.giveUp(err)
		}
		switch f := fateOf(err); f {
		case done:
			return a.settle(result)
		case conflict:
			if moved, err := a.lost(ctx); moved || err != nil {
				return ledger.Appended{}, err
			}
		case deleted:
			a.s.fail(tampered("the stream "+string(a.stream)+" was deleted", restore))
		case tooLarge:
			if !a.sent {
				return ledger.Appended{}, a.wrap(fmt.Errorf("%w: the server takes less than %d bytes: %s",
					ledger.ErrTooLarge, domain.MaxAppend, reason(err)))
			}
			return a.giveUp(err)
		case forbidden, anonymous:
			return a.giveUp(a.s.dialer.diagnose(err))
		default:
			a.sent = a.sent || f.wrote()
		}
		if begun.IsZero() {
			begun = time.Now()
		}
		patient := a.sent || time.Since(begun) < a.s.cfg.patience
		if !patient || !a.s.pause(ctx, longest) {
			return a.giveUp(err)
		}
		a.s.metrics.repeats.Inc()
	}
}

// notTried is why there was no connection to send an append on.
type notTried struct{ err error }

func (e *notTried) Error() string { return e.err.Error() }
func (e *notTried) Unwrap() error { return e.err }

// try sends the append once. left says that ctx ended while it was on its way, which goes on.
func (a *appending) try(ctx context.Context) (_ *esdb.WriteResult, err error, left bool) {
	if ctx.Err() != nil {
		return nil, &notTried{ctx.Err()}, false
	}
	patience := a.s.cfg.patience
	if a.sent {
		patience = 0
	}
	c, err := a.s.appends.acquire(ctx, patience)
	if err != nil {
		return nil, &notTried{err}, false
	}
	a.tries++
	options := esdb.AppendToStreamOptions{ExpectedRevision: revisionOf(a.expected), Deadline: &a.s.cfg.deadline}
	return call(ctx, a.s.appends, c, func(client *esdb.Client) (*esdb.WriteResult, error) {
		return client.AppendToStream(leader(context.Background()), string(a.stream), options, a.events...)
	})
}

func revisionOf(expected domain.Revision) esdb.ExpectedRevision {
	if expected == domain.NoStream {
		return esdb.NoStream{}
	}
	return esdb.Revision(uint64(expected))
}

// settle answers an append that stands.
func (a *appending) settle(result *esdb.WriteResult) (ledger.Appended, error) {
	answer := ledger.Appended{Revision: domain.Revision(result.NextExpectedVersion),
		Position: positionOf(result.CommitPosition)}
	if due := a.expected + domain.Revision(len(a.events)); answer.Revision != due {
		a.s.fail(tampered(fmt.Sprintf("an append to %s at revision %d ended at revision %d, not %d: the stream was deleted "+
			"before", a.stream, a.expected, answer.Revision, due), restore))
		return ledger.Appended{}, a.s.closedError()
	}
	answer.Duplicate = a.sent || a.twin || answer.Position <= a.before
	a.s.raise(answer.Position)
	if a.sent {
		a.s.metrics.resolved.WithLabelValues("appended").Inc()
	}
	return answer, nil
}

// lost judges an append whose expected revision is wrong. The server says so as soon as it knows; what the append lost
// to must be durable before we do. If nothing can be seen of it, it may yet come to nothing, as in a change of the
// leader: moved is then false, and the append is tried again.
func (a *appending) lost(ctx context.Context) (moved bool, err error) {
	at, err := a.s.lastRevision(ctx, a.stream)
	if err != nil {
		unread := ledger.ErrUnavailable
		if a.sent {
			unread = ledger.ErrUnknownOutcome
		}
		return false, a.wrap(fmt.Errorf("%w: it lost, and to what can't be read: %w", unread, err))
	}
	if at == a.expected {
		return false, nil
	}
	if a.sent {
		a.s.metrics.resolved.WithLabelValues("conflict").Inc()
	}
	return true, a.wrap(fmt.Errorf("at revision %d, it is at %d: %w", a.expected, at, ledger.ErrConflict))
}

// giveUp answers an append that came to no answer.
func (a *appending) giveUp(err error) (ledger.Appended, error) {
	var stuck *notTried
	if errors.As(err, &stuck) {
		err = stuck.err
	}
	if e := a.s.usable(context.Background()); e != nil {
		err = e
	} else if fateOf(err) != unknown && !a.sent {
		err = a.s.dialer.diagnose(err)
	}
	switch {
	case a.sent:
		return ledger.Appended{}, a.wrap(fmt.Errorf("%w, after %d tries: %w", ledger.ErrUnknownOutcome, a.tries, err))
	case errors.Is(err, ledger.ErrClosed):
		return ledger.Appended{}, a.wrap(err)
	}
	return ledger.Appended{}, a.wrap(fmt.Errorf("%w: %w", ledger.ErrUnavailable, err))
}

func (a *appending) wrap(err error) error { return fmt.Errorf("append to %s: %w", a.stream, err) }
