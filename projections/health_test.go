package projections

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// sick writes so many attempts at an endpoint, one a second, all answered alike; it gives the last one's delivery.
func (l *fakeLedger) sick(endpoint string, n, status int) (d string) {
	for range n {
		d = l.post(ten, endpoint)
		a := l.begin(d)
		l.pass(time.Second)
		l.respond(d, a, status)
	}
	return d
}

// whole is all that a fold of health holds, as text.
func whole(t *testing.T, h *Health, now time.Time) string {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	h.fold.Endpoints(func(one *domain.Health) {
		one.Forget(now)
		b, err := one.Encode()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
	})
	for _, o := range h.fold.Open(nil) {
		lines = append(lines, string(o.Stream)+" "+o.Endpoint+" "+o.Started.String())
	}
	slices.Sort(lines)
	for _, f := range h.todo.pending() {
		if f.Decides() || now.Sub(f.At) < tellWithin { // who folds it anew leaves the others out
			lines = append(lines, f.Kind+" "+f.Evidence.String())
		}
	}
	return strings.Join(lines, "\n")
}

// fromTheLedger folds all records anew.
func (l *fakeLedger) fromTheLedger(c domain.HealthConfig) *Health {
	h := newHealth(c, l.now, slog.New(slog.DiscardHandler))
	for _, r := range l.records {
		h.apply(r)
	}
	return h
}

// die ends projections as a crash does: what was folded since the last save is lost.
func (p *Projections) die(t *testing.T) {
	t.Helper()
	if err := errors.Join(p.history.w.close(), p.db.close()); err != nil {
		t.Fatal(err)
	}
}

// TestHealthIsTheSameHoweverTheNodeEnded: over lives that end in order, by a crash with the last save a while ago, or
// by one before the first save, and over a rebuild, the health is what folding the whole ledger gives.
func TestHealthIsTheSameHoweverTheNodeEnded(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := &turmoil{fakeLedger: newFakeLedger(), rnd: rand.New(rand.NewPCG(seed, 5)), endpoints: []string{"ep_0"}}
	l.tenant(ten)
	l.endpoint(ten, "ep_0")
	cfg := Config{Dir: t.TempDir(), Store: l, Now: l.now}
	for life := range 12 {
		p, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := whole(t, p.health, l.now()), whole(t, l.fromTheLedger(p.cfg.Health), l.now()); got != want {
			has, says := strings.Split(got, "\n"), strings.Split(want, "\n")
			has = slices.DeleteFunc(has, func(s string) bool { return slices.Contains(says, s) })
			t.Fatalf("life %d alone has\n%s\nand the ledger says\n%s", life, strings.Join(has, "\n"), want)
		}
		for range l.rnd.IntN(400) {
			l.happen()
			if l.rnd.IntN(8) == 0 {
				settleDown(t, l.fakeLedger, p)
			}
			if life > 2 && l.rnd.IntN(60) == 0 {
				if err := p.health.save(context.Background(), p.history.w); err != nil {
					t.Fatal(err)
				}
			}
		}
		switch l.rnd.IntN(3) {
		case 0:
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		default:
			p.die(t)
		}
		if life%4 == 3 {
			if _, err := Rebuild(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestHealthCountsNoRecordTwice: the stored fold may be ahead of the rows from which the live one starts.
func TestHealthCountsNoRecordTwice(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, "ep_0")
	l.sick("ep_0", 4, 500)
	h := l.fromTheLedger(domain.DefaultHealthConfig())
	want := whole(t, h, l.now())
	for _, r := range l.records[len(l.records)/2:] {
		h.apply(r)
	}
	if got := whole(t, h, l.now()); got != want {
		t.Errorf("folded twice:\n%s\nwant\n%s", got, want)
	}
}

// TestHealthIsFoldedAnewWithOtherThresholds: what was folded with others is of no use.
func TestHealthIsFoldedAnewWithOtherThresholds(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	cfg := Config{Dir: t.TempDir(), Store: l, Now: l.now}
	p, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.sick(ep1, 4, 500)
	settleDown(t, l, p)
	if g := p.Health().Gate(ten, ep1, l.now()); g.Hold != "" {
		t.Fatalf("%+v", g)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	strict := domain.DefaultHealthConfig()
	strict.BreakAfter = 3
	p = l.opened(t, func(c *Config) { c.Dir, c.Health = cfg.Dir, strict })
	if g := p.Health().Gate(ten, ep1, l.now()); g.Hold != domain.HoldBreakerOpen {
		t.Fatalf("%+v", g)
	}
}

func TestWhatFollowsStaysToBeDone(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	cfg := Config{Dir: t.TempDir(), Store: l, Now: l.now}
	p, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	next := func() domain.FollowUp {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f, err := p.Health().Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	l.sick(ep1, 4, 500)
	l.sick(ep1, 1, 410) // the fifth failure in a row
	settleDown(t, l, p)
	failing, gone := next(), next()
	if failing.Kind != domain.FollowFailing || gone.Kind != domain.FollowDisableGone {
		t.Fatalf("%+v %+v", failing, gone)
	}
	if n, oldest := p.Health().Waiting(); n != 2 || !oldest.Equal(failing.At) {
		t.Fatalf("%d wait, since %s", n, oldest)
	}
	p.Health().Done(failing)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = l.opened(t, func(c *Config) { c.Dir = cfg.Dir })
	if again := next(); again != gone {
		t.Fatalf("%+v", again)
	}
	// The decision on the ledger is the answer; what it follows from is told.
	l.configure(domain.EndpointKey{Tenant: ten, Endpoint: ep1},
		&domain.EndpointDisabled{Reason: domain.DisabledGone, Evidence: gone.Evidence})
	settleDown(t, l, p)
	disabled := next()
	if n, _ := p.Health().Waiting(); n != 1 || disabled.Kind != domain.FollowDisabled {
		t.Fatalf("%d wait: %+v", n, disabled)
	}
	// So is the event that tells it, when everything is folded anew.
	stamp := domain.Stamp{At: l.now(), Base: disabled.ID(), Actor: domain.FollowUpActor}
	id := domain.NewID(domain.PrefixEvent, disabled.ID())
	l.mu.Lock()
	l.write(stamp.Records(domain.EventStream(ten, id), ten, id, disabled.Evidence,
		&domain.EventReceived{ID: id, Event: disabled.Kind}, &domain.EventRouted{}))
	l.mu.Unlock()
	settleDown(t, l, p)
	if n, _ := p.Health().Waiting(); n != 0 {
		t.Fatalf("%d wait", n)
	}
	if n, _ := l.fromTheLedger(cfg.withDefaults().Health).Waiting(); n != 1 { // endpoint.failing, which nobody was told
		t.Fatalf("%d wait when all is folded anew", n)
	}
	l.pass(tellWithin)
	if n, _ := l.fromTheLedger(cfg.withDefaults().Health).Waiting(); n != 0 {
		t.Fatalf("%d wait a day later", n)
	}
}

func TestHeldDeliveriesSayWhyAndSinceWhen(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.endpoint(ten, ep2)
	p := l.opened(t, nil)
	l.sick(ep1, 10, 500)
	opened := l.now()
	l.pass(time.Second)
	due, fine := l.post(ten, ep1), l.post(ten, ep2)
	settleDown(t, l, p)
	get := func(id string) DeliveryRow {
		t.Helper()
		row, err := p.Delivery(t.Context(), ten, id)
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	list := func(s domain.DeliveryStatus) (ids []string) {
		t.Helper()
		page, err := p.Deliveries(t.Context(), DeliveryFilter{List: List{Tenant: ten}, Status: s})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Rows {
			ids = append(ids, r.ID)
		}
		return ids
	}
	if d := get(due); d.Status != domain.StatusHeld || d.Held != domain.HoldBreakerOpen || !d.HeldSince.Equal(opened) {
		t.Fatalf("%+v", d)
	}
	if d := get(fine); d.Status != domain.StatusPending || d.Held != "" {
		t.Fatalf("%+v", d)
	}
	// The early ones' retries are due by now, the late ones wait for their time first.
	held, retrying := list(domain.StatusHeld), list(domain.StatusRetrying)
	if !slices.Contains(held, due) || len(held) < 3 || len(retrying) == 0 || len(held)+len(retrying) != 11 {
		t.Fatalf("held %v, retrying %v", held, retrying)
	}
	if got := list(domain.StatusPending); !slices.Equal(got, []string{fine}) {
		t.Fatalf("pending %v", got)
	}

	l.configure(domain.EndpointKey{Tenant: ten, Endpoint: ep1}, &domain.EndpointDisabled{Reason: "manual"})
	settleDown(t, l, p)
	if d := get(due); d.Status != domain.StatusHeld || d.Held != HeldDisabled || !d.HeldSince.Equal(l.now()) {
		t.Fatalf("%+v", d)
	}
	if held := list(domain.StatusHeld); len(held) != 11 {
		t.Fatalf("held %v", held)
	}
	v, err := p.EndpointHealth(t.Context(), ten, ep1)
	if err != nil || v.Pending != 11 || !v.OldestPending.Equal(start) || v.State != domain.HealthDisabled {
		t.Fatalf("%+v %v", v, err)
	}
	if _, err := p.EndpointHealth(t.Context(), ten, "ep_none"); domain.Code(err) != "endpoint_not_found" {
		t.Fatal(err)
	}
}
