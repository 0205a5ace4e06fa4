package esdbtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/metadata"
)

// Call is what is known of a call when a hook sees it.
type Call struct {
	Method       string      // such as "/event_store.client.streams.Streams/Append"
	Stream       string      // "$all" for the whole log; empty if it is about no stream
	Group        string      // the persistent subscription that it is about, if any
	Events       int         // how many events are to be appended
	Subscription bool        // it goes on until somebody ends it
	Metadata     metadata.MD // what the client sent, among it its credentials
}

// Hooks act on calls, to watch them or to make something go wrong. Any of them may be nil. They run in the call's
// goroutine and may wait: ctx ends with the call, and when the server stops.
//
// An error ends the call and is its answer: an *Error, or any other that has a gRPC status.
type Hooks struct {
	// Before runs when the request has been read and nothing has been done. Without error the call goes on.
	Before func(ctx context.Context, c *Call) error
	// Committed runs when an append or a delete is written and can be read, before it is answered.
	Committed func(ctx context.Context, c *Call) error
	// Deliver runs before each message of a subscription, its confirmation excepted. ErrWithhold keeps the message from
	// the client, for ever, and the subscription goes on.
	Deliver func(ctx context.Context, c *Call) error
}

// ErrWithhold is what Hooks.Deliver returns so that a subscription stays open and sends nothing.
var ErrWithhold = errors.New("esdbtest: this message is withheld")

// calls passes calls through the hooks.
type calls struct {
	mu    sync.Mutex // of those who add to the hooks
	hooks atomic.Pointer[[]Hooks]
}

// use adds hooks behind those that there are.
func (c *calls) use(more ...Hooks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Hooks
	if old := c.hooks.Load(); old != nil {
		all = append(all, *old...)
	}
	all = append(all, more...)
	c.hooks.Store(&all)
}

func (c *calls) before(ctx context.Context, call *Call) error {
	for _, h := range *c.hooks.Load() {
		if h.Before != nil {
			if err := h.Before(ctx, call); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *calls) committed(ctx context.Context, call *Call) error {
	for _, h := range *c.hooks.Load() {
		if h.Committed != nil {
			if err := h.Committed(ctx, call); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *calls) deliver(ctx context.Context, call *Call) error {
	for _, h := range *c.hooks.Load() {
		if h.Deliver != nil {
			if err := h.Deliver(ctx, call); err != nil {
				return err
			}
		}
	}
	return nil
}
