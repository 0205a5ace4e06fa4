package projections

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

const other = "other"

// library is a history with something for each filter.
func library(t *testing.T) (*fakeLedger, *Projections) {
	t.Helper()
	l := newFakeLedger()
	l.tenant(ten)
	l.tenant(other)
	l.endpoint(ten, ep1)
	l.endpoint(ten, ep2)
	l.endpoint(other, "ep_other")
	types := []string{"agent.status_changed", "agent.budget_alert", "cron.failed", "agents.x", "agent"}
	for i := range 60 {
		l.event(ten, fmt.Sprintf("evt_%03d", i), types[i%len(types)], ep1, ep2)
		d := l.order[len(l.order)-1]
		switch i % 6 {
		case 0:
			l.deliver(d)
		case 1:
			l.respond(d, l.begin(d), 500)
		case 2:
			l.fail(d, l.begin(d), domain.CodeDNS)
		case 3:
			l.cancel(d)
		case 4:
			l.begin(d)
		}
		if i%3 == 0 {
			l.pass(time.Second)
		}
	}
	l.event(other, "evt_000", "cron.failed", "ep_other")
	return l, l.opened(t, nil)
}

// pages follows the cursors to the end, whatever the size of the pages.
func pages[T any](t *testing.T, limit int, list func(cursor string, limit int) (Page[T], error)) []T {
	t.Helper()
	var out []T
	for cursor := ""; ; {
		p, err := list(cursor, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Rows) > limit || p.HasMore != (p.NextCursor != "") || p.AsOfPosition == 0 || p.AsOf.IsZero() {
			t.Fatalf("page %+v", p)
		}
		out = append(out, p.Rows...)
		if !p.HasMore {
			return out
		}
		cursor = p.NextCursor
	}
}

func TestListsAreCompleteInOrderForAnyPageSize(t *testing.T) {
	t.Parallel()
	_, p := library(t)
	for _, limit := range []int{1, 7, 250} {
		for _, ascending := range []bool{false, true} {
			l := List{Tenant: ten, Ascending: ascending}
			events := pages(t, limit, func(c string, n int) (Page[EventRow], error) {
				l.Cursor, l.Limit = c, n
				return p.Events(t.Context(), EventFilter{List: l})
			})
			deliveries := pages(t, limit, func(c string, n int) (Page[DeliveryRow], error) {
				l.Cursor, l.Limit = c, n
				return p.Deliveries(t.Context(), DeliveryFilter{List: l})
			})
			attempts := pages(t, limit, func(c string, n int) (Page[AttemptRow], error) {
				l.Cursor, l.Limit = c, n
				return p.Attempts(t.Context(), AttemptFilter{List: l})
			})
			if len(events) != 60 || len(deliveries) != 120 || len(attempts) != 40 {
				t.Errorf("limit %d: %d events, %d deliveries, %d attempts", limit, len(events), len(deliveries), len(attempts))
			}
			sorted := func(at func(i int) time.Time, n int) {
				for i := 1; i < n; i++ {
					if d := at(i).Sub(at(i - 1)); d != 0 && (d > 0) != ascending {
						t.Fatalf("limit %d, ascending %v: not in order at %d", limit, ascending, i)
					}
				}
			}
			sorted(func(i int) time.Time { return events[i].CreatedAt }, len(events))
			sorted(func(i int) time.Time { return deliveries[i].CreatedAt }, len(deliveries))
			sorted(func(i int) time.Time { return attempts[i].StartedAt }, len(attempts))
		}
	}
}

func TestListsSelectWhatTheFilterSays(t *testing.T) {
	t.Parallel()
	l, p := library(t)
	ctx := t.Context()
	all := List{Tenant: ten, Limit: MaxLimit}
	events := func(f EventFilter) int {
		f.List.Tenant, f.List.Limit = all.Tenant, all.Limit
		page, err := p.Events(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Rows)
	}
	for f, want := range map[string]int{"": 60, "*": 60, "agent.*": 24, "agent.budget_alert": 12, "agent": 12,
		"agents.*":  12,
		"nothing.*": 0, "agent.budget_alert.*": 0} {
		if got := events(EventFilter{Type: f}); got != want {
			t.Errorf("events of %q: %d, want %d", f, got, want)
		}
	}
	if got := events(EventFilter{List: List{CreatedAfter: start, CreatedBefore: start.Add(3 * time.Second)}}); got != 6 {
		t.Errorf("events between: %d", got)
	}
	for _, c := range []struct {
		f    DeliveryFilter
		want int
	}{
		{DeliveryFilter{EndpointID: ep2}, 60}, {DeliveryFilter{EventID: "evt_004"}, 2},
		{DeliveryFilter{EventID: "evt_004", EndpointID: ep1}, 1}, {DeliveryFilter{EventType: "cron.*"}, 24},
		{DeliveryFilter{Status: domain.StatusSucceeded}, 10}, {DeliveryFilter{Status: domain.StatusRetrying}, 20},
		{DeliveryFilter{Status: domain.StatusCancelled}, 10}, {DeliveryFilter{Status: domain.StatusInFlight}, 10},
		{DeliveryFilter{Status: domain.StatusPending, EndpointID: ep1}, 60}, {DeliveryFilter{Status: domain.StatusHeld}, 0},
		{DeliveryFilter{Code: 500}, 10}, {DeliveryFilter{Code: 200}, 10}, {DeliveryFilter{Code: 404}, 0},
	} {
		c.f.List = all
		page, err := p.Deliveries(ctx, c.f)
		if err != nil || len(page.Rows) != c.want {
			t.Errorf("deliveries %+v: %d %v, want %d", c.f, len(page.Rows), err, c.want)
		}
	}
	for _, c := range []struct {
		f    AttemptFilter
		want int
	}{
		{AttemptFilter{EndpointID: ep2}, 40}, {AttemptFilter{EndpointID: ep1}, 0}, {AttemptFilter{EventID: "evt_001"}, 1},
		{AttemptFilter{DeliveryID: l.order[1]}, 1}, {AttemptFilter{Status: AttemptInFlight}, 10},
		{AttemptFilter{Status: AttemptFailed}, 20}, {AttemptFilter{Status: AttemptSucceeded}, 10},
		{AttemptFilter{Code: 500}, 10}, {AttemptFilter{Code: 200}, 10}, {AttemptFilter{ErrorCode: domain.CodeDNS}, 10},
		{AttemptFilter{ErrorCode: domain.CodeHTTPStatus, Code: 500}, 10},
	} {
		c.f.List = all
		page, err := p.Attempts(ctx, c.f)
		if err != nil || len(page.Rows) != c.want {
			t.Errorf("attempts %+v: %d %v, want %d", c.f, len(page.Rows), err, c.want)
		}
	}
}

func TestListsAnswerOnlyTheTenantsOwn(t *testing.T) {
	t.Parallel()
	l, p := library(t)
	page, err := p.Events(t.Context(), EventFilter{List: List{Tenant: other}})
	if err != nil || len(page.Rows) != 1 || page.Rows[0].Tenant != other {
		t.Errorf("%+v %v", page.Rows, err)
	}
	for what, err := range map[string]error{
		"event":    second(p.Event(t.Context(), other, "evt_001")),
		"delivery": second(p.Delivery(t.Context(), other, l.order[0])),
		"attempt":  second(p.Attempt(t.Context(), other, "att_1")),
	} {
		if domain.Code(err) != what+"_not_found" {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The same event id in two tenants is two events.
	if e, err := p.Event(t.Context(), other, "evt_000"); err != nil || e.Event != "cron.failed" || e.Deliveries != 1 {
		t.Errorf("%+v %v", e, err)
	}
	if d, err := p.EventDeliveries(t.Context(), ten, "evt_000"); err != nil || len(d) != 2 || d[0].EndpointID != ep1 {
		t.Errorf("%+v %v", d, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestACursorThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	_, p := ready(t, nil)
	for _, c := range []string{"x", "!!!", "YWJj", cursor{5, ""}.encode()} {
		_, err := p.Events(t.Context(), EventFilter{List: List{Tenant: ten, Cursor: c}})
		if domain.Code(err) != "invalid_cursor" {
			t.Errorf("%q: %v", c, err)
		}
	}
}

// explaining is a queryer that keeps the plans of what it is asked.
type explaining struct {
	queryer
	plans []string
}

func (e *explaining) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	err := scanRows(ctx, e.queryer, "EXPLAIN QUERY PLAN "+query, args, func(rows *sql.Rows) error {
		var id, parent, unused int
		var detail string
		err := rows.Scan(&id, &parent, &unused, &detail)
		e.plans = append(e.plans, detail)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e.queryer.QueryContext(ctx, query, args...)
}

func TestNoListScansOrSortsATable(t *testing.T) {
	t.Parallel()
	_, p := library(t)
	var lists []*list
	l := List{Tenant: ten, Cursor: cursor{5, "x"}.encode(), CreatedAfter: start}
	for _, typ := range []string{"", "agent.*", "cron.failed"} {
		lists = append(lists, eventList(EventFilter{List: l, Type: typ}))
	}
	for _, f := range []DeliveryFilter{{}, {EndpointID: ep1}, {EventID: "evt_1"}, {EventType: "a.b"},
		{Status: domain.StatusPending}, {Status: domain.StatusSucceeded}, {Code: 500}, {Code: 200}, {Replay: rpl1},
		{Replay: rpl1, Status: domain.StatusExhausted}} {
		f.List = l
		lists = append(lists, deliveryList(f, held{disabled: []any{ep1}}))
	}
	for _, f := range []AttemptFilter{{}, {EndpointID: ep1}, {DeliveryID: "dlv_1"}, {Status: AttemptFailed}, {Code: 500},
		{ErrorCode: domain.CodeDNS}, {Status: AttemptSucceeded}} {
		f.List = l
		lists = append(lists, attemptList(f))
	}
	span := Span{After: start, Before: start.Add(time.Hour)}
	for _, w := range []Where{{Occurred: span}, {Received: span}, {Attempted: span},
		{DeliveryStatus: domain.StatusExhausted}, {DeliveryID: "dlv_1"}, {LastCode: 500}, {LastClass: 5},
		{LastError: domain.CodeDNS}, {AttemptsAtLeast: 3}, {AttemptCode: 500},
		{AttemptClass: 4}, {AttemptError: domain.CodeDNS}, {Trigger: domain.TriggerManual}, {LatencyAtLeast: slow},
		{RemoteAddr: "203.0.113.7"}, {EndpointID: ep1}, {EventType: "agent.*"}, {Replay: rpl1}} {
		lists = append(lists, eventList(EventFilter{List: l, Where: w}),
			eventList(EventFilter{List: l, Where: w, ByTimestamp: true}),
			deliveryList(DeliveryFilter{List: l, Where: w}, held{}), attemptList(AttemptFilter{List: l, Where: w}))
	}
	for _, status := range []domain.ReplayStatus{"", domain.ReplayIsPaused} {
		lists = append(lists, replayList(ReplayFilter{List: l, Status: status}))
	}
	for _, l := range lists {
		query, args, err := l.build()
		if err != nil {
			t.Fatal(err)
		}
		e := &explaining{queryer: p.db.r}
		if err := scanRows(t.Context(), e, query, args, func(*sql.Rows) error { return nil }); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if _, err := l.end(t.Context(), e, 5); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if slices.ContainsFunc(e.plans, func(d string) bool {
			return strings.HasPrefix(d, "SCAN ") || strings.Contains(d, "TEMP B-TREE")
		}) || len(e.plans) == 0 {
			t.Errorf("%s\n  %v", query, e.plans)
		}
	}
	e := &explaining{queryer: p.db.r}
	if err := scanRows(t.Context(), e, refillQuery, []any{ten, ep1, "", 5, "x", 10},
		func(*sql.Rows) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if len(e.plans) != 1 || !strings.Contains(e.plans[0], "(due_at,id)>(?,?)") || strings.Contains(e.plans[0], "B-TREE") {
		t.Errorf("refill: %v", e.plans)
	}
}
