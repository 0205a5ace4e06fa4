package esdbtest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// liveBuffer is how many messages wait for a live subscription's connection before it is dropped.
const liveBuffer = 32

// feed stands between the reader of the log, which calls push, and the subscription's connection, which takes its
// time. While the subscription catches up, the reader waits for the connection. Live, it does not: a buffer that stays
// full for as long as the server's patience, with nothing sent, ends the subscription, as a real node ends it at once.
// What is in the buffer then still goes out, before the error.
type feed struct {
	ctx      context.Context
	patience time.Duration
	live     bool
	queue    chan *streams.ReadResp
	sent     atomic.Uint64
	ended    chan struct{} // closed when nothing is sent any more; err is then set
	err      error
}

// newFeed starts sending; finish ends it.
func newFeed(s *Server, call *Call, out streams.Streams_ReadServer) *feed {
	f := &feed{ctx: out.Context(), patience: s.cfg.patience,
		queue: make(chan *streams.ReadResp, liveBuffer), ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		for message := range f.queue {
			err := s.calls.deliver(f.ctx, call)
			if err == nil {
				err = out.Send(message)
			}
			if err != nil && !errors.Is(err, ErrWithhold) {
				f.err = err
				return
			}
			f.sent.Add(1)
		}
	}()
	return f
}

// push hands a message to the connection, or says why there is none any more.
func (f *feed) push(message *streams.ReadResp) error {
	select {
	case f.queue <- message:
		return nil
	default:
	}
	if !f.live {
		select {
		case f.queue <- message:
			return nil
		case <-f.ended:
			return f.err
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
	return f.pushFull(message)
}

// pushFull waits for room in a live subscription's full buffer, for as long as something moves.
func (f *feed) pushFull(message *streams.ReadResp) error {
	timer := time.NewTimer(f.patience)
	defer timer.Stop()
	for sent := f.sent.Load(); ; {
		select {
		case f.queue <- message:
			return nil
		case <-f.ended:
			return f.err
		case <-f.ctx.Done():
			return f.ctx.Err()
		case <-timer.C:
			now := f.sent.Load()
			if now == sent {
				return errTooSlow()
			}
			sent = now
			timer.Reset(f.patience)
		}
	}
}

// wait returns when the channel is closed; with an error, when the subscription is over.
func (f *feed) wait(grew <-chan struct{}) error {
	select {
	case <-grew:
		return nil
	case <-f.ended:
		return f.err
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

// finish lets what waits go out, and gives the subscription's answer. A client that reads nothing
// gets it when it does.
func (f *feed) finish(err error) error {
	close(f.queue)
	<-f.ended
	return err
}
