package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"

	"hookledger/domain"
)

const reconciliationInsert = "INSERT INTO reconciliations (tenant, created_at, id, position, period_from, period_to, " +
	"state) VALUES (?, ?, ?, ?, ?, ?, ?)"

// writeReconciliations makes the rows of runs; each stream has one record, and nothing follows in it.
func (w *writer) writeReconciliations(ctx context.Context, runs []domain.Reconciliation) error {
	for i := range runs {
		r := &runs[i]
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := w.exec(ctx, reconciliationInsert, r.Tenant, micros(r.CreatedAt), r.ID, int64(r.Position),
			micros(r.Run.Rules.From), micros(r.Run.Rules.To), raw); err != nil {
			return err
		}
	}
	return nil
}

func scanReconciliation(rows *sql.Rows, r *domain.Reconciliation) error {
	var raw []byte
	if err := rows.Scan(&raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, r); err != nil {
		return fmt.Errorf("the row of a reconciliation: %w", err)
	}
	return nil
}

// Reconciliations lists runs.
func (p *Projections) Reconciliations(ctx context.Context, l List) (Page[domain.Reconciliation], error) {
	return page(ctx, p.db, newList(l, "reconciliations", "", "state", "created_at", ""), scanReconciliation,
		func(r *domain.Reconciliation) cursor { return cursor{micros(r.CreatedAt), r.ID} })
}

// Reconciliation gives one run. Where the rows have none of that id, they are first brought to the end of the ledger.
func (p *Projections) Reconciliation(ctx context.Context, tenant, id string) (domain.Reconciliation, error) {
	return one(ctx, p, "reconciliation", "SELECT state FROM reconciliations WHERE tenant = ? AND id = ?", tenant, id,
		scanReconciliation)
}

// ReconciliationsOf gives the runs of a period that stand at or before the position, the first one first.
func (p *Projections) ReconciliationsOf(ctx context.Context, tenant string, rules *domain.ReconciliationRules,
	upTo domain.Position) ([]domain.Reconciliation, error) {
	return collect(ctx, p, "SELECT state FROM reconciliations INDEXED BY reconciliations_period WHERE tenant = ? "+
		"AND period_from = ? AND period_to = ? AND position <= ? ORDER BY position", []any{tenant, micros(rules.From),
		micros(rules.To), int64(upTo)}, scanReconciliation)
}

const eventsOfPeriod = "SELECT id, event, size, created_at, position FROM events INDEXED BY events_event " +
	"WHERE tenant = ? AND event = ? AND position <= ? AND "

// EventsOf gives the events of a query behind the cursor, in the order of (time of receipt, id), at most so many. The
// rows must have reached the query's position.
func (p *Projections) EventsOf(ctx context.Context, tenant string, q domain.EventQuery, after domain.ReplayCursor,
	limit int) ([]domain.EventHead, error) {
	query, args := eventsOfQuery(tenant, q, after, limit)
	return collect(ctx, p, query, args, scanEventHead)
}

func eventsOfQuery(tenant string, q domain.EventQuery, after domain.ReplayCursor, limit int) (string, []any) {
	// By the time of the event there is no order to look it up in: all of the type are looked through, without their
	// content.
	column := "timestamp"
	if q.By == domain.ByReceived {
		column = "created_at"
	}
	query := eventsOfPeriod + column + " >= ? AND " + column + " < ?"
	args := []any{tenant, q.Type, int64(q.UpTo), micros(q.From), micros(q.To)}
	if after.Event != "" {
		query += " AND (created_at, id) > (?, ?)"
		args = append(args, micros(after.At), after.Event)
	}
	return query + " ORDER BY created_at, id LIMIT ?", append(args, limit)
}

// DeliveriesOf names the deliveries of an event, whatever scheduled them, with where they go.
func (p *Projections) DeliveriesOf(ctx context.Context, tenant, event string) ([]domain.DeliveryTo, error) {
	return collect(ctx, p, "SELECT id, endpoint_id FROM deliveries INDEXED BY deliveries_event WHERE tenant = ? "+
		"AND event_id = ? ORDER BY id", []any{tenant, event}, func(rows *sql.Rows, d *domain.DeliveryTo) error {
		return rows.Scan(&d.ID, &d.Endpoint)
	})
}

const numbersQuery = "SELECT id, sequence FROM events INDEXED BY events_sequence WHERE tenant = ? AND source = ? AND " +
	"sequence IS NOT NULL AND length(sequence) >= ? AND length(sequence) <= ? AND position <= ? AND " +
	"(length(sequence), sequence, created_at, id) > (?, ?, ?, ?) ORDER BY length(sequence), sequence, created_at, id LIMIT ?"

// Numbers gives the numbers of a source's events, from one on, in their order, at most so many. from is inclusive, and
// after names the event that was the last of the page before.
func (p *Projections) Numbers(ctx context.Context, tenant string, r domain.NumberRange, upTo domain.Position,
	after domain.NumberedEvent, limit int) ([]domain.NumberedEvent, error) {
	low, high := strconv.FormatUint(r.From, 10), strconv.FormatUint(r.To, 10)
	from, at := low, int64(-1)
	if after.ID != "" {
		e, err := p.Event(ctx, tenant, after.ID)
		if err != nil {
			return nil, err
		}
		from, at = strconv.FormatUint(after.Sequence, 10), micros(e.CreatedAt)
	}
	var out []domain.NumberedEvent
	args := []any{tenant, r.Source, len(low), len(high), int64(upTo), len(from), from, at, after.ID, limit}
	err := scanRows(ctx, p.db.r, numbersQuery, args, func(rows *sql.Rows) error {
		var n domain.NumberedEvent
		var text string
		err := rows.Scan(&n.ID, &text)
		if err == nil {
			n.Sequence, err = strconv.ParseUint(text, 10, 64)
		}
		if n.Sequence <= r.To {
			out = append(out, n)
		}
		return err
	})
	return out, p.db.broken(err)
}
