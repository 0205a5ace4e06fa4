package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/ledger/pebblestore"
	"hookledger/ledger/storetest"
)

func TestWaitForDoesNotWaitForTheNextFlush(t *testing.T) {
	t.Parallel()
	l, p := ready(t, func(c *Config) { c.FlushEvery = 24 * time.Hour })
	running(t, p)
	for range 3 {
		d := l.post(ten, ep1)
		if err := p.WaitFor(t.Context(), l.Head()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Delivery(t.Context(), ten, d); err != nil {
			t.Fatal(err)
		}
	}
	// A lookup that finds nothing does not wait either.
	d := l.post(ten, ep1)
	if row, err := p.Delivery(t.Context(), ten, d); err != nil || row.ID != d {
		t.Errorf("%+v %v", row, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.WaitFor(ctx, l.Head()+100); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if err := p.Directory().WaitFor(ctx, l.Head()+100); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestRecordsGatherForOneTransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLedger()
		l.clock = time.Now()
		h := &history{store: l, every: 100 * time.Millisecond, now: time.Now, hurry: make(chan struct{}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		live := &progress{}
		go func() { // one record after the other, faster than a lull
			for tick := time.NewTicker(h.every / 15); ; {
				select {
				case <-tick.C:
					live.reached(live.position()+1, 0)
				case <-ctx.Done():
					tick.Stop()
					return
				}
			}
		}()
		begin := time.Now()
		if err := h.pause(ctx, h.every, live); err != nil || time.Since(begin) != h.every {
			t.Errorf("it waited %v, %v", time.Since(begin), err)
		}
		h.want(5)
		begin = time.Now()
		if err := h.pause(ctx, h.every, live); err != nil || time.Since(begin) != h.every {
			t.Errorf("it waited %v for what is not on the ledger, %v", time.Since(begin), err)
		}
		l.post(ten, ep1)
		begin = time.Now()
		time.AfterFunc(10*time.Millisecond, func() { h.want(5) })
		if err := h.pause(ctx, h.every, live); err != nil || time.Since(begin) != 10*time.Millisecond {
			t.Errorf("it waited %v though somebody wants it, %v", time.Since(begin), err)
		}
		h.at.position = l.Head() // what was wanted is there
		cancel()
		begin = time.Now()
		if err := h.pause(t.Context(), h.every, &progress{}); err != nil || time.Since(begin) != h.every/10 {
			t.Errorf("it waited %v though no more came, %v", time.Since(begin), err)
		}
	})
}

func TestStatusAndMetricsSayHowFarBehind(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	l, p := ready(t, func(c *Config) { c.Metrics = r })
	l.post(ten, ep1)
	p.live.progress.behind(l.now().Add(-3 * time.Second))
	s := p.Status()
	if len(s) != 2 || s[0].Name != nameLive || s[0].Behind != 3*time.Second || s[0].Head != l.Head() ||
		s[0].Position >= s[0].Head {
		t.Errorf("status %+v", s)
	}
	settleDown(t, l, p)
	if s := p.Status(); s[0].Position != l.Head() || s[0].Behind != 0 || s[1].Position != l.Head() {
		t.Errorf("status %+v", s)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		seen[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	for name, want := range map[string]float64{"hookledger_projection_lag_positions": 0,
		"hookledger_projection_stopped": 0,
		"hookledger_backlog_in_memory":  1, "hookledger_deliveries_held": 0,
		"hookledger_projection_rows_total": 5, "hookledger_projection_flush_seconds": 2} {
		if got, ok := seen[name]; !ok || got != want {
			t.Errorf("%s is %v %v, want %v", name, got, ok, want)
		}
	}
}

// On the real store, with everything running: what is posted is offered, delivered by handlers, and in rows; a second
// life finds all of it ended.
func TestOnARealLedgerEverythingEnds(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	embedded, err := pebblestore.Open(pebblestore.Config{Dir: "ledger", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	store := storetest.Sparse(embedded)
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	cfg := Config{Dir: t.TempDir(), Store: store, FlushEvery: time.Millisecond, FlushSize: 100}
	p, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.backlog.headSize, p.backlog.low = 50, 20
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()

	const events = 1000
	write := func(stream domain.Stream, at domain.Revision, facts ...domain.Fact) domain.Position {
		t.Helper()
		stamp := domain.Stamp{At: time.Now(), Base: ulid.Make()}
		done, err := store.Append(t.Context(), stream, at, stamp.Records(stream, ten, "", ulid.ULID{}, facts...))
		if err != nil {
			t.Fatal(err)
		}
		return done.Position
	}
	write(domain.TenantStream(ten), domain.NoStream, &domain.TenantRegistered{Name: ten})
	pos := write(domain.EndpointStream(ten, ep1), domain.NoStream,
		&domain.EndpointRegistered{Config: domain.EndpointConfig{
			Kind: "webhook", Scheme: "https", Host: "example.com", EventTypes: []string{"*"}}})
	if err := p.Directory().WaitFor(ctx, pos); err != nil {
		t.Fatal(err)
	}
	for i := range events {
		id, now := fmt.Sprintf("evt_%d", i), time.Now()
		write(domain.EventStream(ten, id), domain.NoStream, &domain.EventReceived{ID: id, Event: "a.b", Timestamp: now},
			&domain.EventRouted{Matches: []domain.Match{{Endpoint: ep1,
				Delivery: domain.DeliveryID(now, ten, id, ep1, domain.CauseRouted)}}})
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	handle := func(d domain.Due) {
		mu.Lock()
		if seen[d.Delivery] {
			t.Errorf("%s was offered twice", d.Delivery)
		}
		seen[d.Delivery] = true
		mu.Unlock()
		attempt := domain.NewID(domain.PrefixAttempt, ulid.Make())
		write(domain.DeliveryStream(ten, d.Delivery), domain.NoStream,
			&domain.DeliveryScheduled{Event: d.Event, Endpoint: ep1},
			&domain.AttemptStarted{Attempt: attempt, N: 1, StartedAt: time.Now()}, &domain.RequestSigned{Attempt: attempt})
		write(domain.DeliveryStream(ten, d.Delivery), 2, &domain.ResponseReceived{Attempt: attempt, Status: 200},
			&domain.DeliverySucceeded{Attempt: attempt, Attempts: 1})
		p.Backlog().Done(d)
	}
	var wg sync.WaitGroup
	for taken := 0; taken < events; {
		active, _ := p.Backlog().Activate(time.Now())
		for range active {
			for {
				d, ok := p.Backlog().Take(key1, time.Now())
				if !ok {
					break
				}
				taken++
				wg.Go(func() { handle(d) })
			}
		}
		if taken < events {
			select {
			case <-p.Backlog().Changed():
			case err := <-ran:
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	if err := p.WaitFor(ctx, store.Head()); err != nil {
		t.Fatal(err)
	}
	checkAllSucceeded(t, p, events)
	digest, err := p.Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := errors.Join(<-ran, p.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := Rebuild(t.Context(), cfg)
	if err != nil || again.Digest != digest {
		t.Errorf("rebuilt: %+v %v, was %s", again, err, digest)
	}
	if p, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	settled, next := p.Backlog().Activate(time.Now())
	if len(settled) != 0 || !next.IsZero() || len(p.backlog.queues) != 0 {
		t.Errorf("after everything has ended, %v is active", settled)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func checkAllSucceeded(t *testing.T, p *Projections, n int) {
	t.Helper()
	rows := pages(t, MaxLimit, func(c string, limit int) (Page[DeliveryRow], error) {
		return p.Deliveries(t.Context(), DeliveryFilter{List: List{Tenant: ten, Cursor: c, Limit: limit},
			Status: domain.StatusSucceeded})
	})
	if len(rows) != n {
		t.Errorf("%d deliveries have succeeded, want %d", len(rows), n)
	}
}

func TestAStoreThatFailsEndsRun(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	broken := errors.New("the disk is gone")
	p.live.store = failing{l, broken}
	if err := p.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("err = %v", err)
	}
	if s := p.Status()[0]; !errors.Is(s.Err, broken) || !strings.Contains(s.Err.Error(), "gone") {
		t.Errorf("status %+v", s)
	}
}

type failing struct {
	*fakeLedger
	err error
}

func (f failing) Wait(context.Context, domain.Position) error { return f.err }
