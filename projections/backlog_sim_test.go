package projections

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hookledger/domain"
)

// sim drives a backlog one step at a time, in any order that goroutines could take: the author appends, the live fold
// and the rows follow when the draw says so, rows are read and put into memory in two steps, and handlers take
// deliveries and do with them what handlers do.
type sim struct {
	rt     *rapid.T
	l      *fakeLedger
	cfg    Config
	p      *Projections
	flying []*flight
	// seen is what the live fold was given: the truth as far as the backlog can know it.
	seen   map[string]*domain.Delivery
	dead   map[string]bool // ended by its endpoint's removal, as far as it was folded
	paused bool            // the replay is, as far as it was folded
	// outside is the position of the last record about a delivery that no handler wrote.
	outside map[string]domain.Position
	reading *pendingRead
	line    line // of the ordered endpoint, as far as it was folded
	inLine  bool // all events go to the ordered endpoint
	healing bool
}

type flight struct {
	due     domain.Due
	attempt string
}

type pendingRead struct {
	job  refillJob
	rows []waitingRow
	at   domain.Position
}

func (s *sim) open() {
	p, err := Open(context.Background(), s.cfg)
	if err != nil {
		s.rt.Fatal(err)
	}
	p.backlog.headSize, p.backlog.low, p.backlog.freshSize = 4, 3, 2
	s.p, s.flying, s.reading = p, nil, nil
	s.seen, s.dead, s.paused, s.line = map[string]*domain.Delivery{}, map[string]bool{}, false, newLine()
	for _, r := range s.l.records {
		if r.Position <= p.live.progress.position() {
			s.see(r)
		}
	}
}

// restart is a death in the middle of everything.
func (s *sim) restart() {
	if err := s.p.Close(); err != nil {
		s.rt.Fatal(err)
	}
	s.open()
}

func (s *sim) see(r *domain.Record) {
	s.line.see(r)
	switch f := r.Fact.(type) {
	case *domain.EventRouted:
		for _, m := range f.Matches {
			d := domain.NewDelivery()
			d.Tenant, d.ID, d.Endpoint, d.DueAt = r.Tenant, m.Delivery, m.Endpoint, r.RecordedAt
			s.seen[m.Delivery] = d
		}
	case *domain.ReplayPageScheduled:
		for _, p := range f.Pairs {
			d := domain.NewDelivery()
			d.Tenant, d.ID, d.Endpoint, d.DueAt = r.Tenant, p.Delivery, p.Endpoint, r.RecordedAt
			s.seen[p.Delivery] = d
		}
	case *domain.ReplayPaused, *domain.ReplayResumed:
		_, s.paused = f.(*domain.ReplayPaused)
	case *domain.EndpointRemoved:
		for id, d := range s.seen {
			if d.Endpoint == r.Stream.ID() && d.Open == nil {
				s.dead[id] = true
			}
		}
	default:
		if r.Stream.Category() == domain.CategoryDelivery {
			s.seen[r.Stream.ID()].Evolve(r)
			if decides(r.Fact) {
				delete(s.dead, r.Stream.ID())
			}
		}
	}
}

func (s *sim) foldLive(n int) {
	for _, r := range s.l.records {
		if n > 0 && r.Position > s.p.live.progress.position() {
			n--
			s.see(r)
			if err := s.p.live.fold(r); err != nil {
				s.rt.Fatal(err)
			}
		}
	}
}

func (s *sim) foldRows(size int) {
	s.p.history.size = size
	if err := s.p.history.advance(context.Background(), s.p.live.progress.position()); err != nil {
		s.rt.Fatal(err)
	}
}

// readRows does the first or the second half of a refill.
func (s *sim) readRows() {
	b := s.p.backlog
	if s.reading != nil {
		b.mu.Lock()
		b.filled(s.reading.job, s.reading.rows, s.reading.at)
		b.mu.Unlock()
		b.read(false)
		s.reading = nil
		return
	}
	jobs, orphans, _, _ := b.lacking()
	if len(orphans) > 0 {
		if err := s.p.refiller.adopt(context.Background(), orphans); err != nil {
			s.rt.Fatal(err)
		}
	}
	if len(jobs) == 0 {
		return
	}
	slices.SortFunc(jobs, func(a, b refillJob) int {
		return cmp.Compare(a.queue.key.Endpoint+a.queue.key.Replay, b.queue.key.Endpoint+b.queue.key.Replay)
	})
	job := jobs[0]
	b.read(true)
	rows, at, err := s.p.refiller.waiting(context.Background(), job)
	if err != nil {
		s.rt.Fatal(err)
	}
	s.reading = &pendingRead{job, rows, at}
}

// take takes one delivery of some endpoint, and checks that it may be offered.
func (s *sim) take() bool {
	s.p.backlog.Activate(s.l.now())
	for _, key := range []domain.EndpointKey{{Tenant: ten, Endpoint: ep1}, {Tenant: ten, Endpoint: ep2},
		{Tenant: ten, Endpoint: ep3}, {Tenant: ten, Endpoint: ep1, Replay: rpl1},
		{Tenant: ten, Endpoint: ep2, Replay: rpl1}} {
		if q := s.p.backlog.queues[key]; q == nil || !q.active && !q.onlyFresh {
			continue
		}
		due, ok := s.takeOf(key)
		if !ok {
			continue
		}
		s.checkOffer(key, due)
		s.flying = append(s.flying, &flight{due: due})
		return true
	}
	return false
}

// takeOf takes as lanes do: while late ones have their share, only others.
func (s *sim) takeOf(key domain.EndpointKey) (domain.Due, bool) {
	now := s.l.now()
	if s.healing || key.Replay != "" || rapid.IntRange(0, 2).Draw(s.rt, "any") > 0 {
		return s.p.backlog.Take(key, now)
	}
	due, late, ok := s.p.backlog.TakeFresh(key, now)
	if ok && (late || due.Late(now)) {
		s.rt.Fatalf("%s is late: it was due at %v", due.Delivery, due.DueAt)
	}
	if q := s.p.backlog.queues[key]; !ok && (q.active || q.onlyFresh != late) {
		s.rt.Fatalf("%v has only late ones: %v; it is active: %v", key, late, q.active)
	}
	return due, ok
}

func (s *sim) checkOffer(key domain.EndpointKey, due domain.Due) {
	id := due.Delivery
	for _, f := range s.flying {
		if f.due.Delivery == id {
			s.rt.Fatalf("%s was offered while it is in flight", id)
		}
	}
	d := s.l.deliveries[id]
	if d == nil || d.Endpoint != key.Endpoint || due.Event != d.due.Event || due.Tenant != ten ||
		due.Replay != d.due.Replay || due.Replay != key.Replay {
		s.rt.Fatalf("%+v was offered at %v, is %+v", due, key, d)
	}
	if s.paused && key.Replay != "" {
		s.rt.Fatalf("%s was offered though its replay is paused", id)
	}
	if e := s.l.endpoints[domain.EndpointKey{Tenant: ten, Endpoint: key.Endpoint}]; e.Disabled && !e.Removed &&
		s.p.backlog.queues[key].disabled {
		s.rt.Fatalf("%s was offered though its endpoint is disabled", id)
	}
	seen := s.seen[id]
	if seen == nil || seen.Status.Terminal() || s.dead[id] {
		s.rt.Fatalf("%s was offered after its end was folded: %+v", id, seen)
	}
	folded := s.p.live.progress.position()
	if (d.Status.Terminal() || d.cancelled || d.Status == domain.StatusRetrying && d.DueAt.After(s.l.clock)) &&
		s.outside[id] <= folded {
		s.rt.Fatalf("%s was offered again after it was dealt with: %s, due %v", id, d.Status, d.DueAt)
	}
	if key.Endpoint == ep3 && key.Replay == "" {
		s.checkTurn(id)
	}
	if due.DueAt.After(s.l.now()) {
		s.rt.Fatalf("%s was offered before it is due", id)
	}
}

// handle moves one handler on by a step.
func (s *sim) handle(f *flight, at int) {
	d := s.l.deliveries[f.due.Delivery]
	done := func() {
		s.flying = append(s.flying[:at], s.flying[at+1:]...)
		s.p.backlog.Done(f.due)
	}
	e := s.l.endpoints[domain.EndpointKey{Tenant: ten, Endpoint: d.Endpoint}]
	switch {
	case f.attempt != "" && d.Open != nil && d.Open.ID == f.attempt:
		if n := rapid.IntRange(0, 3).Draw(s.rt, "fails"); n == 0 || s.inLine && n < 3 {
			s.l.fail(d.ID, f.attempt, domain.CodeTimeout)
		} else {
			s.l.respond(d.ID, f.attempt, 200)
		}
		done()
	case d.Open != nil:
		s.l.interrupt(d.ID)
		done()
	case e.Removed:
		s.l.cancel(d.ID)
		done()
	case rapid.IntRange(0, 5).Draw(s.rt, "return") == 0:
		s.flying = append(s.flying[:at], s.flying[at+1:]...)
		s.p.backlog.Return(f.due, s.l.now().Add(time.Second))
	default:
		if f.attempt = s.l.begin(d.ID); f.attempt == "" {
			done()
		}
	}
}

func (s *sim) step() {
	draw := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(s.rt, label) }
	pick := func() string { return s.l.order[draw("which", len(s.l.order))] }
	op := draw("op", 40)
	if len(s.l.order) == 0 {
		op = 0
	}
	switch {
	case op < 8:
		for range 1 + draw("burst", 4) {
			to := []string{ep1, ep2, ep3}[draw("to", 3)]
			if s.inLine {
				to = ep3
			}
			s.l.post(ten, to)
		}
	case op < 16:
		s.foldLive(1 + draw("records", 12))
	case op < 20:
		s.foldRows(1 + draw("records", 12))
	case op < 25:
		s.readRows()
	case op < 31:
		s.take()
	case op < 37:
		if len(s.flying) > 0 {
			i := draw("handler", len(s.flying))
			s.handle(s.flying[i], i)
		}
	case op == 37:
		s.l.pass([]time.Duration{time.Millisecond, time.Second, time.Minute, time.Hour}[draw("time", 4)])
	case op == 38 && !s.inLine && draw("who", 2) == 0:
		s.replay(draw, pick)
	case op == 38:
		s.interfere(draw, pick())
	default:
		if draw("restart", 4) == 0 {
			s.restart()
		}
	}
}

// interfere is what others write.
func (s *sim) interfere(draw func(string, int) int, id string) {
	key := domain.EndpointKey{Tenant: ten, Endpoint: s.l.deliveries[id].Endpoint}
	switch e := s.l.endpoints[key]; {
	case draw("what", 3) == 0:
		s.l.retry(id, draw("force", 2) == 0)
	case draw("what", 3) == 0:
		s.l.cancel(id)
	case draw("what", 3) == 0:
		s.l.skip(id)
	case draw("what", 3) == 0 && !s.l.endpoints[domain.EndpointKey{Tenant: ten, Endpoint: ep3}].Removed:
		how := draw("order", 3)
		s.l.reorder(ten, ep3, how > 0, []string{"", domain.OnExhaustedContinue, domain.OnExhaustedWait}[how])
	case draw("what", 6) == 0 && !e.Removed:
		s.l.configure(key, &domain.EndpointRemoved{})
		for _, id := range s.l.order {
			s.outside[id] = s.l.Head()
		}
	case e.Disabled && !e.Removed:
		s.l.configure(key, &domain.EndpointEnabled{})
	case !e.Removed:
		s.l.configure(key, &domain.EndpointDisabled{Reason: "manual"})
	}
	s.outside[id] = s.l.Head()
}

// replay is what the replay does: it schedules a page, is paused, or goes on.
func (s *sim) replay(draw func(string, int) int, pick func() string) {
	switch what := draw("replay", 6); {
	case what == 0:
		s.l.paused = true
		s.l.replay(&domain.ReplayPaused{Reason: "manual"})
	case what == 1 || s.l.paused:
		s.l.paused = false
		s.l.replay(&domain.ReplayResumed{})
	default:
		var events []string
		for range 1 + draw("pairs", 6) {
			events = append(events, s.l.deliveries[pick()].due.Event)
		}
		s.l.page([]string{ep1, ep2}[draw("to", 2)], events...)
	}
}

func (s *sim) checkMemory() {
	for _, q := range s.p.backlog.queues {
		open := 0
		for _, it := range q.head {
			if it.open {
				open++
			}
		}
		if len(q.head) > s.p.backlog.headSize+open || len(q.fresh) > s.p.backlog.freshSize {
			s.rt.Fatalf("%d deliveries of %v are in memory", len(q.head), q.key)
		}
	}
}

// heal lets everything go on in peace until nothing waits any more.
func (s *sim) heal() {
	s.healing = true
	for key, e := range s.l.endpoints {
		if e.Disabled && !e.Removed {
			s.l.configure(key, &domain.EndpointEnabled{})
		}
	}
	if e := s.l.endpoints[domain.EndpointKey{Tenant: ten, Endpoint: ep3}]; !e.Removed && e.Config.Waits() {
		s.l.reorder(ten, ep3, true, "")
	}
	s.l.replay(&domain.ReplayResumed{})
	for idle := 0; idle < 60; idle++ {
		s.foldLive(1 << 30)
		s.foldRows(1 << 30)
		s.readRows()
		s.readRows()
		for s.take() {
			idle = 0
		}
		for len(s.flying) > 0 {
			s.handle(s.flying[0], 0)
		}
		if s.ended() == "" {
			return
		}
		if idle > 3 {
			s.l.pass(30 * time.Minute)
		}
	}
	d := s.ended()
	s.rt.Fatalf("%s is lost: %+v; known: %+v", d, s.l.deliveries[d].Delivery, s.p.backlog.items[d])
}

// ended names a delivery that has not ended; empty: all have.
func (s *sim) ended() string {
	for _, id := range s.l.order {
		if d := s.l.deliveries[id]; !d.Status.Terminal() && !d.cancelled {
			return id
		}
	}
	return ""
}

// Semantics: newer deliveries come from the fold, the others from rows; none is in both, and none is lost, however the
// rows lag and the reading of them is interleaved with everything else.
func TestSemanticsNoDeliveryIsLostOrOfferedTwice(t *testing.T) {
	t.Parallel()
	simulate(t, false)
}

// Semantics: an ordered endpoint's deliveries go out one after the other, as the ledger has them, whatever happens.
func TestSemanticsAnOrderedEndpointKeepsItsOrder(t *testing.T) {
	t.Parallel()
	simulate(t, true)
}

func simulate(t *testing.T, inLine bool) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newFakeLedger()
		s := &sim{rt: rt, l: l, outside: map[string]domain.Position{}, inLine: inLine}
		s.cfg = Config{Dir: t.TempDir(), Store: l, Now: l.now}
		l.tenant(ten)
		l.endpoint(ten, ep1)
		l.endpoint(ten, ep2)
		l.endpoint(ten, ep3)
		l.policies = map[string]domain.RetryPolicy{ep3: {Schedule: []domain.Duration{domain.Duration(time.Second)}}}
		l.reorder(ten, ep3, true, domain.OnExhaustedWait)
		l.replay(&domain.ReplayRequested{Match: domain.MatchNow})
		s.open()
		defer func() {
			if err := s.p.Close(); err != nil {
				rt.Error(err)
			}
		}()
		for range rapid.IntRange(1, 400).Draw(rt, "steps") {
			s.step()
			s.checkMemory()
		}
		s.heal()
	})
}
