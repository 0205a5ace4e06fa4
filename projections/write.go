package projections

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"hookledger/domain"
	"hookledger/ledger"
)

// Rows of one statement: as many as possible of the first, then of the next.
var statementRows = [...]int{100, 10, 1}

// table is how rows of one kind are written.
type table struct {
	name    string
	columns string
	width   int    // number of columns
	update  string // what of a row changes after it was written first
	inserts [len(statementRows)]string
	upserts [len(statementRows)]string
}

var (
	eventTable    = newTable("events", eventColumns, "tenant, created_at, id", "deliveries")
	deliveryTable = newTable("deliveries", deliveryColumns, "tenant, id", "status", "attempts", "due_at", "updated_at",
		"completed_at", "last_code", "last_error", "revision", "line", "succeeded_at")
	attemptTable = newTable("attempts", attemptColumns, "tenant, id", "status", "code", "error_code", "duration_us",
		"remote_addr", "late")
)

func newTable(name, columns, key string, changing ...string) *table {
	for i, c := range changing {
		changing[i] = c + " = excluded." + c
	}
	t := &table{name: name, columns: columns, width: strings.Count(columns, ",") + 1,
		update: " ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(changing, ", ")}
	for i, rows := range statementRows {
		t.inserts[i], t.upserts[i] = t.statement(rows, false), t.statement(rows, true)
	}
	return t
}

// statement inserts rows; with update it also takes rows that are there.
func (t *table) statement(rows int, update bool) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", t.width), ",") + ")"
	s := "INSERT INTO " + t.name + " (" + t.columns + ") VALUES " +
		strings.TrimSuffix(strings.Repeat(row+",", rows), ",")
	if update {
		s += t.update
	}
	return s
}

// writer writes batches through prepared statements of one connection; it is used by one goroutine.
type writer struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
	args     []any
}

func newWriter(conn *sql.Conn) *writer { return &writer{conn: conn, prepared: map[string]*sql.Stmt{}} }

func (w *writer) exec(ctx context.Context, query string, args ...any) error {
	s := w.prepared[query]
	if s == nil {
		var err error
		if s, err = w.conn.PrepareContext(ctx, query); err != nil {
			return err
		}
		w.prepared[query] = s
	}
	_, err := s.ExecContext(ctx, args...)
	return err
}

func (w *writer) close() error {
	for _, s := range w.prepared {
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// write brings the batch's states into the tables, and forgets that they were changed. It returns the number of rows.
func (w *writer) write(ctx context.Context, b *batch) (int, error) {
	n := len(b.eventOrder) + len(b.deliveryOrder) + len(b.attemptOrder) + len(b.replayOrder) + len(b.config) +
		len(b.reconciled) + len(b.refused)
	if err := writeAll(ctx, w, eventTable, b.eventOrder); err != nil {
		return 0, fmt.Errorf("write events: %w", err)
	}
	if err := writeAll(ctx, w, deliveryTable, b.deliveryOrder); err != nil {
		return 0, fmt.Errorf("write deliveries: %w", err)
	}
	if err := w.writeLevels(ctx, b.fulfilled); err != nil {
		return 0, fmt.Errorf("write service levels: %w", err)
	}
	if err := writeAll(ctx, w, attemptTable, b.attemptOrder); err != nil {
		return 0, fmt.Errorf("write attempts: %w", err)
	}
	if err := writeAll(ctx, w, replayTable, b.replayOrder); err != nil {
		return 0, fmt.Errorf("write replays: %w", err)
	}
	if err := w.writeReconciliations(ctx, b.reconciled); err != nil {
		return 0, fmt.Errorf("write reconciliations: %w", err)
	}
	if err := w.writeRefusals(ctx, b.refused); err != nil {
		return 0, fmt.Errorf("write refusals: %w", err)
	}
	if err := w.writeSourceEvents(ctx, b.sourceEvents); err != nil {
		return 0, fmt.Errorf("write what sources brought: %w", err)
	}
	for tenant, c := range b.heads {
		if err := w.exec(ctx, headUpsert, tenant, int64(c.position), c.record.String(), string(c.stream),
			int64(c.revision)); err != nil {
			return 0, fmt.Errorf("write the last records of tenants: %w", err)
		}
	}
	if err := w.writeConfig(ctx, b.config); err != nil {
		return 0, fmt.Errorf("write the configuration: %w", err)
	}
	b.eventOrder, b.deliveryOrder, b.attemptOrder, b.config = b.eventOrder[:0], b.deliveryOrder[:0], b.attemptOrder[:0],
		nil
	b.replayOrder, b.reconciled, b.refused, b.fulfilled = b.replayOrder[:0], nil, nil, nil
	b.sourceEvents = nil
	return n, nil
}

// state is an event's, a delivery's or an attempt's.
type state interface {
	isStored() bool
	written()
	appendArgs([]any) []any
}

func writeAll[S state](ctx context.Context, w *writer, t *table, states []S) error {
	fresh, changed := make([]S, 0, len(states)), []S(nil)
	for _, s := range states {
		if s.isStored() {
			changed = append(changed, s)
		} else {
			fresh = append(fresh, s)
		}
	}
	if err := writeRows(ctx, w, t, fresh, false); err != nil {
		return err
	}
	return writeRows(ctx, w, t, changed, true)
}

func writeRows[S state](ctx context.Context, w *writer, t *table, states []S, update bool) error {
	for i, size := range statementRows {
		query := t.inserts[i]
		if update {
			query = t.upserts[i]
		}
		for ; len(states) >= size; states = states[size:] {
			w.args = w.args[:0]
			for _, s := range states[:size] {
				w.args = s.appendArgs(w.args)
				s.written()
			}
			if err := w.exec(ctx, query, w.args...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *eventState) isStored() bool    { return e.stored }
func (d *deliveryState) isStored() bool { return d.stored }
func (a *attemptState) isStored() bool  { return a.stored }

func (e *eventState) written()    { e.stored, e.dirty = true, false }
func (d *deliveryState) written() { d.stored, d.dirty = true, false }
func (a *attemptState) written()  { a.stored, a.dirty = true, false }

func (e *eventState) appendArgs(args []any) []any {
	var sequence any
	if e.Sequence != nil {
		sequence = strconv.FormatUint(*e.Sequence, 10)
	}
	return append(args, e.Tenant, micros(e.CreatedAt), e.ID, e.Event, e.SchemaVersion, micros(e.Timestamp), e.Source,
		sequence, e.Size, e.Deliveries, int64(e.Position))
}

func (d *deliveryState) appendArgs(args []any) []any {
	return append(args, d.Tenant, d.createdAt, d.ID, d.Event, d.eventType, d.Endpoint, string(d.Status), d.Attempts,
		d.dueAt(), d.updatedAt, d.completedAt, d.lastCode, string(d.lastError), int64(d.Revision), d.replay,
		int64(d.position), d.line, d.succeededAt)
}

func (a *attemptState) appendArgs(args []any) []any {
	return append(args, a.Tenant, micros(a.StartedAt), a.ID, a.DeliveryID, a.EventID, a.EndpointID, a.N,
		string(a.Trigger), a.Forced, string(a.Status), a.Code, string(a.ErrorCode), a.Duration.Microseconds(),
		a.RemoteAddr, a.Late)
}

func (w *writer) writeConfig(ctx context.Context, records []*domain.Record) error {
	for _, r := range records {
		body, err := ledger.AppendBody(nil, r)
		if err != nil {
			return err
		}
		err = w.exec(ctx, "INSERT INTO config_records (position, header, body) VALUES (?, ?, ?)", int64(r.Position),
			ledger.AppendHeader(nil, r), body)
		if err != nil {
			return err
		}
	}
	return nil
}

// endRemoved ends the rows of a removed endpoint's deliveries that have no open attempt.
func (w *writer) endRemoved(ctx context.Context, r *domain.Record) error {
	at := micros(r.RecordedAt)
	err := w.exec(ctx, "UPDATE deliveries SET status = ?, due_at = 0, updated_at = ?, completed_at = ?, line = 0 "+
		"WHERE tenant = ? AND endpoint_id = ? AND due_at > 0", string(domain.StatusCancelled), at, at, r.Tenant,
		r.Stream.ID())
	if err != nil {
		return fmt.Errorf("end the deliveries of endpoint %s: %w", r.Stream.ID(), err)
	}
	if err := w.release(ctx, keyOf(r)); err != nil {
		return fmt.Errorf("end the line of endpoint %s: %w", r.Stream.ID(), err)
	}
	return nil
}

func (w *writer) writeCheckpoint(ctx context.Context, c checkpoint) error {
	err := w.exec(ctx, "INSERT INTO checkpoint (one, position, record, stream, revision, recorded_at, fold) "+
		"VALUES (1, ?, ?, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET position = excluded.position, "+
		"record = excluded.record, stream = excluded.stream, revision = excluded.revision, "+
		"recorded_at = excluded.recorded_at, fold = excluded.fold", int64(c.position), c.record.String(), string(c.stream),
		int64(c.revision), c.at, foldVersion)
	if err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// rollback ends a transaction that failed; SQLite may have done so already.
func (w *writer) rollback(ctx context.Context) error {
	_, err := w.conn.ExecContext(ctx, "ROLLBACK")
	if err != nil && strings.Contains(err.Error(), "no transaction is active") {
		return nil
	}
	return err
}
