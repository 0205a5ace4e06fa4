package esdbtest

import (
	"context"
	"sync"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
)

// WithFaults gives a server its switches. Those of a cluster are given to [NewCluster], and are all its nodes'.
func WithFaults(f *Faults) Option {
	return func(c *config) error {
		c.faults = f
		return nil
	}
}

// faultHooks make the faults of calls happen.
func (s *Server) faultHooks() Hooks {
	f := s.cfg.faults
	silent := &silentCalls{calls: map[*Call]bool{}}
	return Hooks{
		Before: func(ctx context.Context, c *Call) error {
			switch {
			case !writes(c):
			case f.fires(RefuseAppend):
				return errNotReady()
			case f.fires(CutConnection):
				s.network.cut(ctx)
				return errNotReady() // nobody hears it
			}
			return nil
		},
		Committed: func(ctx context.Context, c *Call) error {
			if !writes(c) {
				return nil
			}
			return s.afterCommit(ctx, f)
		},
		Deliver: func(ctx context.Context, c *Call) error {
			switch {
			case silent.has(c):
				return ErrWithhold
			case f.fires(DropSubscription):
				if c.Group != "" {
					return errGroupDropped(&group{stream: c.Stream, name: c.Group})
				}
				return errTooSlow()
			case f.fires(SilentSubscription):
				silent.add(ctx, c)
				return ErrWithhold
			}
			return nil
		},
	}
}

// afterCommit is what can happen between the commit of an append and its answer.
func (s *Server) afterCommit(ctx context.Context, f *Faults) error {
	switch {
	case f.fires(CommitThenUnavailable):
		return failure(codes.Unavailable, "Server Is Not Ready")
	case f.fires(CommitThenCancel):
		return failure(codes.Canceled, "Call canceled by the server.")
	case f.fires(CommitThenAbort):
		return failure(codes.Aborted, "Operation timed out: Request canceled by server")
	case s.outages.spare() && f.fires(KillLeader):
		s.outages.kill()
		<-ctx.Done()
		return context.Cause(ctx)
	case s.outages.spare() && f.fires(FreezeLeader):
		s.outages.freeze()
	}
	return nil
}

func writes(c *Call) bool {
	return c.Method == streams.Streams_Append_FullMethodName || c.Method == streams.Streams_BatchAppend_FullMethodName
}

// silentCalls are the subscriptions that send nothing any more.
type silentCalls struct {
	mu    sync.Mutex
	calls map[*Call]bool // guarded by mu
}

func (s *silentCalls) has(c *Call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[c]
}

func (s *silentCalls) add(ctx context.Context, c *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[c] = true
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.calls, c)
	})
}

// cut closes the connection that a call came by.
func (n *network) cut(ctx context.Context) {
	if p, ok := peer.FromContext(ctx); ok {
		n.close(p.Addr.String())
	}
}
