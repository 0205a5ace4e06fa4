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

// levelTable adds to what its rows count.
var levelTable = newLevelTable()

func newLevelTable() *table {
	t := &table{name: "service_levels", columns: "tenant, month, endpoint_id, event, bucket, count", width: 6,
		update: " ON CONFLICT (tenant, month, endpoint_id, event, bucket) DO UPDATE SET count = count + excluded.count"}
	for i, rows := range statementRows {
		t.upserts[i] = t.statement(rows, true)
	}
	return t
}

// levelRow is what one transaction adds to a row.
type levelRow struct {
	levelKey
	count int
}

func (*levelRow) isStored() bool { return true }
func (*levelRow) written()       {}

func (l *levelRow) appendArgs(args []any) []any {
	return append(args, l.tenant, l.month, l.endpoint, l.event, l.bucket, l.count)
}

// writeLevels adds the deliveries that succeeded for the first time; their rows have been written.
func (w *writer) writeLevels(ctx context.Context, fulfilled []*deliveryState) error {
	if err := w.nameTypes(ctx, fulfilled); err != nil {
		return err
	}
	rows := map[levelKey]*levelRow{}
	var order []*levelRow
	for _, d := range fulfilled {
		k := levelKey{d.Tenant, monthOf(d.createdAt), d.Endpoint, d.eventType, bucketOf(d.succeededAt - d.createdAt)}
		if rows[k] == nil {
			rows[k] = &levelRow{levelKey: k}
			order = append(order, rows[k])
		}
		rows[k].count++
	}
	slices.SortFunc(order, func(a, b *levelRow) int { // one walk through the table
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), a.month-b.month, cmp.Compare(a.endpoint, b.endpoint),
			cmp.Compare(a.event, b.event), a.bucket-b.bucket)
	})
	return writeRows(ctx, w, levelTable, order, true)
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
