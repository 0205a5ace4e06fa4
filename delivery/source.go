package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"hookledger/domain"
)

// Waits of the source.
const (
	roomPoll     = 500 * time.Millisecond // while the disk is nearly full
	nackDelay    = 5 * time.Second        // before a delivery whose records could not be written comes again
	firstPause   = 20 * time.Millisecond  // of all intake, when one Nack follows another
	longestPause = 5 * time.Second
	longestWait  = 30 * time.Second // then the clock is looked at again: it may have been set
)

// Source is the message.Subscriber of due deliveries: each message is one, carried in its context, and at most the
// window's size of them is unacked. An Ack says that the delivery was dealt with and that all of it is on the ledger; a
// Nack, that the ledger could not be written: the delivery comes again after a delay, and when Nacks follow each other
// the whole intake pauses, longer each time. Every message must be settled, then acked or nacked.
//
// The channel of messages closes only on Close or when the subscription's context ends. There is one subscription.
type Source struct {
	backlog Backlog
	room    func() error
	now     func() time.Time
	wake    chan struct{} // a place or a lane became free
	closing chan struct{}
	ended   chan struct{} // closed behind the messages' channel
	close   sync.Once

	mu         sync.Mutex // guards what follows
	lanes      *lanes
	subscribed bool
	nacks      int // in a row
	pausedTill time.Time
}

var _ message.Subscriber = (*Source)(nil)

func newSource(cfg *Config) *Source {
	return &Source{backlog: cfg.Backlog, room: cfg.Room, now: cfg.Now, wake: make(chan struct{}, 1),
		closing: make(chan struct{}), ended: make(chan struct{}),
		lanes: newLanes(cfg)}
}

// Subscribe starts the flow of messages; the topic is not looked at. The second subscription is refused.
func (s *Source) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
		return nil, errors.New("delivery: the source is closed")
	default:
	}
	if s.subscribed {
		return nil, errors.New("delivery: the source has its one subscription already")
	}
	s.subscribed = true
	out := make(chan *message.Message)
	go s.run(ctx, out)
	return out, nil
}

// Close ends the flow; when it returns, the messages' channel is closed. Messages under way can still be acked. Calling
// it again is a no-op.
func (s *Source) Close() error {
	s.close.Do(func() { close(s.closing) })
	s.mu.Lock()
	subscribed := s.subscribed
	s.mu.Unlock()
	if subscribed {
		<-s.ended
	}
	return nil
}

// InUse is the number of messages that are not acked or nacked yet.
func (s *Source) InUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes.inFlight
}

func (s *Source) run(ctx context.Context, out chan<- *message.Message) {
	defer close(s.ended)
	defer close(out)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the contexts of messages under way end with the subscription
	timer := time.NewTimer(longestWait)
	defer timer.Stop()
	var activateAt time.Time // when the backlog says that more falls due; zero: ask at its next signal only
	changed := true
	for {
		select {
		case <-s.backlog.Changed():
			changed = true
		default:
		}
		now := s.now()
		if changed || !activateAt.IsZero() && !activateAt.After(now) {
			activateAt, changed = s.activate(now), false
		}
		it, wait := s.next(now)
		if it != nil {
			if !s.emit(ctx, out, it) {
				return
			}
			continue
		}
		if !activateAt.IsZero() {
			wait = min(wait, max(activateAt.Sub(now), time.Millisecond))
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-s.closing:
			return
		case <-s.backlog.Changed():
			changed = true
		case <-s.wake:
		case <-timer.C:
		}
	}
}

func (s *Source) activate(now time.Time) time.Time {
	active, next := s.backlog.Activate(now)
	if len(active) > 0 {
		s.mu.Lock()
		for _, key := range active {
			s.lanes.activate(key)
		}
		s.mu.Unlock()
	}
	return next
}

// next gives the delivery whose turn it is, or how long to wait at most.
func (s *Source) next(now time.Time) (*item, time.Duration) {
	if s.room != nil && s.room() != nil {
		return nil, roomPoll
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.pausedTill.Sub(now); wait > 0 {
		return nil, wait
	}
	it, wakeAt := s.lanes.next(now)
	if it == nil && !wakeAt.IsZero() {
		return nil, min(wakeAt.Sub(now), longestWait)
	}
	return it, longestWait
}

// emit hands the delivery out; false: the flow ends, and the delivery went back.
func (s *Source) emit(ctx context.Context, out chan<- *message.Message, it *item) bool {
	msg := message.NewMessage(it.due.Delivery, nil)
	it.Context = ctx
	msg.SetContext(it)
	select {
	case out <- msg:
		return true
	case <-ctx.Done():
	case <-s.closing:
	}
	s.backlog.Return(it.due, it.due.DueAt)
	s.free(it)
	return false
}

// settle ends a message's place in the window, once, right before its Ack (err is nil) or Nack. The handler calls it:
// to wait for the Ack would take a goroutine for each message.
func (s *Source) settle(it *item, err error) {
	switch now := s.now(); {
	case err != nil:
		s.backlog.Return(it.due, now.Add(nackDelay))
		s.pause(now)
	case it.returnAt.IsZero():
		s.backlog.Done(it.due)
	default:
		s.backlog.Return(it.due, it.returnAt)
	}
	s.free(it)
	it.end()
}

func (s *Source) free(it *item) {
	s.mu.Lock()
	if it.tried {
		s.nacks = 0
	}
	s.lanes.settle(it, s.now())
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pause holds all intake back when the ledger refuses one delivery after the other; a single one only waits itself.
func (s *Source) pause(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.pausedTill) {
		return // of the same bad moment
	}
	if s.nacks++; s.nacks > 1 {
		s.pausedTill = now.Add(min(firstPause<<min(s.nacks-2, 10), longestPause))
	}
}

// item is a delivery under way; it is its message's context.
type item struct {
	context.Context // of the subscription
	due             domain.Due
	lane            *lane
	host            *host              // that it goes to; nil: not known
	state           domain.HealthState // of its endpoint when it was taken; empty: not known
	late            bool

	// The handler writes these before it settles the item.
	returnAt time.Time // not dealt with: due again then; zero: dealt with
	tried    bool      // an attempt came to an end
	timedOut bool      // that one by its timeout

	mu     sync.Mutex // guards what follows
	over   bool
	live   context.Context // made when somebody asks for Done
	cancel context.CancelFunc
}

type itemKey struct{}

// itemOf gives the delivery that a message of a Source carries, nil for any other's.
func itemOf(ctx context.Context) *item {
	it, _ := ctx.Value(itemKey{}).(*item)
	return it
}

func (it *item) Value(key any) any {
	if key == (itemKey{}) {
		return it
	}
	return it.Context.Value(key)
}

// Done ends after the Ack or Nack and with the subscription, as Watermill asks. Nobody waits for it on the hot path, so
// it is made only when it is asked for.
func (it *item) Done() <-chan struct{} {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.live == nil {
		it.live, it.cancel = context.WithCancel(it.Context)
		if it.over {
			it.cancel()
		}
	}
	return it.live.Done()
}

func (it *item) Err() error {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.live != nil {
		return it.live.Err()
	}
	if it.over {
		return context.Canceled
	}
	return it.Context.Err()
}

func (it *item) end() {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.over = true
	if it.cancel != nil {
		it.cancel()
	}
}
