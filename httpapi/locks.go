package httpapi

import (
	"context"
	"sync"
)

// tenantLocks is one lock per tenant. The zero value is ready; it is safe for concurrent use.
type tenantLocks struct {
	mu    sync.Mutex
	locks map[string]chan struct{} // one element while held; guarded by mu
}

// lock waits for the tenant's lock until ctx ends. Whoever got it calls release once.
func (l *tenantLocks) lock(ctx context.Context, tenant string) (release func(), err error) {
	l.mu.Lock()
	if l.locks == nil {
		l.locks = map[string]chan struct{}{}
	}
	held, ok := l.locks[tenant]
	if !ok {
		held = make(chan struct{}, 1)
		l.locks[tenant] = held
	}
	l.mu.Unlock()
	select {
	case held <- struct{}{}:
		return func() { <-held }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
