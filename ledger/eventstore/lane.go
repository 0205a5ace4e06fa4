package eventstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/ledger"
)

// lane is a number of connections for one kind of calls. It bounds the calls in flight, for on one connection a server
// takes 100 and lets the next one wait in silence; it makes connections that failed anew; and it never closes one under
// a call, for the client does not survive that.
type lane struct {
	name  string
	dial  func(context.Context) (*esdb.Client, error)
	pause tuning
	slots chan struct{} // one token for each call in flight

	ending <-chan struct{}
	over   <-chan struct{} // closed when calls on their way are not waited for any more; nil: they always are

	ctx    context.Context // ends when the lane closes
	cancel context.CancelFunc
	dials  sync.WaitGroup

	mu      sync.Mutex
	conns   []*conn       // guarded by mu; nil: being made anew
	open    int           // guarded by mu: connections, in use and retired, that are not closed
	lastErr error         // guarded by mu: why the last attempt to connect failed, nil after one that did not
	changed ledger.Signal // a connection came or went
}

// conn is one connection: a client of EventStoreDB.
type conn struct {
	client  *esdb.Client
	at      int
	calls   int  // guarded by the lane's mu
	retired bool // guarded by the lane's mu: no further call, closed with the last
}

var errBusy = errors.New("the server has not taken what was sent before")

// newLane makes a lane. When ending is closed, nobody waits for a connection any more.
func newLane(name string, conns int, t tuning, ending <-chan struct{},
	dial func(context.Context) (*esdb.Client, error)) *lane {
	ctx, cancel := context.WithCancel(context.Background())
	l := &lane{name: name, dial: dial, pause: t, slots: make(chan struct{}, conns*t.perConn), conns: make([]*conn, conns),
		ctx: ctx, cancel: cancel, ending: ending}
	for i := range conns {
		l.dials.Go(func() { l.connect(i) })
	}
	return l
}

// connect makes the connection at place i, however long it takes.
func (l *lane) connect(i int) {
	for longest := l.pause.firstPause; l.ctx.Err() == nil; longest = min(2*longest, l.pause.laterPause) {
		client, err := l.dial(l.ctx)
		l.mu.Lock()
		l.lastErr = err
		closing := l.ctx.Err() != nil
		if err == nil && !closing {
			l.conns[i] = &conn{client: client, at: i}
			l.open++
		}
		l.mu.Unlock()
		l.changed.Fire()
		if err == nil {
			if closing {
				_ = client.Close() // never fails
			}
			return
		}
		ledger.Pause(l.ctx, longest)
	}
}

// acquire gives the connection with the fewest calls; it waits for one, and for a free slot, as long as ctx lives, but
// at most for the patience, where there is one (above 0). release must follow. Nothing is sent before it returns.
func (l *lane) acquire(ctx context.Context, patience time.Duration) (*conn, error) {
	select {
	case l.slots <- struct{}{}:
		if c := l.pick(); c != nil {
			return c, nil
		}
		<-l.slots
	default:
	}
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, errBusy
	case <-l.ending:
		return nil, ledger.ErrClosed
	}
	for {
		changed := l.changed.Next()
		if c := l.pick(); c != nil {
			return c, nil
		}
		err := l.trouble()
		if err != nil && !isPassing(err) && !isDoubtful(err) { // such as a user that may not: waiting does not help
			<-l.slots
			return nil, err
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
			err = l.trouble()
		case <-l.ending:
			err = ledger.ErrClosed
		}
		<-l.slots
		if err == nil {
			err = errUnanswered
		}
		return nil, err
	}
}

func (l *lane) pick() *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil
	}
	var best *conn
	for _, c := range l.conns {
		if c != nil && (best == nil || c.calls < best.calls) {
			best = c
		}
	}
	if best != nil {
		best.calls++
	}
	return best
}

// release gives a connection back. If the call broke it, it gets no further calls, another is made, and it is closed
// once its last call has ended.
func (l *lane) release(c *conn, broken bool) {
	l.mu.Lock()
	c.calls--
	if broken && !c.retired {
		c.retired = true
		l.conns[c.at] = nil
		if l.ctx.Err() == nil {
			l.dials.Go(func() { l.connect(c.at) })
		}
	}
	last := c.retired && c.calls == 0
	if last {
		l.open--
	}
	l.mu.Unlock()
	if last {
		_ = c.client.Close() // never fails
		l.changed.Fire()
	}
	<-l.slots
}

// trouble says why there is no connection; nil while there is one, or none was tried yet.
func (l *lane) trouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		if c != nil {
			return nil
		}
	}
	return l.lastErr
}

func (l *lane) inFlight() int { return len(l.slots) }

// close takes no further calls, waits for those in flight at most so long, and closes the connections. A connection
// whose calls do not end is left as it is: closing it would end the process.
func (l *lane) close(patience time.Duration) {
	l.mu.Lock()
	l.cancel()
	l.mu.Unlock()
	l.dials.Wait()
	l.mu.Lock()
	var idle []*conn
	for i, c := range l.conns {
		if c == nil {
			continue
		}
		c.retired, l.conns[i] = true, nil
		if c.calls == 0 {
			idle = append(idle, c)
			l.open--
		}
	}
	l.mu.Unlock()
	for _, c := range idle {
		_ = c.client.Close() // never fails
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		changed := l.changed.Next()
		l.mu.Lock()
		open := l.open
		l.mu.Unlock()
		if open == 0 {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			return
		}
	}
}

// call runs one call of the client in a goroutine of its own, for the client pays no heed to ctx, nor to a deadline,
// while it looks for a node. When ctx or the store's time is over first, the call goes on, and holds its slot until it
// ends; left then says so.
func call[T any](ctx context.Context, l *lane, c *conn, fn func(*esdb.Client) (T, error)) (result T, err error,
	left bool) {
	type answer struct {
		result T
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		a.result, a.err = fn(c.client)
		l.release(c, fateOf(a.err).broken())
		answers <- a
	}()
	select {
	case a := <-answers:
		return a.result, a.err, false
	case <-ctx.Done():
		return result, ctx.Err(), true
	case <-l.over:
		return result, ledger.ErrClosed, true
	}
}
