package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"hookledger/domain"
)

// The columns of the tables, in the order in which they are written and read.
const (
	eventColumns = "tenant, created_at, id, event, schema_version, timestamp, source, sequence, size, deliveries, position"

	deliveryColumns = "tenant, created_at, id, event_id, event, endpoint_id, status, attempts, due_at, updated_at, " +
		"completed_at, last_code, last_error, revision, replay, position, line, succeeded_at"

	attemptColumns = "tenant, started_at, id, delivery_id, event_id, endpoint_id, n, trigger, forced, status, code, " +
		"error_code, duration_us, remote_addr, late"
)

// load reads the rows that the records are about and that stand in the tables, in one query a table.
func (b *batch) load(ctx context.Context, q queryer, records []*domain.Record) error {
	var events []string
	var eventTenant string
	deliveries, attempts := map[string][]string{}, map[string][]string{} // ids by tenant
	for _, r := range records {
		switch f := r.Fact.(type) {
		case *domain.EventReceived:
			b.events[eventKey(r.Tenant, r.Stream.ID())] = nil
		case *domain.EventRouted:
			// Only the first record of a batch can be cut off from its EventReceived.
			if key := eventKey(r.Tenant, r.Stream.ID()); !has(b.events, key) {
				b.events[key] = nil
				events, eventTenant = append(events, r.Stream.ID()), r.Tenant
			}
			for _, m := range f.Matches {
				b.deliveries[m.Delivery] = nil
			}
		case *domain.AttemptStarted:
			b.attempts[f.Attempt] = nil
		case *domain.ResponseReceived:
			b.needAttempt(attempts, r.Tenant, f.Attempt)
		case *domain.AttemptFailed:
			b.needAttempt(attempts, r.Tenant, f.Attempt)
		case *domain.AttemptInterrupted:
			b.needAttempt(attempts, r.Tenant, f.Attempt)
		}
		if r.Stream.Category() == domain.CategoryDelivery {
			if id := r.Stream.ID(); !has(b.deliveries, id) {
				b.deliveries[id] = nil
				// A stream's first record says all that is needed of the row: it was routed, and nothing else.
				if _, first := r.Fact.(*domain.DeliveryScheduled); !first {
					deliveries[r.Tenant] = append(deliveries[r.Tenant], id)
				}
			}
		}
	}
	if err := b.loadReplays(ctx, q, records); err != nil {
		return fmt.Errorf("load replays: %w", err)
	}
	if err := b.loadEvents(ctx, q, eventTenant, events); err != nil {
		return fmt.Errorf("load events: %w", err)
	}
	if err := b.loadDeliveries(ctx, q, deliveries); err != nil {
		return fmt.Errorf("load deliveries: %w", err)
	}
	if err := b.loadAttempts(ctx, q, attempts); err != nil {
		return fmt.Errorf("load attempts: %w", err)
	}
	return nil
}

func has[V any](m map[string]V, key string) bool { _, ok := m[key]; return ok }

func (b *batch) needAttempt(ids map[string][]string, tenant, id string) {
	if !has(b.attempts, id) {
		b.attempts[id] = nil
		ids[tenant] = append(ids[tenant], id)
	}
}

// each scans the rows of ids by tenant; the query takes a tenant and its ids as a JSON array.
func each(ctx context.Context, q queryer, query string, ids map[string][]string, scan func(*sql.Rows) error) error {
	for tenant, some := range ids {
		list, err := json.Marshal(some)
		if err != nil {
			return err
		}
		if err := scanRows(ctx, q, query, []any{tenant, string(list)}, scan); err != nil {
			return err
		}
	}
	return nil
}

func scanRows(ctx context.Context, q queryer, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// collect gives the rows of a query on what readers see, each as scan reads it.
func collect[T any](ctx context.Context, p *Projections, query string, args []any,
	scan func(*sql.Rows, *T) error) ([]T, error) {
	var out []T
	err := scanRows(ctx, p.db.r, query, args, func(rows *sql.Rows) error {
		var row T
		err := scan(rows, &row)
		out = append(out, row)
		return err
	})
	return out, p.db.broken(err)
}

func (b *batch) loadEvents(ctx context.Context, q queryer, tenant string, ids []string) error {
	for _, id := range ids {
		err := scanRows(ctx, q, "SELECT "+eventColumns+" FROM events WHERE tenant = ? AND id = ?", []any{tenant, id},
			func(rows *sql.Rows) error {
				e := &eventState{stored: true}
				b.events[eventKey(tenant, id)] = e
				return scanEvent(rows, &e.EventRow)
			})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) loadDeliveries(ctx context.Context, q queryer, ids map[string][]string) error {
	const query = "SELECT " + deliveryColumns + " FROM deliveries WHERE tenant = ? AND " +
		"id IN (SELECT value FROM json_each(?))"
	return each(ctx, q, query, ids, func(rows *sql.Rows) error {
		var row DeliveryRow
		if err := scanDelivery(rows, &row); err != nil {
			return err
		}
		d := &deliveryState{stored: true, eventType: row.EventType, createdAt: micros(row.CreatedAt),
			updatedAt: micros(row.UpdatedAt), completedAt: micros(row.CompletedAt), lastCode: row.LastCode,
			lastError: row.LastError, replay: row.Replay, position: row.Routed, line: row.InLine,
			succeededAt: micros(row.SucceededAt)}
		d.Delivery = *domain.NewDelivery()
		d.Tenant, d.ID, d.Event, d.Endpoint, d.Status = row.Tenant, row.ID, row.EventID, row.EndpointID, row.Status
		d.Attempts, d.DueAt, d.Revision = row.Attempts, row.DueAt, row.Revision
		b.deliveries[d.ID] = d
		return nil
	})
}

func (b *batch) loadAttempts(ctx context.Context, q queryer, ids map[string][]string) error {
	const query = "SELECT " + attemptColumns + " FROM attempts WHERE tenant = ? AND " +
		"id IN (SELECT value FROM json_each(?))"
	return each(ctx, q, query, ids, func(rows *sql.Rows) error {
		a := &attemptState{stored: true}
		if err := scanAttempt(rows, &a.AttemptRow); err != nil {
			return err
		}
		b.attempts[a.ID] = a
		return nil
	})
}

func scanEvent(rows *sql.Rows, e *EventRow) error {
	var created, timestamp int64
	var sequence sql.NullString
	err := rows.Scan(&e.Tenant, &created, &e.ID, &e.Event, &e.SchemaVersion, &timestamp, &e.Source, &sequence, &e.Size,
		&e.Deliveries, &e.Position)
	if err != nil {
		return err
	}
	if sequence.Valid {
		n, err := strconv.ParseUint(sequence.String, 10, 64)
		if err != nil {
			return fmt.Errorf("the sequence of event %s: %w", e.ID, err)
		}
		e.Sequence = &n
	}
	e.CreatedAt, e.Timestamp = fromMicros(created), fromMicros(timestamp)
	return nil
}

func scanDelivery(rows *sql.Rows, d *DeliveryRow) error {
	var created, due, updated, completed, succeeded int64
	err := rows.Scan(&d.Tenant, &created, &d.ID, &d.EventID, &d.EventType, &d.EndpointID, &d.Status, &d.Attempts, &due,
		&updated, &completed, &d.LastCode, &d.LastError, &d.Revision, &d.Replay,
		&d.Routed, &d.InLine, &succeeded)
	d.SucceededAt = fromMicros(succeeded)
	d.CreatedAt, d.DueAt, d.UpdatedAt, d.CompletedAt = fromMicros(created), fromMicros(due), fromMicros(updated),
		fromMicros(completed)
	return err
}

func scanAttempt(rows *sql.Rows, a *AttemptRow) error {
	var started, duration int64
	err := rows.Scan(&a.Tenant, &started, &a.ID, &a.DeliveryID, &a.EventID, &a.EndpointID, &a.N, &a.Trigger, &a.Forced,
		&a.Status, &a.Code, &a.ErrorCode, &duration, &a.RemoteAddr, &a.Late)
	a.StartedAt, a.Duration = fromMicros(started), time.Duration(duration)*time.Microsecond
	return err
}
