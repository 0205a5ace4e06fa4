package projections

import (
	"context"
	"database/sql"
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
	sb      *sqlbuilder.SelectBuilder
	created string // the column that says when
	prefix  string // of ids that begin with that time, and so are the order; empty: the column is, and then the id
}

func newList(l List, table, index, columns, created, prefix string) *list {
	sb := sqlbuilder.SQLite.NewSelectBuilder()
	sb.Select(columns)
	if index != "" {
		table += " INDEXED BY " + index
	}
	sb.From(table)
	sb.Where(sb.Equal("tenant", l.Tenant))
	if l.Limit <= 0 {
		l.Limit = DefaultLimit
	}
	l.Limit = min(l.Limit, MaxLimit)
	return &list{List: l, sb: sb, created: created, prefix: prefix}
}

// where adds a condition on a column, if there is a value.
func (l *list) where(column, value string) {
	if value != "" {
		l.sb.Where(l.sb.Equal(column, value))
	}
}

// matching adds a condition on a column of event types.
func (l *list) matching(column, pattern string) {
	switch prefix, isPrefix := strings.CutSuffix(pattern, "*"); {
	case pattern == "" || pattern == "*":
	case isPrefix:
		// The types below "agent." are those from "agent." to "agent/", the next byte.
		l.sb.Where(l.sb.GreaterThan(column, prefix), l.sb.LessThan(column, strings.TrimSuffix(prefix, ".")+"/"))
	default:
		l.sb.Where(l.sb.Equal(column, pattern))
	}
}

// build adds the range, the order and the limit: one row more than asked for says whether there are more.
func (l *list) build() (string, []any, error) {
	if !l.CreatedAfter.IsZero() {
		l.sb.Where(l.sb.GreaterThan(l.created, l.CreatedAfter.UnixMicro()))
		if l.prefix != "" {
			l.sb.Where(l.sb.GreaterEqualThan("id", firstID(l.prefix, l.CreatedAfter)))
		}
	}
	if !l.CreatedBefore.IsZero() {
		l.sb.Where(l.sb.LessThan(l.created, l.CreatedBefore.UnixMicro()))
		if l.prefix != "" {
			l.sb.Where(l.sb.LessThan("id", firstID(l.prefix, l.CreatedBefore.Add(time.Millisecond))))
		}
	}
	order, compare := " DESC", "<"
	if l.Ascending {
		order, compare = " ASC", ">"
	}
	if l.Cursor != "" {
		c, err := decodeCursor(l.Cursor)
		if err != nil {
			return "", nil, err
		}
		if l.prefix != "" {
			l.sb.Where("id " + compare + " " + l.sb.Var(c.id))
		} else {
			l.sb.Where("(" + l.created + ", id) " + compare + " (" + l.sb.Var(c.at) + ", " + l.sb.Var(c.id) + ")")
		}
	}
	if l.prefix == "" {
		l.sb.OrderBy(l.created + order)
	}
	l.sb.OrderBy("id" + order).Limit(l.Limit + 1)
	query, args := l.sb.Build()
	return query, args, nil
}

// firstID is the lowest id of its kind that begins with the time, to the millisecond.
func firstID(prefix string, t time.Time) string {
	var u ulid.ULID
	if err := u.SetTime(uint64(max(t.UnixMilli(), 0))); err != nil {
		_ = u.SetTime(ulid.MaxTime())
	}
	return domain.NewID(prefix, u)
}

// page runs a list's query on one state of the rows.
func page[T any](ctx context.Context, db *database, l *list, scan func(*sql.Rows, *T) error,
	at func(*T) cursor) (Page[T], error) {
	query, args, err := l.build()
	if err != nil {
		return Page[T]{}, err
	}
	out := Page[T]{Rows: make([]T, 0, l.Limit+1)}
	err = db.view(ctx, func(q queryer, c checkpoint) error {
		out.AsOfPosition, out.AsOf = c.position, fromMicros(c.at)
		return scanRows(ctx, q, query, args, func(rows *sql.Rows) error {
			var row T
			err := scan(rows, &row)
			out.Rows = append(out.Rows, row)
			return err
		})
	})
	if err != nil {
		return Page[T]{}, err
	}
	if len(out.Rows) > l.Limit {
		out.Rows, out.HasMore = out.Rows[:l.Limit], true
		out.NextCursor = at(&out.Rows[l.Limit-1]).encode()
	}
	return out, nil
}

// Events lists events.
func (p *Projections) Events(ctx context.Context, f EventFilter) (Page[EventRow], error) {
	return page(ctx, p.db, eventList(f), scanEvent, func(e *EventRow) cursor { return cursor{micros(e.CreatedAt), e.ID} })
}

func eventList(f EventFilter) *list {
	index := ""
	if f.Type != "" && !strings.HasSuffix(f.Type, "*") {
		index = "events_event"
	}
	l := newList(f.List, "events", index, eventColumns, "created_at", "")
	l.matching("event", f.Type)
	return l
}

// Deliveries lists deliveries. Those that wait at a disabled endpoint are held, and not pending or retrying.
func (p *Projections) Deliveries(ctx context.Context, f DeliveryFilter) (Page[DeliveryRow], error) {
	l := deliveryList(f, p.disabled(f.Tenant))
	out, err := page(ctx, p.db, l, scanDelivery, func(d *DeliveryRow) cursor { return cursor{micros(d.CreatedAt), d.ID} })
	for i := range out.Rows {
		p.hold(&out.Rows[i])
	}
	return out, err
}

// deliveryList is the query of Deliveries; held are the endpoints that are disabled.
func deliveryList(f DeliveryFilter, held []any) *list {
	index := ""
	switch {
	case f.EventID != "":
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
	}
	l := newList(f.List, "deliveries", index, deliveryColumns, "created_at", domain.PrefixDelivery)
	if index == "deliveries_status" || index == "deliveries_replay_status" {
		l.sb.Where("status <> 'succeeded'") // as the index says it
	}
	if f.Replay != "" {
		l.sb.Where("replay <> ''", l.sb.Equal("replay", f.Replay))
	}
	if index == "deliveries_code" {
		l.sb.Where("last_error <> ''")
	}
	l.where("event_id", f.EventID)
	l.where("endpoint_id", f.EndpointID)
	l.matching("event", f.EventType)
	if f.Code != 0 {
		l.sb.Where(l.sb.Equal("last_code", f.Code))
	}
	switch f.Status {
	case "":
	case domain.StatusHeld:
		l.sb.Where("due_at > 0", l.sb.In("endpoint_id", held...))
	case domain.StatusPending, domain.StatusRetrying:
		l.where("status", string(f.Status))
		if len(held) > 0 {
			l.sb.Where(l.sb.NotIn("endpoint_id", held...))
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
	case f.DeliveryID != "", f.EventID != "":
		index = "attempts_delivery"
	case f.EndpointID != "":
		index = "attempts_endpoint"
	case f.ErrorCode != "":
		index = "attempts_error"
	case f.Code != 0 && responseError(f.Code) != "":
		index = "attempts_code"
	case f.Status != "" && f.Status != AttemptSucceeded:
		index = "attempts_status"
	}
	l := newList(f.List, "attempts", index, attemptColumns, "started_at", domain.PrefixAttempt)
	switch index {
	case "attempts_error", "attempts_code":
		l.sb.Where("error_code <> ''") // as the index says it
	case "attempts_status":
		l.sb.Where("status <> 'succeeded'")
	}
	l.where("delivery_id", f.DeliveryID)
	if f.EventID != "" {
		// An event has few deliveries: their attempts are found by these, without an index of their own.
		l.sb.Where("delivery_id IN (SELECT d.id FROM deliveries d INDEXED BY deliveries_event WHERE d.tenant = " +
			l.sb.Var(f.Tenant) + " AND d.event_id = " + l.sb.Var(f.EventID) + ")")
	}
	l.where("endpoint_id", f.EndpointID)
	l.where("status", string(f.Status))
	l.where("error_code", string(f.ErrorCode))
	if f.Code != 0 {
		l.sb.Where(l.sb.Equal("code", f.Code))
	}
	return l
}

// disabled names the tenant's endpoints that hold their deliveries back.
func (p *Projections) disabled(tenant string) []any {
	var out []any
	if r, ok := p.directory.Routing(tenant); ok {
		for _, e := range r.Endpoints {
			if e.Disabled {
				out = append(out, e.ID)
			}
		}
	}
	return out
}

// hold derives the status of what waits at a disabled endpoint.
func (p *Projections) hold(d *DeliveryRow) {
	if d.DueAt.IsZero() {
		return
	}
	if e, ok := p.directory.Endpoint(d.Tenant, d.EndpointID); ok && e.Disabled {
		d.Status = domain.StatusHeld
	}
}
