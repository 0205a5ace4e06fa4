package projections

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

func TestBucketsOfLatencies(t *testing.T) {
	t.Parallel()
	last := -1
	for us := int64(0); us < 1<<16; us++ {
		b := bucketOf(us)
		if b != last && b != last+1 {
			t.Fatalf("%d us: bucket %d after %d", us, b, last)
		}
		last = b
	}
	for us := int64(1); us < 1<<45; us += us/97 + 1 {
		end := bucketEnd(bucketOf(us))
		if end < us || float64(end) > float64(us)*(1+LatencyError) || bucketOf(end) != bucketOf(us) ||
			bucketOf(end+1) != bucketOf(us)+1 {
			t.Fatalf("%d us: its bucket ends at %d", us, end)
		}
	}
	if bucketOf(-5) != 0 {
		t.Error("a clock that is behind gives a latency below nothing")
	}
}

// truth is what the service levels must say of a group.
type truth struct {
	latencies                  []time.Duration
	open, exhausted, cancelled int
}

// levelled writes a random history over a turn of months, and says what is true of it, by month, endpoint and type.
func levelled(rnd *rand.Rand, l *fakeLedger) map[levelGroup]*truth {
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.endpoint(ten, ep2)
	l.clock = time.Date(2026, 3, 31, 22, 0, 0, 0, time.UTC)
	type posted struct {
		id    string
		at    time.Time
		group levelGroup
		took  time.Duration
	}
	var all []*posted
	for range 1500 {
		l.pass(time.Duration(rnd.ExpFloat64() * float64(5*time.Second)))
		if len(all) == 0 || rnd.IntN(3) == 0 {
			typ := []string{"agent.status_changed", "cron.failed"}[rnd.IntN(2)]
			l.event(ten, fmt.Sprintf("evt_%04d", len(all)), typ, ep1, ep2)
			for i, ep := range []string{ep1, ep2} {
				all = append(all, &posted{id: l.order[len(l.order)-2+i], at: l.clock,
					group: levelGroup{monthOf(l.clock.UnixMicro()), ep, typ}})
			}
			continue
		}
		p := all[rnd.IntN(len(all))]
		d := l.deliveries[p.id]
		if d.Status.Terminal() {
			if rnd.IntN(4) == 0 {
				l.retry(p.id, true)
			}
			continue
		}
		if d.Status == domain.StatusRetrying && d.DueAt.After(l.clock) {
			if rnd.IntN(6) == 0 {
				l.cancel(p.id)
			}
			continue
		}
		if d.Open != nil {
			l.interrupt(p.id)
			continue
		}
		attempt := l.begin(p.id)
		l.pass(time.Duration(rnd.ExpFloat64() * float64(300*time.Millisecond)))
		switch {
		case rnd.IntN(8) == 0:
			continue // it stays in flight
		case rnd.IntN(3) == 0:
			l.respond(p.id, attempt, 500)
		default:
			l.respond(p.id, attempt, 200)
			if p.took == 0 {
				p.took = l.clock.Sub(p.at)
			}
		}
	}
	out := map[levelGroup]*truth{}
	for _, p := range all {
		if out[p.group] == nil {
			out[p.group] = &truth{}
		}
		switch g, status := out[p.group], l.deliveries[p.id].Status; {
		case p.took > 0:
			g.latencies = append(g.latencies, p.took)
		case status == domain.StatusExhausted:
			g.exhausted++
		case status == domain.StatusCancelled:
			g.cancelled++
		default:
			g.open++
		}
	}
	return out
}

// exact is the nearest rank.
func exact(sorted []time.Duration, p int) time.Duration {
	return sorted[(len(sorted)*p+99)/100-1]
}

// TestServiceLevelsAreTrue: against every latency of a random history, whatever was folded together, and folded anew.
func TestServiceLevelsAreTrue(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	l := newFakeLedger()
	want := levelled(rnd, l)
	whole := l.opened(t, nil)
	digest, err := whole.Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 2 + rnd.IntN(40)} {
		parts := l.opened(t, func(c *Config) { c.FlushSize = size })
		if got, err := parts.Digest(t.Context()); err != nil || got != digest {
			t.Errorf("folded %d records at a time it is %s, want %s (%v)", size, got, digest, err)
		}
	}
	march, april := monthStart(2026*12+2), monthStart(2026*12+3)
	target := 2 * time.Second
	check := func(f ServiceLevelFilter, group func(levelGroup) levelGroup) {
		t.Helper()
		merged := map[levelGroup]*truth{}
		for g, tr := range want {
			m := merged[group(g)]
			if m == nil {
				m = &truth{}
				merged[group(g)] = m
			}
			m.latencies = append(m.latencies, tr.latencies...)
			m.open, m.exhausted, m.cancelled = m.open+tr.open, m.exhausted+tr.exhausted, m.cancelled+tr.cancelled
		}
		f.Tenant, f.Month, f.Through, f.Target = ten, march, april, target
		got, err := whole.ServiceLevels(t.Context(), f)
		if err != nil || len(got.Rows) != len(merged) || got.AsOfPosition != l.Head() {
			t.Fatalf("%d rows, want %d (%v)", len(got.Rows), len(merged), err)
		}
		for _, r := range got.Rows {
			g := levelGroup{endpoint: r.EndpointID, event: r.EventType}
			if f.ByMonth {
				g.month = monthOf(r.Month.UnixMicro())
			}
			tr := merged[g]
			if tr == nil || r.Succeeded != len(tr.latencies) || r.Open != tr.open || r.Exhausted != tr.exhausted ||
				r.Cancelled != tr.cancelled {
				t.Errorf("%+v is %+v", r, tr)
				continue
			}
			slices.Sort(tr.latencies)
			within, surely := 0, 0
			for _, took := range tr.latencies {
				if took <= target {
					within++
				}
				if float64(took)*(1+LatencyError) < float64(target) {
					surely++
				}
			}
			if r.Within > within || r.Within < surely {
				t.Errorf("%+v: within the target are %d", r, within)
			}
			for p, said := range map[int]time.Duration{50: r.P50, 95: r.P95, 99: r.P99} {
				if len(tr.latencies) == 0 {
					continue
				}
				if is := exact(tr.latencies, p); said < is || float64(said) > float64(is)*(1+LatencyError)+1000 {
					t.Errorf("%+v: p%d is %v", r, p, is)
				}
			}
		}
	}
	check(ServiceLevelFilter{ByMonth: true, ByEndpoint: true, ByType: true}, func(g levelGroup) levelGroup { return g })
	check(ServiceLevelFilter{}, func(levelGroup) levelGroup { return levelGroup{} })
	check(ServiceLevelFilter{ByEndpoint: true}, func(g levelGroup) levelGroup { return levelGroup{endpoint: g.endpoint} })
	check(ServiceLevelFilter{ByType: true}, func(g levelGroup) levelGroup { return levelGroup{event: g.event} })

	narrow, err := whole.ServiceLevels(t.Context(), ServiceLevelFilter{Tenant: ten, Month: march, Through: april,
		Endpoint: ep1, Type: "cron.*", ByEndpoint: true, ByType: true})
	if err != nil || len(narrow.Rows) != 1 || narrow.Rows[0].EndpointID != ep1 ||
		narrow.Rows[0].EventType != "cron.failed" {
		t.Errorf("%+v %v", narrow, err)
	}
	none, err := whole.ServiceLevels(t.Context(), ServiceLevelFilter{Tenant: other, Month: march, Through: april})
	if err != nil || len(none.Rows) != 0 {
		t.Errorf("another tenant's: %+v %v", none, err)
	}
}

// TestWhatAReplayDeliversIsOfNoServiceLevel, for its event may be of years ago.
func TestWhatAReplayDeliversIsOfNoServiceLevel(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.deliver(l.post(ten, ep1))
	l.replay(&domain.ReplayRequested{Endpoint: ep1, Match: domain.MatchThen})
	var event string
	for _, r := range l.records {
		if f, ok := r.Fact.(*domain.EventReceived); ok {
			event = f.ID
		}
	}
	l.pass(time.Hour)
	for _, d := range l.page(ep1, event) {
		l.deliver(d)
	}
	p := l.opened(t, nil)
	got, err := p.ServiceLevels(t.Context(), ServiceLevelFilter{Tenant: ten, Month: start, Through: start})
	if err != nil || len(got.Rows) != 1 || got.Rows[0].Succeeded != 1 || got.Rows[0].Open != 0 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestServiceLevelsReadByIndexes(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	p := l.opened(t, nil)
	f := ServiceLevelFilter{Tenant: ten, Endpoint: ep1, Type: "agent.*", ByEndpoint: true, ByType: true}
	for _, ask := range []func() (string, []any){
		func() (string, []any) { return f.bucketQuery(2026 * 12) },
		func() (string, []any) { return f.otherQuery(2026*12, domain.StatusPending) },
	} {
		query, args := ask()
		e := &explaining{queryer: p.db.r}
		if err := scanRows(t.Context(), e, query, args, func(*sql.Rows) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if plan := strings.Join(e.plans, "\n"); strings.Contains(plan, "SCAN ") {
			t.Errorf("%s\n%s", query, plan)
		}
	}
}
