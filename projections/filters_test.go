package projections

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// varied is a history in which all that filters ask for differs.
func varied(t *testing.T, rnd *rand.Rand) *Projections {
	t.Helper()
	l := newFakeLedger()
	for _, tenant := range []string{ten, other} {
		l.tenant(tenant)
	}
	l.endpoint(ten, ep1)
	l.endpoint(ten, ep2)
	l.endpoint(other, "ep_other")
	types := []string{"agent.status_changed", "agent.budget_alert", "cron.failed", "agents.x"}
	for i := range 80 {
		id := fmt.Sprintf("evt_%03d", i)
		l.event(ten, id, types[rnd.IntN(len(types))], ep1, ep2)
		l.event(other, id, types[rnd.IntN(len(types))], "ep_other")
		for range rnd.IntN(6) {
			d := l.order[rnd.IntN(len(l.order))]
			if rnd.IntN(4) == 0 {
				l.retry(d, rnd.IntN(2) == 0)
			}
			attempt := l.begin(d)
			if attempt == "" {
				continue
			}
			timings := domain.Timings{Total: int64(rnd.IntN(3_000_000))}
			addr := []string{"203.0.113.7:443", "203.0.113.77:443", "[2001:db8::1]:443"}[rnd.IntN(3)]
			switch rnd.IntN(6) {
			case 0:
				l.finish(d, domain.Outcome{Attempt: attempt, Failure: &domain.AttemptFailed{Phase: "request",
					Code: domain.CodeDNS, Sent: domain.SentNo, Timings: timings}})
			case 1:
			default:
				l.finish(d, domain.Outcome{Attempt: attempt, Response: &domain.ResponseReceived{RemoteAddr: addr,
					Status: []int{200, 204, 301, 404, 500, 503}[rnd.IntN(6)], Timings: timings}})
			}
		}
		l.pass(time.Duration(rnd.IntN(2000)) * time.Millisecond)
	}
	// What a breaker holds back is shown as held, which no row says: some histories fail often enough in a row.
	return l.opened(t, func(c *Config) {
		c.Health = domain.DefaultHealthConfig()
		c.Health.BreakAfter = 0
	})
}

// all reads every row of a tenant.
type all struct {
	events     []EventRow
	deliveries []DeliveryRow
	attempts   []AttemptRow
}

func (a *all) event(id string) *EventRow {
	return &a.events[slices.IndexFunc(a.events, func(e EventRow) bool { return e.ID == id })]
}

func (a *all) delivery(id string) *DeliveryRow {
	return &a.deliveries[slices.IndexFunc(a.deliveries, func(d DeliveryRow) bool { return d.ID == id })]
}

// The filter once more, said of rows in memory.
func (s Span) holds(t time.Time) bool {
	return (s.After.IsZero() || t.After(s.After)) && (s.Before.IsZero() || t.Before(s.Before))
}

func codeIs(got, code, class int) bool {
	return (code == 0 || got == code) && (class == 0 || got/100 == class)
}

func typeIs(got, pattern string) bool {
	return pattern == "" || domain.MatchAny([]string{pattern}, got)
}

func (w *Where) takesEvent(e *EventRow) bool {
	return w.Occurred.holds(e.Timestamp) && w.Received.holds(e.CreatedAt)
}

func (w *Where) takesDelivery(d *DeliveryRow) bool {
	return (w.DeliveryStatus == "" || d.Status == w.DeliveryStatus) && codeIs(d.LastCode, w.LastCode, w.LastClass) &&
		(w.LastError == "" || d.LastError == w.LastError) && d.Attempts >= w.AttemptsAtLeast &&
		(w.EndpointID == "" || d.EndpointID == w.EndpointID) && typeIs(d.EventType, w.EventType)
}

func (w *Where) takesAttempt(a *AttemptRow) bool {
	return w.Attempted.holds(a.StartedAt) && codeIs(a.Code, w.AttemptCode, w.AttemptClass) &&
		(w.AttemptError == "" || a.ErrorCode == w.AttemptError) && (w.Trigger == "" || a.Trigger == w.Trigger) &&
		a.Duration >= w.LatencyAtLeast && (w.RemoteAddr == "" || a.RemoteAddr == w.RemoteAddr ||
		strings.HasPrefix(a.RemoteAddr, w.RemoteAddr+":") || strings.HasPrefix(a.RemoteAddr, "["+w.RemoteAddr+"]:"))
}

func (w *Where) asksAttempts() bool {
	return w.Attempted != Span{} || w.AttemptCode+w.AttemptClass != 0 || w.AttemptError != "" || w.Trigger != "" ||
		w.LatencyAtLeast > 0 || w.RemoteAddr != ""
}

func (w *Where) asksDeliveries() bool {
	return w.DeliveryStatus != "" || w.LastCode+w.LastClass+w.AttemptsAtLeast != 0 || w.LastError != "" ||
		w.EndpointID != "" || w.EventType != "" && w.EventType != "*"
}

// deliveryWhere says whether the delivery, and one of its attempts where there is a condition on them, are as said.
func (a *all) deliveryWhere(w *Where, d *DeliveryRow) bool {
	return w.takesDelivery(d) && (!w.asksAttempts() || slices.ContainsFunc(a.attempts, func(at AttemptRow) bool {
		return at.DeliveryID == d.ID && w.takesAttempt(&at)
	}))
}

func someWhere(rnd *rand.Rand) Where {
	span := func() Span {
		s := Span{After: start.Add(time.Duration(rnd.IntN(40)) * time.Second)}
		if rnd.IntN(2) == 0 {
			s.Before = s.After.Add(time.Duration(rnd.IntN(40)) * time.Second)
		}
		return s
	}
	var w Where
	for range 1 + rnd.IntN(3) {
		switch rnd.IntN(16) {
		case 0:
			w.Occurred = span()
		case 1:
			w.Received = span()
		case 2:
			w.Attempted = span()
		case 3:
			w.DeliveryStatus = []domain.DeliveryStatus{domain.StatusSucceeded, domain.StatusRetrying}[rnd.IntN(2)]
		case 4:
			w.LastCode = []int{200, 404, 500}[rnd.IntN(3)]
		case 5:
			w.LastClass = 2 + rnd.IntN(4)
		case 6:
			w.LastError = domain.CodeHTTPStatus
		case 7:
			w.AttemptsAtLeast = 1 + rnd.IntN(3)
		case 8:
			w.AttemptCode = []int{200, 404, 500}[rnd.IntN(3)]
		case 9:
			w.AttemptClass = 2 + rnd.IntN(4)
		case 10:
			w.AttemptError = domain.CodeDNS
		case 11:
			w.Trigger = []domain.Trigger{domain.TriggerInitial, domain.TriggerAutomatic, domain.TriggerManual}[rnd.IntN(3)]
		case 12:
			w.LatencyAtLeast = time.Duration(rnd.IntN(3000)) * time.Millisecond
		case 13:
			w.RemoteAddr = []string{"203.0.113.7", "203.0.113.77:443", "2001:db8::1"}[rnd.IntN(3)]
		case 14:
			w.EndpointID = ep1
		case 15:
			w.EventType = []string{"agent.*", "cron.failed", "agent.budget_alert", "*"}[rnd.IntN(4)]
		}
	}
	return w
}

func idsOf[T any](rows []T, id func(*T) string, takes func(*T) bool) []string {
	var out []string
	for i := range rows {
		if takes == nil || takes(&rows[i]) {
			out = append(out, id(&rows[i]))
		}
	}
	return out
}

// TestAnyMixOfConditionsSelectsWhatItSays holds the lists against the same conditions said in Go, with pages that may
// look at few rows only.
func TestAnyMixOfConditionsSelectsWhatItSays(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 5))
	p := varied(t, rnd)
	ctx := t.Context()
	events := func(f EventFilter) []EventRow {
		return pages(t, f.Limit, func(c string, n int) (Page[EventRow], error) {
			f.Cursor = c
			return p.Events(ctx, f)
		})
	}
	deliveries := func(f DeliveryFilter) []DeliveryRow {
		return pages(t, f.Limit, func(c string, n int) (Page[DeliveryRow], error) {
			f.Cursor = c
			return p.Deliveries(ctx, f)
		})
	}
	attempts := func(f AttemptFilter) []AttemptRow {
		return pages(t, f.Limit, func(c string, n int) (Page[AttemptRow], error) {
			f.Cursor = c
			return p.Attempts(ctx, f)
		})
	}
	found := 0
	for range 100 {
		l := List{Tenant: ten, Ascending: rnd.IntN(2) == 0, Limit: 250}
		a := all{events(EventFilter{List: l}), deliveries(DeliveryFilter{List: l}), attempts(AttemptFilter{List: l})}
		w := someWhere(rnd)
		l.Limit, l.Walk = 1+rnd.IntN(20), 5+rnd.IntN(100)
		same := func(what string, got, want []string) {
			found += len(want)
			if !slices.Equal(got, want) {
				t.Fatalf("%s %+v %+v:\n got %v\nwant %v", what, l, w, got, want)
			}
		}
		event, delivery, attempt := func(e *EventRow) string { return e.ID }, func(d *DeliveryRow) string { return d.ID },
			func(a *AttemptRow) string { return a.ID }
		takesEvent := func(e *EventRow) bool {
			return w.takesEvent(e) && (!w.asksDeliveries() && !w.asksAttempts() ||
				slices.ContainsFunc(a.deliveries, func(d DeliveryRow) bool { return d.EventID == e.ID && a.deliveryWhere(&w, &d) }))
		}
		same("events", idsOf(events(EventFilter{List: l, Where: w}), event, nil), idsOf(a.events, event, takesEvent))
		byTime := events(EventFilter{List: l, Where: w, ByTimestamp: true})
		same("events by their time", sorted(idsOf(byTime, event, nil)), sorted(idsOf(a.events, event, takesEvent)))
		same("deliveries", idsOf(deliveries(DeliveryFilter{List: l, Where: w}), delivery, nil),
			idsOf(a.deliveries, delivery, func(d *DeliveryRow) bool {
				return a.deliveryWhere(&w, d) && w.takesEvent(a.event(d.EventID))
			}))
		same("attempts", idsOf(attempts(AttemptFilter{List: l, Where: w}), attempt, nil),
			idsOf(a.attempts, attempt, func(at *AttemptRow) bool {
				return w.takesAttempt(at) && w.takesDelivery(a.delivery(at.DeliveryID)) && w.takesEvent(a.event(at.EventID))
			}))
	}
	if found < 300 {
		t.Errorf("only %d rows were ever selected", found)
	}
}

func sorted(ids []string) []string { slices.Sort(ids); return ids }

func TestTotalsCountWhatAFilterSelects(t *testing.T) {
	t.Parallel()
	_, p := library(t)
	l := List{Tenant: ten, Limit: 3, Count: true}
	for _, c := range []struct {
		w    Where
		want int
	}{{Where{}, 40}, {Where{AttemptClass: 5}, 10}, {Where{RemoteAddr: "127.0.0.1"}, 20}, {Where{Trigger: "manual"}, 0}} {
		page, err := p.Attempts(t.Context(), AttemptFilter{List: l, Where: c.w})
		if err != nil || *page.Total != (Total{Rows: c.want}) {
			t.Errorf("%+v: %+v %v, want %d", c.w, page.Total, err, c.want)
		}
	}
}

func TestAPageLooksAtNoMoreRowsThanItMay(t *testing.T) {
	t.Parallel()
	_, p := library(t)
	page, err := p.Deliveries(t.Context(), DeliveryFilter{List: List{Tenant: ten, Walk: 10}, Where: Where{LastClass: 9}})
	if err != nil || len(page.Rows) != 0 || !page.HasMore || page.NextCursor == "" {
		t.Errorf("%+v %v", page, err)
	}
}
