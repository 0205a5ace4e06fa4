package esdbtest

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// consumer is a client's call that reads from a group. The group gives it messages, the call's goroutine sends them.
type consumer struct {
	// These are guarded by the group's lock.
	room        int                    // how many more messages it may have in flight
	unconfirmed map[uuid.UUID]*message // in flight, by the id that an ack will name
	sent        int64
	measured    int64
	since       time.Time
	user        string

	mu    sync.Mutex
	queue []delivery // to be sent
	ended error      // why the group dropped it

	wake chan struct{} // has room for one: there is something to do
}

// delivery is a message as it was when it was given: its count of retries goes on.
type delivery struct {
	event   *event
	retries int32
	resolve bool
}

func newConsumer(room int, now time.Time) *consumer {
	return &consumer{room: room, unconfirmed: map[uuid.UUID]*message{}, since: now, wake: make(chan struct{}, 1)}
}

// take gives the consumer a message. The group's lock is held.
func (c *consumer) take(m *message, resolve bool) {
	c.room--
	c.sent++
	if c.unconfirmed[m.event.id] == nil {
		c.unconfirmed[m.event.id] = m
	}
	c.mu.Lock()
	c.queue = append(c.queue, delivery{m.event, m.retries, resolve})
	c.mu.Unlock()
	c.nudge()
}

// release gives the room of a message back. Of two events with one id only one room comes back, as on a real server.
// The group's lock is held.
func (c *consumer) release(id uuid.UUID) {
	if _, ok := c.unconfirmed[id]; ok {
		delete(c.unconfirmed, id)
		c.room++
	}
}

// lost gives the messages that are in flight. The group's lock is held.
func (c *consumer) lost() []*message {
	var all []*message
	for _, m := range c.unconfirmed {
		all = append(all, m)
	}
	return all
}

// end tells the call to end.
func (c *consumer) end(why error) {
	c.mu.Lock()
	c.ended = why
	c.mu.Unlock()
	c.nudge()
}

// next gives what is to be sent, or why there will be no more.
func (c *consumer) next() ([]delivery, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, c.ended
	}
	batch := c.queue
	c.queue = nil
	return batch, nil
}

func (c *consumer) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
