package projections

import (
	"context"
	"sync"
	"time"

	"hookledger/domain"
)

// progress is how far a follower has come, for those who wait for it.
type progress struct {
	mu      sync.Mutex
	pos     domain.Position
	at      int64     // when the record there was recorded, in microseconds
	since   time.Time // behind the ledger since; zero: it is not, as far as it knows
	err     error     // ended it for good
	waiters []waiter
}

type waiter struct {
	pos  domain.Position
	done chan struct{}
}

// reached says that everything up to the position is folded.
func (p *progress) reached(pos domain.Position, at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pos, p.at = pos, at
	if len(p.waiters) > 0 {
		p.release(func(w waiter) bool { return w.pos <= pos })
	}
}

// stop ends it: nothing will be reached any more.
func (p *progress) stop(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.release(func(waiter) bool { return true })
}

// release wakes those that the condition names. p.mu is held.
func (p *progress) release(ready func(waiter) bool) {
	kept := p.waiters[:0]
	for _, w := range p.waiters {
		if ready(w) {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	clear(p.waiters[len(kept):])
	p.waiters = kept
}

func (p *progress) behind(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = since
}

func (p *progress) position() domain.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pos
}

// wait returns nil once pos is reached, and the error that ended the follower before it got there.
func (p *progress) wait(ctx context.Context, pos domain.Position) error {
	p.mu.Lock()
	if p.pos >= pos || p.err != nil {
		defer p.mu.Unlock()
		if p.pos >= pos {
			return nil
		}
		return p.err
	}
	w := waiter{pos: pos, done: make(chan struct{})}
	p.waiters = append(p.waiters, w)
	p.mu.Unlock()
	select {
	case <-w.done:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.pos >= pos {
			return nil
		}
		return p.err
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		p.release(func(o waiter) bool { return o.done == w.done })
		return ctx.Err()
	}
}

// status fills in what the follower knows of itself.
func (p *progress) status(name string, head domain.Position, now time.Time) ProjectionStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := ProjectionStatus{Name: name, Position: p.pos, Head: max(head, p.pos), Err: p.err}
	if !p.since.IsZero() && s.Head > s.Position {
		s.Behind = max(0, now.Sub(p.since))
	}
	s.Record = failedRecord(p.err)
	return s
}
