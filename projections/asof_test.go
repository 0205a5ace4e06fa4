package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// turmoil writes one thing that may happen to a history: also disabled and removed endpoints, and new configurations.
// Nobody waits for a turn in an ordered line: what is exhausted stands anywhere in it.
type turmoil struct {
	*fakeLedger
	rnd       *rand.Rand
	endpoints []string
	n         int
}

func (l *turmoil) happen() {
	rnd := l.rnd
	l.pass(time.Duration(1+rnd.IntN(3000)) * time.Millisecond)
	if rnd.IntN(30) == 0 {
		l.pass(time.Duration(rnd.IntN(120)) * time.Minute)
	}
	key := domain.EndpointKey{Tenant: ten, Endpoint: l.endpoints[rnd.IntN(len(l.endpoints))]}
	exists := l.fakeLedger.endpoints[key].Exists()
	switch dice := rnd.IntN(40); {
	case dice < 12:
		l.n++
		var live []string
		for _, id := range l.endpoints {
			if e := l.fakeLedger.endpoints[domain.EndpointKey{Tenant: ten, Endpoint: id}]; e.Exists() && !e.Disabled {
				live = append(live, id)
			}
		}
		l.event(ten, fmt.Sprintf("evt_%04d", l.n), "agent.status_changed", live...)
	case dice == 12 && len(l.endpoints) < 10:
		id := fmt.Sprintf("ep_%d", len(l.endpoints))
		l.endpoint(ten, id, []string{"*", "agent.*", "cron.failed"}[rnd.IntN(3)])
		l.endpoints = append(l.endpoints, id)
	case dice == 13 && exists && len(l.endpoints) > 2:
		l.configure(key, &domain.EndpointRemoved{})
	case dice == 14 && exists:
		l.configure(key, &domain.EndpointDisabled{Reason: "manual"})
	case dice == 15 && exists:
		l.configure(key, &domain.EndpointEnabled{})
	case dice == 17 && exists:
		l.reorder(ten, key.Endpoint, l.rnd.IntN(4) > 0, []string{"", domain.OnExhaustedWait}[l.rnd.IntN(2)])
	case dice == 18 && len(l.order) > 0:
		l.skip(l.order[l.rnd.IntN(len(l.order))])
	case dice == 16 && exists:
		c := l.fakeLedger.endpoints[key].Config
		c.EventTypes = []string{[]string{"*", "agent.*", "cron.failed"}[rnd.IntN(3)]}
		l.configure(key, &domain.EndpointReconfigured{Config: c})
	case len(l.order) > 0:
		d := l.order[rnd.IntN(len(l.order))]
		if rnd.IntN(2) == 0 {
			d = l.oldest(l.deliveries[d].Endpoint, d)
		}
		l.attempt(d)
	}
}

// oldest is the first one of an endpoint that is open, d where there is none.
func (l *turmoil) oldest(endpoint, d string) string {
	for _, id := range l.order {
		if one := l.deliveries[id]; one.Endpoint == endpoint && !one.Status.Terminal() {
			return id
		}
	}
	return d
}

func (l *turmoil) attempt(d string) {
	if l.rnd.IntN(5) == 0 {
		l.retry(d, l.rnd.IntN(2) == 0)
	}
	attempt := l.begin(d)
	if attempt == "" {
		return
	}
	switch l.rnd.IntN(6) {
	case 0:
		l.fail(d, attempt, domain.CodeDNS)
	case 1:
		l.interrupt(d)
	case 2: // it stays open
	default:
		l.respond(d, attempt, []int{200, 500, 503}[l.rnd.IntN(3)])
	}
}

// snapshot is what a node says at a moment.
type snapshot struct {
	cut     Cut
	open    map[string]string // by delivery
	routing map[string]string // by event type
	configs map[string]string // by endpoint
	healths map[string]string // likewise
}

func said(d *DeliveryRow) string {
	return fmt.Sprintf("%s %s %d attempts, due %d, revision %d, held %q since %d %s", d.EndpointID, d.Status, d.Attempts,
		micros(d.DueAt), d.Revision, d.Held, micros(d.HeldSince), d.HeldBehind)
}

var eventTypes = []string{"agent.status_changed", "cron.failed", "x"}

func routed(r *domain.Routing) map[string]string {
	out := map[string]string{}
	for _, t := range eventTypes {
		out[t] = fmt.Sprintf("%+v", *r.Route("evt_x", t, start))
	}
	return out
}

func configured(e *domain.Endpoint) string {
	return fmt.Sprintf("%v %v %d %s %s", e.Config.EventTypes, e.Disabled, e.Revision, e.AsOf, e.UpdatedAt)
}

// taken takes a snapshot of a node that has folded so far and no further: from its rows and its directory.
func taken(t *testing.T, p *Projections, cut Cut) snapshot {
	t.Helper()
	s := snapshot{cut: cut, open: map[string]string{}, configs: map[string]string{}}
	d := newDirectory(&p.live.progress)
	if err := p.db.load(t.Context(), d, newBacklog(p.cfg.Now, p.cfg.Store.Head)); err != nil {
		t.Fatal(err)
	}
	routing, _ := d.Routing(ten)
	s.routing = routed(routing)
	for _, e := range routing.Endpoints {
		s.configs[e.ID] = configured(e)
	}
	held := map[string]int{}
	for _, row := range pages(t, 250, func(c string, n int) (Page[DeliveryRow], error) {
		return p.Deliveries(t.Context(), DeliveryFilter{List: List{Tenant: ten, Cursor: c, Limit: n}})
	}) {
		if !row.Status.Terminal() {
			s.open[row.ID] = said(&row)
		}
		if row.Held != "" {
			held[row.Held]++
		}
	}
	counted, err := p.countHeld(t.Context())
	maps.DeleteFunc(counted, func(_ string, n int) bool { return n == 0 })
	if err != nil || !maps.Equal(counted, held) {
		t.Fatalf("the metrics count %v as held, and the list %v: %v", counted, held, err)
	}
	for _, row := range openAt(t, p, OpenFilter{List: List{Tenant: ten}}) {
		if got := said(&row); got != s.open[row.ID] {
			t.Fatalf("what is open says of %s %q, and the list of all %q", row.ID, got, s.open[row.ID])
		}
	}
	return s
}

// TestAsOfEqualsWhatANodeSaidThen: at 200 random positions of a random history a node that has folded no further is
// asked for everything; what is later computed from the ledger as of those positions, or their times, is the same.
func TestAsOfEqualsWhatANodeSaidThen(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := &turmoil{fakeLedger: newFakeLedger(), rnd: rand.New(rand.NewPCG(seed, 4)), endpoints: []string{"ep_0"}}
	l.tenant(ten)
	l.endpoint(ten, "ep_0")
	l.reorder(ten, "ep_0", true, domain.OnExhaustedWait)
	l.policies = map[string]domain.RetryPolicy{}
	for i := range 10 {
		l.policies[fmt.Sprintf("ep_%d", i)] = domain.RetryPolicy{Schedule: []domain.Duration{
			domain.Duration(time.Second)}[:i%2]}
	}
	p := l.opened(t, func(c *Config) {
		c.Health = domain.DefaultHealthConfig()
		c.Health.BreakAfter, c.Health.BreakFor = 4, 10*time.Minute
	})
	var snapshots []snapshot
	live := func(to domain.Position) {
		for _, r := range l.records {
			if r.Position <= p.live.progress.position() || r.Position > to {
				continue
			}
			if err := p.live.fold(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	for len(snapshots) < 200 {
		for range l.rnd.IntN(5) {
			l.happen()
		}
		// Somewhere in what was appended since, be it in the middle of an append.
		var to []*domain.Record
		for _, r := range l.records {
			if r.Position > p.history.at.position {
				to = append(to, r)
			}
		}
		if len(to) == 0 {
			continue
		}
		r := to[l.rnd.IntN(len(to))]
		for p.history.at.position < r.Position {
			if err := p.history.advance(context.Background(), r.Position); err != nil {
				t.Fatal(err)
			}
		}
		live(r.Position)
		if l.rnd.IntN(10) == 0 {
			if err := p.health.save(context.Background(), p.history.w); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.refiller.refill(context.Background()); err != nil {
			t.Fatal(err)
		}
		p.cfg.Now = func() time.Time { return r.RecordedAt }
		s := taken(t, p, Cut{Position: r.Position})
		p.cfg.Now = l.now
		s.healths = ails(p, l.endpoints, r.RecordedAt)
		snapshots = append(snapshots, s)
		if at := snapshots[len(snapshots)-1]; r == l.records[len(l.records)-1] { // all of its moment is folded
			at.cut = Cut{Time: r.RecordedAt}
			snapshots = append(snapshots, at)
			l.pass(time.Millisecond)
		}
	}
	for range 50 {
		l.happen()
	}
	for p.history.at.position < l.Head() {
		if err := p.history.advance(context.Background(), l.Head()); err != nil {
			t.Fatal(err)
		}
	}
	live(l.Head())
	if err := p.health.save(context.Background(), p.history.w); err != nil {
		t.Fatal(err)
	}
	// Streams are looked up from here on, as stores do, and not searched for.
	streams := map[domain.Stream][]*domain.Record{}
	for _, r := range l.records {
		streams[r.Stream] = append(streams[r.Stream], r)
	}
	p.cfg.Store = &indexed{l.fakeLedger, streams}
	open, held := 0, map[string]int{}
	for _, s := range snapshots {
		p.compare(t, l, s)
		open += len(s.open)
		for _, said := range s.open {
			_, reason, _ := strings.Cut(said, "held \"")
			reason, _, _ = strings.Cut(reason, "\"")
			held[reason]++
		}
	}
	t.Logf("held: %v", held)
	if held[HeldBehind]+held[HeldDisabled]+held[domain.HoldBreakerOpen] < 50 {
		t.Errorf("hardly anything was ever held: %v", held)
	}
	if open < 1000 {
		t.Errorf("only %d deliveries were ever open", open)
	}
}

// ail is what a node says of an endpoint's health.
func ail(v HealthView) string {
	v.Position = 0
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func ails(p *Projections, endpoints []string, now time.Time) map[string]string {
	out := map[string]string{}
	for _, id := range endpoints {
		if one := p.health.fold.Health(ten, id); one != nil {
			v := viewOf(one, now)
			if v.State != domain.HealthDisabled {
				v.Blocked, _ = p.backlog.Blocked(ten, id)
			}
			out[id] = ail(v)
		}
	}
	return out
}

// indexed is a ledger that nothing is appended to any more.
type indexed struct {
	*fakeLedger
	streams map[domain.Stream][]*domain.Record
}

func (l *indexed) ReadStream(_ context.Context, s domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		for _, r := range l.streams[s][min(int(from), len(l.streams[s])):] {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (p *Projections) compare(t *testing.T, l *turmoil, s snapshot) {
	t.Helper()
	got := map[string]string{}
	for _, row := range openAt(t, p, OpenFilter{List: List{Tenant: ten, Limit: 1 + l.rnd.IntN(40)}, Cut: s.cut}) {
		got[row.ID] = said(&row)
	}
	for _, id := range l.endpoints {
		v, err := p.HealthAt(t.Context(), ten, id, s.cut)
		if want := s.healths[id]; want == "" && domain.Code(err) != "endpoint_not_found" || want != "" && ail(v) != want {
			t.Fatalf("as of %+v: the health of %s was\n%s\nnot\n%s %v", s.cut, id, want, ail(v), err)
		}
	}
	for id, want := range s.open {
		if got[id] != want {
			t.Fatalf("as of %+v: %s was %s, not %q", s.cut, id, want, got[id])
		}
	}
	if len(got) != len(s.open) {
		t.Fatalf("as of %+v: %d deliveries were open, not %d", s.cut, len(s.open), len(got))
	}
	routing, ok, err := p.RoutingAt(t.Context(), ten, s.cut)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	for typ, want := range routed(routing) {
		if s.routing[typ] != want {
			t.Fatalf("as of %+v: %s went to %s, not %s", s.cut, typ, s.routing[typ], want)
		}
	}
	for _, id := range l.endpoints {
		e, ok, err := p.EndpointAt(t.Context(), ten, id, s.cut)
		if err != nil || ok != (s.configs[id] != "") || ok && configured(e) != s.configs[id] {
			t.Fatalf("as of %+v: endpoint %s was %q, not %v %+v: %v", s.cut, id, s.configs[id], ok, e, err)
		}
	}
}

// openAt follows the cursors to the end.
func openAt(t *testing.T, p *Projections, f OpenFilter) []DeliveryRow {
	t.Helper()
	var out []DeliveryRow
	for {
		page, err := p.OpenAt(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.Rows...)
		if !page.HasMore {
			return out
		}
		f.Cursor = page.NextCursor
	}
}

func TestAsOfOneEndpoint(t *testing.T) {
	t.Parallel()
	l, p := library(t)
	all := openAt(t, p, OpenFilter{List: List{Tenant: ten}, Cut: Cut{Position: l.Head()}})
	one := openAt(t, p, OpenFilter{List: List{Tenant: ten}, EndpointID: ep1, Cut: Cut{Position: l.Head()}})
	if len(all) != 100 || len(one) != 60 ||
		slices.ContainsFunc(one, func(d DeliveryRow) bool { return d.EndpointID != ep1 }) {
		t.Errorf("%d, %d at one endpoint", len(all), len(one))
	}
}
