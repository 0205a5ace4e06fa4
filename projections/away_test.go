package projections

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"

	"hookledger/domain"
	"hookledger/ledger"
)

// awayLedger is a ledger whose store can't be reached while it is away.
type awayLedger struct {
	*fakeLedger
	mu     sync.Mutex
	away   bool
	missed map[string]bool // who met its absence
	met    chan struct{}   // closed and made anew when missed grows
}

func (l *awayLedger) set(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

func (l *awayLedger) refuse(what string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.away {
		return nil
	}
	if !l.missed[what] {
		l.missed[what] = true
		close(l.met)
		l.met = make(chan struct{})
	}
	return fmt.Errorf("%s: %w", what, ledger.ErrUnavailable)
}

func (l *awayLedger) ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		if err := l.refuse("read"); err != nil {
			yield(nil, err)
			return
		}
		l.fakeLedger.ReadAll(ctx, after)(yield)
	}
}

// await returns when somebody met the absence.
func (l *awayLedger) await(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	some, met := len(l.missed) > 0, l.met
	l.mu.Unlock()
	if !some {
		<-met
	}
}

func newAwayLedger() *awayLedger {
	l := &awayLedger{fakeLedger: newFakeLedger(), missed: map[string]bool{}, met: make(chan struct{})}
	l.tenant(ten)
	l.endpoint(ten, ep1)
	return l
}

// A store that is away is waited for: nothing ends, nothing is called a failure, and what was appended meanwhile is
// folded once it is back.
func TestAStoreThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	l := newAwayLedger()
	p := l.opened(t, func(c *Config) { c.Store = l })
	running(t, p)
	if err := p.WaitFor(t.Context(), l.Head()); err != nil {
		t.Fatal(err)
	}
	l.set(true)
	d := l.post(ten, ep1)
	l.await(t)
	for _, s := range p.Status() {
		if s.Err != nil || s.Position >= l.Head() {
			t.Errorf("while it is away: %+v", s)
		}
	}
	l.set(false)
	if err := p.WaitFor(t.Context(), l.Head()); err != nil {
		t.Fatal(err)
	}
	if row, err := p.Delivery(t.Context(), ten, d); err != nil || row.ID != d {
		t.Errorf("%+v %v", row, err)
	}
	if got := takeAll(t, l.fakeLedger, p, domain.EndpointKey{Tenant: ten, Endpoint: ep1}); len(got) != 1 {
		t.Errorf("%d deliveries are offered", len(got))
	}
}

// Also by the start, which has records to fold.
func TestTheStartWaitsForAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	l := newAwayLedger()
	l.set(true)
	go func() {
		l.await(t)
		l.set(false)
	}()
	p := l.opened(t, func(c *Config) { c.Store = l })
	if got := p.Status()[1].Position; got != l.Head() {
		t.Errorf("it holds %d of %d", got, l.Head())
	}
}

// A head that no record reaches is an error and not a loop.
func TestAHeadWithoutRecordsIsAnError(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	p, err := Open(t.Context(), Config{Dir: t.TempDir(), Store: headless{l}, Now: l.now})
	if err == nil {
		t.Fatal("it opened", p.Close())
	}
}

type headless struct{ *fakeLedger }

func (h headless) Head() domain.Position { return h.fakeLedger.Head() + 1 }
