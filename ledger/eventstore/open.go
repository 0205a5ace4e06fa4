package eventstore

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// Open connects to the database and checks what can be wrong before the first record: the address, TLS, the user and
// what it may do, the server's version, that there is a leader, and whose the database is. It waits some seconds for a
// server that starts or elects a leader. Each error is a *domain.Error that says how to mend it. It writes nothing.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.setDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	conf, err := cfg.parse()
	if err != nil {
		return nil, err
	}
	if cfg.deadline == 0 {
		cfg.deadline = defaultDeadline
		if conf.DefaultDeadline != nil {
			cfg.deadline = *conf.DefaultDeadline
		}
	}
	opening, cancel := context.WithTimeout(ctx, cfg.openFor)
	defer cancel()
	d := &dialer{conf: conf, deadline: cfg.deadline}
	if err := waitFor(ctx, opening, cfg.laterPause, func() error { return d.reach(opening) }); err != nil {
		d.settle(cfg.deadline)
		return nil, err
	}
	s := &Store{cfg: cfg, log: cfg.Logger, dialer: d, ids: twins{ids: map[ulid.ULID]int{}}, ending: make(chan struct{}),
		over: make(chan struct{}), stop: func() {}}
	s.failure.failed = make(chan struct{})
	s.appends = newLane("append", cfg.appendConns, cfg.tuning, s.ending, d.dial)
	s.reads = newLane("read", 1, cfg.tuning, s.ending, d.dial)
	s.subs = newLane("subscribe", 1, cfg.tuning, s.ending, d.dial)
	s.appends.over, s.reads.over = s.over, s.over // stop ends the call of the subscription
	s.metrics = newMetrics()
	err = waitFor(ctx, opening, cfg.laterPause, func() error { return s.examine(opening) })
	var last mark
	if err == nil {
		last, err = s.findLast(ctx)
	}
	if err == nil {
		err = s.metrics.register(cfg.Metrics, s)
	}
	if err != nil {
		_ = s.Close() // gives nil
		return nil, err
	}
	s.raise(last.pos)
	s.tail = newTail(cfg.tuning, last)
	feeding, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.feeding.Go(func() { s.feed(feeding, newContinuity(cfg.streams, last.pos == 0)) })
	return s, nil
}

// believed is how often in a row a doubtful diagnosis must be made.
const believed = 5

// waitFor repeats what fails for a reason that may pass, until its time is up.
func waitFor(ctx, opening context.Context, pause time.Duration, try func() error) error {
	for doubts := 0; ; {
		err := try()
		if doubts++; !isDoubtful(err) {
			doubts = 0
		}
		switch {
		case err == nil:
			return nil
		case (isPassing(err) || 0 < doubts && doubts < believed) && ledger.Pause(opening, pause):
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		default:
			return err
		}
	}
}

// examine looks at the database: whether the user may read and write, whether a leader answers, and whose it is.
func (s *Store) examine(ctx context.Context) error {
	for _, look := range []func(context.Context) error{s.mayRead, s.mayWrite} {
		if err := look(ctx); err != nil {
			return s.dialer.diagnose(err)
		}
	}
	return nil
}

// mayRead reads what the database began with, besides what the server writes for itself. A ledger's database began with
// the ledger.
func (s *Store) mayRead(ctx context.Context) error {
	from := esdb.AllPosition(esdb.Start{})
	for {
		events, more, err := s.fetch(ctx, s.cfg.chunk, func(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
			return c.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Forwards, From: from}, uint64(s.cfg.chunk))
		})
		if err != nil {
			return err
		}
		for _, e := range events {
			switch {
			case strings.HasPrefix(e.StreamID, "$"):
			case s.cfg.Shared, ours(e.StreamID):
				return nil
			default:
				return refuse("eventstore_foreign", fmt.Sprintf(
					"the database at %s holds another product's streams: it began with %s", s.dialer.address(), e.StreamID),
					"give the ledger a database of its own")
			}
		}
		if !more || len(events) < 2 {
			return nil
		}
		from = events[len(events)-1].Position
	}
}

// mayWrite asks for an append that can't succeed, for its expected revision is beyond all others: the user is looked at
// first, and the leader must answer.
func (s *Store) mayWrite(ctx context.Context) error {
	c, err := s.appends.acquire(ctx, 0)
	if err != nil {
		return err
	}
	_, err, _ = call(ctx, s.appends, c, func(client *esdb.Client) (*esdb.WriteResult, error) {
		return client.AppendToStream(leader(context.Background()), string(domain.LedgerStream), esdb.AppendToStreamOptions{
			ExpectedRevision: esdb.Revision(1 << 40), Deadline: &s.cfg.deadline,
		}, esdb.EventData{EventID: uuid.New(), EventType: "MayWrite", ContentType: esdb.ContentTypeJson, Data: []byte("{}")})
	})
	switch fateOf(err) {
	case conflict:
		return nil
	case deleted:
		return tampered("the stream "+string(domain.LedgerStream)+" was deleted", restore)
	}
	return err
}

// findLast finds the newest record, reading backwards past the events of others.
func (s *Store) findLast(ctx context.Context) (mark, error) {
	from, count := esdb.AllPosition(esdb.End{}), 32
	for {
		var events []*esdb.RecordedEvent
		var more bool
		err := s.persist(ctx, s.cfg.patience, func() (err error) {
			events, more, err = s.fetch(ctx, count, func(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
				return c.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Backwards, From: from}, uint64(count))
			})
			return err
		})
		if err != nil {
			return mark{}, err
		}
		for _, e := range events {
			if !ours(e.StreamID) || e.EventNumber >= math.MaxInt64-1 {
				continue
			}
			if _, err := decode(e); err != nil {
				return mark{}, err
			}
			return mark{positionOf(e.Position.Commit), ulid.ULID(e.EventID)}, nil
		}
		if !more || len(events) == 0 {
			return mark{}, nil
		}
		from, count = events[len(events)-1].Position, s.cfg.chunk
	}
}
