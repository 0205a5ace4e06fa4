package projections

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

const rpl1 = "rpl_1"

// replay writes a fact about the author's one replay.
func (l *fakeLedger) replay(f domain.Fact) domain.Position {
	return l.append(domain.ReplayStream(ten, rpl1), ten, "", f)
}

// page schedules the events to the endpoint, as the next page of the replay; it gives the deliveries.
func (l *fakeLedger) page(endpoint string, events ...string) []string {
	l.mu.Lock()
	f := &domain.ReplayPageScheduled{First: l.replayed, LastAt: l.clock}
	var out []string
	for _, event := range events {
		id := domain.DeliveryID(l.clock, ten, event, endpoint, fmt.Sprint(rpl1, l.replayed))
		l.replayed++
		f.Pairs = append(f.Pairs, domain.ReplayPair{Event: event, Endpoint: endpoint, Delivery: id})
		l.adopt(domain.Due{Tenant: ten, Endpoint: endpoint, Delivery: id, Event: event, Replay: rpl1, DueAt: l.clock,
			Revision: domain.NoStream})
		l.order, out = append(l.order, id), append(out, id)
	}
	l.mu.Unlock()
	l.replay(f)
	return out
}

// TestPausedReplaysOfAllTenants: one query gives of each tenant what a query of its own does, and not what goes on.
func TestPausedReplaysOfAllTenants(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	tenants := []string{ten, "acme", "blue"}
	for i, tenant := range tenants {
		l.tenant(tenant)
		for n := range 2 {
			stream := domain.ReplayStream(tenant, fmt.Sprint("rpl_", i, n))
			l.append(stream, tenant, "", &domain.ReplayRequested{Match: domain.MatchThen})
			l.append(stream, tenant, "", &domain.ReplayPlanned{Count: 1})
			if n < i {
				l.append(stream, tenant, "", &domain.ReplayPaused{Reason: "manual"})
			}
		}
	}
	p := l.opened(t, nil)
	if err := p.history.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := p.allPausedReplays(t.Context())
	for i, tenant := range tenants {
		one, err2 := p.pausedReplays(t.Context(), tenant)
		if errors.Join(err, err2) != nil || !maps.Equal(all[tenant], one) || len(one) != i {
			t.Errorf("%s: %v, and of all %v: %v", tenant, one, all, errors.Join(err, err2))
		}
	}
}

// TestReplaysAreFolded: a page makes rows that wait, in a list where the replay was made; what becomes of them is
// counted; and it is the same when it is folded anew.
func TestReplaysAreFolded(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.endpoint(ten, ep2)
	var events []string
	for i := range 5 {
		id := fmt.Sprintf("evt_%d", i)
		l.event(ten, id, "agent.status_changed", ep1)
		events = append(events, id)
		l.pass(time.Second)
	}
	l.pass(time.Hour)
	l.replay(&domain.ReplayRequested{Match: domain.MatchThen, Endpoint: ep2})
	l.replay(&domain.ReplayPlanned{Count: 5})
	deliveries := l.page(ep2, events[:4]...)
	p := l.opened(t, nil)
	l.deliver(deliveries[0])
	l.cancel(deliveries[1])
	attempt := l.begin(deliveries[2])
	l.replay(&domain.ReplayPaused{Reason: "manual"})
	ctx := t.Context()
	if err := p.history.catchUp(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := p.ReplayProgress(ctx, ten, rpl1)
	want := domain.ReplayProgress{Scheduled: 4, Open: 2, Delivered: 1, Cancelled: 1, Position: l.Head()}
	if err != nil || got != want {
		t.Errorf("progress %+v, want %+v (%v)", got, want, err)
	}
	r, err := p.Replay(ctx, ten, rpl1)
	if err != nil || r.Status != domain.ReplayIsPaused || r.Scheduled != 4 || r.Plan.Count != 5 ||
		r.Cursor.Event != events[3] {
		t.Errorf("%+v, %v", r, err)
	}
	page, err := p.Deliveries(ctx, DeliveryFilter{List: List{Tenant: ten, CreatedAfter: start.Add(time.Minute)}})
	if err != nil || len(page.Rows) != 4 {
		t.Fatalf("%d deliveries were made since, want the replay's four (%v)", len(page.Rows), err)
	}
	for _, d := range page.Rows {
		if d.Replay != rpl1 || d.EventType != "agent.status_changed" || d.EndpointID != ep2 ||
			!d.CreatedAt.Equal(l.now().Truncate(time.Millisecond)) {
			t.Errorf("%+v", d)
		}
	}
	held, err := p.Deliveries(ctx, DeliveryFilter{List: List{Tenant: ten}, Status: domain.StatusHeld})
	if err != nil || len(held.Rows) != 1 || held.Rows[0].ID != deliveries[3] || held.Rows[0].Held != HeldReplay ||
		!held.Rows[0].HeldSince.Equal(l.now()) {
		t.Errorf("what waits for the paused replay: %+v, %v", held.Rows, err)
	}
	if n, err := p.countHeld(ctx); err != nil || n[HeldReplay] != 1 {
		t.Errorf("the metrics count %v as held, %v", n, err)
	}
	for _, cut := range []Cut{{}, {Position: l.Head()}, {Position: l.Head() - 1}} {
		open := openAt(t, p, OpenFilter{List: List{Tenant: ten}, EndpointID: ep2, Cut: cut})
		i := slices.IndexFunc(open, func(d DeliveryRow) bool { return d.ID == deliveries[3] })
		if want := cut.Position != l.Head()-1; i < 0 || (open[i].Held == HeldReplay) != want ||
			open[i].HeldSince.Equal(l.now()) != want {
			t.Errorf("as of %+v the paused replay's waits as %+v", cut, open)
		}
	}
	if d, err := p.Delivery(ctx, ten, deliveries[3]); err != nil || d.Status != domain.StatusHeld {
		t.Errorf("%+v, %v", d, err)
	}
	all, err := p.EventDeliveries(ctx, ten, events[3])
	if err != nil || len(all) != 2 || all[0].Status != domain.StatusPending || all[1].Status != domain.StatusHeld {
		t.Errorf("%+v, %v", all, err)
	}
	waiting, err := p.Deliveries(ctx, DeliveryFilter{List: List{Tenant: ten}, Status: domain.StatusPending, Replay: rpl1})
	if err != nil || len(waiting.Rows) != 0 {
		t.Errorf("%+v, %v", waiting.Rows, err)
	}
	open, err := p.ReplayDeliveries(ctx, ten, rpl1, "", 10, domain.StatusPending, domain.StatusRetrying,
		domain.StatusInFlight)
	if err != nil || len(open) != 2 {
		t.Errorf("%+v, %v", open, err)
	}
	if all, err := p.OpenReplays(ctx); err != nil || len(all) != 1 || all[0].ID != rpl1 {
		t.Errorf("%+v, %v", all, err)
	}

	// Paused, nothing of it is offered, not even by a new life; what is routed is.
	l.post(ten, ep2)
	again := l.opened(t, nil)
	if len(again.backlog.queues) == 0 {
		t.Fatal("nothing waits")
	}
	if jobs, _, _, _ := again.backlog.lacking(); len(jobs) != 2 { // the live queues of both endpoints
		t.Errorf("%d queues are to be filled", len(jobs))
	}
	l.replay(&domain.ReplayResumed{})
	l.respond(deliveries[2], attempt, 200)
	l.deliver(deliveries[3])
	l.deliver(l.page(ep2, events[4])[0])
	l.replay(&domain.ReplayCompleted{Delivered: 4, Skipped: map[string]int{"erased": 1}})
	if err := p.history.catchUp(ctx); err != nil {
		t.Fatal(err)
	}
	if r, err = p.Replay(ctx, ten, rpl1); err != nil || !r.Ended() || r.Status != domain.ReplayIsCompleted {
		t.Errorf("%+v, %v", r, err)
	}
	if all, err := p.OpenReplays(ctx); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	digest, err := p.Digest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	one := l.opened(t, func(c *Config) { c.FlushSize = 1 })
	if got, err := one.Digest(ctx); err != nil || got != digest {
		t.Errorf("folded record by record it is %s, want %s (%v)", got, digest, err)
	}
}

// TestEventHeadsAreFoundByTheirIndex: the plan of a replay of millions reads each of them once.
func TestEventHeadsAreFoundByTheirIndex(t *testing.T) {
	t.Parallel()
	l, p := library(t)
	all, err := p.EventHeads(t.Context(), ten, domain.EventRange{UpTo: l.Head()}, domain.ReplayCursor{}, 1000)
	if err != nil || len(all) < 3 {
		t.Fatal(all, err)
	}
	at := domain.ReplayCursor{At: all[1].At, Event: all[1].ID}
	rest, err := p.EventHeads(t.Context(), ten, domain.EventRange{UpTo: all[len(all)-1].Position}, at, 1000)
	if err != nil || len(rest) != len(all)-1 || rest[0] != all[1] {
		t.Errorf("behind %v: %v, %v", at, rest, err)
	}
	ids := []string{all[2].ID, "none.such", all[0].ID}
	some, err := p.EventHeads(t.Context(), ten, domain.EventRange{IDs: ids, UpTo: l.Head()}, domain.ReplayCursor{}, 10)
	if err != nil || len(some) != 2 || some[0] != all[0] || some[1] != all[2] {
		t.Errorf("by id: %v, %v", some, err)
	}
	query, args, err := headsQuery(ten, domain.EventRange{UpTo: 5, CreatedAfter: start}, at, 10)
	if err != nil {
		t.Fatal(err)
	}
	e := &explaining{queryer: p.db.r}
	if err := scanRows(t.Context(), e, query, args, func(*sql.Rows) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if len(e.plans) != 1 || !strings.HasPrefix(e.plans[0], "SEARCH ") || !strings.Contains(e.plans[0], "created_at>") {
		t.Errorf("%v", e.plans)
	}
}
