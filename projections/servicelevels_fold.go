package projections

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"hookledger/domain"
)

// levelKey is a row of the service levels.
type levelKey struct {
	tenant   string
	month    int // see monthOf
	endpoint string
	event    string
	bucket   int
}

// monthOf is the month of a time in microseconds, in UTC: years times 12, plus months from 0.
func monthOf(us int64) int {
	year, month, _ := fromMicros(us).Date()
	return year*12 + int(month) - 1
}

// monthStart is when a month begins.
func monthStart(month int) time.Time {
	return time.Date(month/12, time.Month(month%12+1), 1, 0, 0, 0, 0, time.UTC)
}

// succeeded notes a delivery's first success. What a replay scheduled is of no service level: its event may be of years
// ago.
func (b *batch) succeeded(d *deliveryState, r *domain.Record) {
	if d.succeededAt != 0 {
		return
	}
	d.succeededAt = micros(r.RecordedAt)
	if d.replay == "" {
		b.fulfilled = append(b.fulfilled, d)
	}
}

const levelUpsert = "INSERT INTO service_levels (tenant, month, endpoint_id, event, bucket, count) " +
	"VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, month, endpoint_id, event, bucket) " +
	"DO UPDATE SET count = count + excluded.count"

// writeLevels adds the deliveries that succeeded for the first time; their rows have been written.
func (w *writer) writeLevels(ctx context.Context, fulfilled []*deliveryState) error {
	if err := w.nameTypes(ctx, fulfilled); err != nil {
		return err
	}
	counts := map[levelKey]int{}
	for _, d := range fulfilled {
		counts[levelKey{d.Tenant, monthOf(d.createdAt), d.Endpoint, d.eventType, bucketOf(d.succeededAt - d.createdAt)}]++
	}
	keys := make([]levelKey, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b levelKey) int { // one walk through the table
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), a.month-b.month, cmp.Compare(a.endpoint, b.endpoint),
			cmp.Compare(a.event, b.event), a.bucket-b.bucket)
	})
	for _, k := range keys {
		if err := w.exec(ctx, levelUpsert, k.tenant, k.month, k.endpoint, k.event, k.bucket, counts[k]); err != nil {
			return err
		}
	}
	return nil
}

// nameTypes reads what the row alone says of those that began without its being read, see batch.scheduled.
func (w *writer) nameTypes(ctx context.Context, fulfilled []*deliveryState) error {
	ids, states := map[string][]string{}, map[string]*deliveryState{}
	for _, d := range fulfilled {
		if d.eventType == "" {
			ids[d.Tenant] = append(ids[d.Tenant], d.ID)
			states[d.ID] = d
		}
	}
	err := each(ctx, w.conn, "SELECT id, event, created_at FROM deliveries WHERE tenant = ? AND "+
		"id IN (SELECT value FROM json_each(?))", ids, func(rows *sql.Rows) error {
		var id, event string
		var created int64
		err := rows.Scan(&id, &event, &created)
		if d := states[id]; d != nil {
			d.eventType, d.createdAt = event, created
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read the types of deliveries: %w", err)
	}
	return nil
}
