package projections

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/huandu/go-sqlbuilder"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// Bounds of List.Limit.
const (
	DefaultLimit = 50
	MaxLimit     = 250
)

// list is a query in the making. The index is chosen here and not by SQLite, which knows nothing of how the rows are
// distributed: each index ends in the key of the list's order, so that no plan sorts, other than one event's rows
// and what is held.
type list struct {
	List
	access
	sb      *sqlbuilder.SelectBuilder
	bounds  *sqlbuilder.SelectBuilder // the same rows of the index, before what is checked row by row
	walked  bool                      // something is
	created string                    // the column that says when
	// prefix is that of ids that begin with that time, and so are the order; empty: the column is, and then the id.
	prefix string
}

func newList(l List, table, index, columns, created, prefix string) *list {
	if l.Limit <= 0 {
		l.Limit = DefaultLimit
	}
	l.Limit = min(l.Limit, MaxLimit)
	out := &list{List: l, access: accesses[index], created: created, prefix: prefix,
		sb: sqlbuilder.SQLite.NewSelectBuilder(), bounds: sqlbuilder.SQLite.NewSelectBuilder()}
	out.sb.Select(columns)
	if prefix == "" {
		out.bounds.Select(created, "id")
	} else {
		out.bounds.Select("0", "id") // the index alone answers it
	}
	if index != "" {
		table += " INDEXED BY " + index
	}
	out.key(func(sb *sqlbuilder.SelectBuilder) string {
		sb.From(table)
		return sb.Equal("tenant", l.Tenant)
	})
	if out.partial != "" {
		out.key(func(*sqlbuilder.SelectBuilder) string { return out.partial })
	}
	return out
}

// key adds a condition that the index answers.
func (l *list) key(condition func(*sqlbuilder.SelectBuilder) string) {
	l.sb.Where(condition(l.sb))
	l.bounds.Where(condition(l.bounds))
}

// check adds conditions that each row of the index is held against.
func (l *list) check(conditions ...string) {
	if len(conditions) > 0 {
		l.sb.Where(conditions...)
		l.walked = true
	}
}

// where adds a condition on a column, if there is a value.
func (l *list) where(column, value string) {
	if value != "" {
		l.equal(column, value)
	}
}

func (l *list) equal(column string, value any) {
	if slices.Contains(l.columns, column) {
		l.key(func(sb *sqlbuilder.SelectBuilder) string { return sb.Equal(column, value) })
	} else {
		l.check(l.sb.Equal(column, value))
	}
}

// matching is a condition on a column of event types.
func matching(sb *sqlbuilder.SelectBuilder, column, pattern string) []string {
	switch prefix, isPrefix := strings.CutSuffix(pattern, "*"); {
	case pattern == "" || pattern == "*":
		return nil
	case isPrefix:
		// The types below "agent." are those from "agent." to "agent/", the next byte.
		return []string{sb.GreaterThan(column, prefix), sb.LessThan(column, strings.TrimSuffix(prefix, ".")+"/")}
	default:
		return []string{sb.Equal(column, pattern)}
	}
}

// eventType adds a condition on the type, which an index answers where it is no pattern.
func (l *list) eventType(pattern string) {
	if slices.Contains(l.columns, "event") {
		l.equal("event", pattern)
		return
	}
	l.check(matching(l.sb, "event", pattern)...)
}

// build adds the range, the order and the limit: one row more than asked for says whether there are more.
func (l *list) build() (string, []any, error) {
	var c cursor
	if l.Cursor != "" {
		var err error
		if c, err = decodeCursor(l.Cursor); err != nil {
			return "", nil, err
		}
	}
	l.order(l.sb, c)
	l.order(l.bounds, c)
	if l.prefix != "" { // ids hold the time to the millisecond; the rows are held against the rest of it
		l.within(l.sb)
	}
	query, args := l.sb.Limit(l.Limit + 1).Build()
	return query, args, nil
}

// order adds the range and the order, from behind the cursor on.
func (l *list) order(sb *sqlbuilder.SelectBuilder, c cursor) {
	if l.prefix == "" {
		l.within(sb)
	} else {
		if !l.CreatedAfter.IsZero() {
			sb.Where(sb.GreaterEqualThan("id", firstID(l.prefix, l.CreatedAfter)))
		}
		if !l.CreatedBefore.IsZero() {
			sb.Where(sb.LessThan("id", firstID(l.prefix, l.CreatedBefore.Add(time.Millisecond))))
		}
	}
	order, compare := " DESC", "<"
	if l.Ascending {
		order, compare = " ASC", ">"
	}
	if c.id != "" {
		l.bound(sb, compare, c)
	}
	if l.prefix == "" {
		sb.OrderBy(l.created + order)
	}
	sb.OrderBy("id" + order)
}

// within adds the range of the column that says when.
func (l *list) within(sb *sqlbuilder.SelectBuilder) {
	if s := within(sb, l.created, Span{l.CreatedAfter, l.CreatedBefore}); len(s) > 0 {
		sb.Where(s...)
	}
}

// bound adds a condition on the list's key.
func (l *list) bound(sb *sqlbuilder.SelectBuilder, compare string, c cursor) {
	if l.prefix != "" {
		sb.Where("id " + compare + " " + sb.Var(c.id))
	} else {
		sb.Where("(" + l.created + ", id) " + compare + " (" + sb.Var(c.at) + ", " + sb.Var(c.id) + ")")
	}
}

// firstID is the lowest id of its kind that begins with the time, to the millisecond.
func firstID(prefix string, t time.Time) string {
	var u ulid.ULID
	if err := u.SetTime(uint64(max(t.UnixMilli(), 0))); err != nil {
		_ = u.SetTime(ulid.MaxTime())
	}
	return domain.NewID(prefix, u)
}

// Events lists events.
func (p *Projections) Events(ctx context.Context, f EventFilter) (Page[EventRow], error) {
	return page(ctx, p.db, eventList(f), scanEvent, func(e *EventRow) cursor {
		if f.ByTimestamp {
			return cursor{micros(e.Timestamp), e.ID}
		}
		return cursor{micros(e.CreatedAt), e.ID}
	})
}

func eventList(f EventFilter) *list {
	index, created := "", "created_at"
	switch {
	case f.ByTimestamp:
		index, created = "events_timestamp", "timestamp"
		f.Where.Received = f.Where.Received.and(Span{f.CreatedAfter, f.CreatedBefore})
		f.CreatedAfter, f.CreatedBefore = f.Where.Occurred.After, f.Where.Occurred.Before
		f.Where.Occurred = Span{}
	case f.ID != "", f.Where.Events != nil:
		index = "events_id"
	case f.Type != "" && !strings.HasSuffix(f.Type, "*"):
		index = "events_event"
	}
	l := newList(f.List, "events", index, eventColumns, created, "")
	l.where("id", f.ID)
	l.eventType(f.Type)
	l.found(f.Where.Events, "id")
	l.check(f.Where.onEvent(l.sb, "events.")...)
	l.related(&f.Where, "events")
	return l
}

// Deliveries lists deliveries. Those that wait at a disabled endpoint are held, and not pending or retrying; so are
// those that are due at one whose breaker is open, or that asked for a pause, and those that a paused replay has
// scheduled.
func (p *Projections) Deliveries(ctx context.Context, f DeliveryFilter) (Page[DeliveryRow], error) {
	paused, err := p.pausedReplays(ctx, f.Tenant)
	if err != nil {
		return Page[DeliveryRow]{}, err
	}
	holding := p.holding(f.Tenant, paused)
	l := deliveryList(f, holding)
	out, err := page(ctx, p.db, l, scanDelivery, func(d *DeliveryRow) cursor { return cursor{micros(d.CreatedAt), d.ID} })
	for i := range out.Rows {
		p.hold(&out.Rows[i], holding.paused)
	}
	return out, err
}

// deliveryList is the query of Deliveries.
func deliveryList(f DeliveryFilter, holding held) *list {
	index := ""
	switch {
	case f.EventID != "", f.Where.Events != nil:
		index = "deliveries_event"
	case f.Replay != "" && f.Status != "" && f.Status != domain.StatusSucceeded && f.Status != domain.StatusHeld:
		index = "deliveries_replay_status"
	case f.Replay != "":
		index = "deliveries_replay"
	case f.EndpointID != "":
		index = "deliveries_endpoint"
	case f.Status == domain.StatusHeld:
		index = "deliveries_due" // what waits has to be sorted, but not the whole history searched
	case f.Status != "" && f.Status != domain.StatusSucceeded:
		index = "deliveries_status"
	case f.Code != 0 && responseError(f.Code) != "":
		index = "deliveries_code"
	case f.Where.LastError != "":
		index = "deliveries_error"
	case f.Where.AttemptsAtLeast > 1:
		index = "deliveries_retried"
	}
	l := newList(f.List, "deliveries", index, deliveryColumns, "created_at", domain.PrefixDelivery)
	if f.Where.DeliveryID != "" { // the table's key: one row at most
		l.few = true
		l.key(func(sb *sqlbuilder.SelectBuilder) string { return sb.Equal("id", f.Where.DeliveryID) })
	}
	l.where("replay", f.Replay)
	l.where("event_id", f.EventID)
	l.where("endpoint_id", f.EndpointID)
	l.where("last_error", string(f.Where.LastError))
	f.Where.LastError = ""
	if f.Code != 0 {
		l.equal("last_code", f.Code)
	}
	l.eventType(f.EventType)
	l.found(f.Where.Events, "event_id")
	l.check(f.Where.onDelivery(l.sb, "deliveries.")...)
	l.related(&f.Where, "deliveries")
	switch f.Status {
	case "":
	case domain.StatusHeld:
		l.check("due_at > 0", holding.condition(l.sb))
	case domain.StatusPending, domain.StatusRetrying:
		l.where("status", string(f.Status))
		if !holding.none() {
			l.check("NOT " + holding.condition(l.sb))
		}
	default:
		l.where("status", string(f.Status))
	}
	return l
}

// Attempts lists attempts, by when they started.
func (p *Projections) Attempts(ctx context.Context, f AttemptFilter) (Page[AttemptRow], error) {
	return page(ctx, p.db, attemptList(f), scanAttempt,
		func(a *AttemptRow) cursor { return cursor{micros(a.StartedAt), a.ID} })
}

func attemptList(f AttemptFilter) *list {
	index := ""
	switch {
	case f.DeliveryID != "":
		index = "attempts_delivery"
	case f.EventID != "", f.Where.Events != nil:
		index = "attempts_delivery"
	case f.EndpointID != "":
		index = "attempts_endpoint"
	case f.ErrorCode != "":
		index = "attempts_error"
	case f.Code != 0 && responseError(f.Code) != "":
		index = "attempts_code"
	case f.Status != "" && f.Status != AttemptSucceeded:
		index = "attempts_status"
	case f.Where.Trigger != "" && f.Where.Trigger != domain.TriggerInitial:
		index = "attempts_trigger"
	case f.Where.LatencyAtLeast >= slow:
		index = "attempts_slow"
	}
	attempted := f.Where.Attempted.and(Span{f.CreatedAfter, f.CreatedBefore})
	f.CreatedAfter, f.CreatedBefore, f.Where.Attempted = attempted.After, attempted.Before, Span{}
	l := newList(f.List, "attempts", index, attemptColumns, "started_at", domain.PrefixAttempt)
	l.where("delivery_id", f.DeliveryID)
	if f.EventID != "" {
		// An event has few deliveries: their attempts are found by these, without an index of their own.
		l.few = true
		l.sb.Where("delivery_id IN (SELECT d.id FROM deliveries d INDEXED BY deliveries_event WHERE d.tenant = " +
			l.sb.Var(f.Tenant) + " AND d.event_id = " + l.sb.Var(f.EventID) + ")")
	}
	l.where("endpoint_id", f.EndpointID)
	l.where("status", string(f.Status))
	l.where("error_code", string(f.ErrorCode))
	if f.Code != 0 {
		l.equal("code", f.Code)
	}
	l.where("trigger", string(f.Where.Trigger))
	f.Where.Trigger = ""
	l.attemptsFound(f.Where.Events)
	l.check(f.Where.onAttempt(l.sb, "attempts.")...)
	l.related(&f.Where, "attempts")
	return l
}
