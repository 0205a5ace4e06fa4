package projections

import (
	"context"
	"database/sql"
	"time"

	"hookledger/domain"
)

// SourceEvents is what came from a source.
type SourceEvents struct {
	Source string
	Count  int
	LastAt time.Time // when the last of them was received
}

// brought counts an event that a source brought. Its actor says so: the event's own source is whatever its producer
// wrote.
func (b *batch) brought(r *domain.Record) {
	if r.Actor.Kind != domain.ActorSource {
		return
	}
	k := sourceKey{r.Tenant, r.Actor.ID}
	if b.sourceEvents == nil {
		b.sourceEvents = map[sourceKey]SourceEvents{}
	}
	had := b.sourceEvents[k]
	had.Count++
	if r.RecordedAt.After(had.LastAt) {
		had.LastAt = r.RecordedAt
	}
	b.sourceEvents[k] = had
}

const sourceEventsUpsert = "INSERT INTO source_events (tenant, source_id, count, last_at) VALUES (?, ?, ?, ?) " +
	"ON CONFLICT (tenant, source_id) DO UPDATE SET count = count + excluded.count, " +
	"last_at = max(last_at, excluded.last_at)"

// writeSourceEvents adds what the batch counted.
func (w *writer) writeSourceEvents(ctx context.Context, counted map[sourceKey]SourceEvents) error {
	for k, e := range counted {
		if err := w.exec(ctx, sourceEventsUpsert, k.tenant, k.id, e.Count, micros(e.LastAt)); err != nil {
			return err
		}
	}
	return nil
}

// SourceEvents gives what came from a tenant's sources, of those from which anything did.
func (p *Projections) SourceEvents(ctx context.Context, tenant string) (map[string]SourceEvents, error) {
	rows, err := collect(ctx, p, "SELECT source_id, count, last_at FROM source_events WHERE tenant = ?", []any{tenant},
		func(rows *sql.Rows, e *SourceEvents) error {
			var last int64
			err := rows.Scan(&e.Source, &e.Count, &last)
			e.LastAt = fromMicros(last)
			return err
		})
	out := make(map[string]SourceEvents, len(rows))
	for _, e := range rows {
		out[e.Source] = e
	}
	return out, err
}
