package projections

import (
	"context"
	"database/sql"
	"fmt"

	"hookledger/domain"
	"hookledger/ledger"
)

// load fills what is in memory from the rows, by the code that folds it live.
func (db *database) load(ctx context.Context, d *Directory, b *Backlog) error {
	err := scanConfig(ctx, db.write, func(r *domain.Record) {
		d.fold(r)
		b.configure(r)
	})
	if err != nil {
		return fmt.Errorf("the configuration: %w", err)
	}
	if err := db.loadHeld(ctx, b); err != nil {
		return fmt.Errorf("the replays: %w", err)
	}
	if err := db.loadWaiting(ctx, b); err != nil {
		return fmt.Errorf("what waits: %w", err)
	}
	return nil
}

// scanConfig gives the records of the configuration that the rows hold, in order.
func scanConfig(ctx context.Context, q queryer, each func(*domain.Record)) error {
	return scanRows(ctx, q, "SELECT position, header, body FROM config_records ORDER BY position", nil,
		func(rows *sql.Rows) error {
			var pos int64
			var header, body []byte
			if err := rows.Scan(&pos, &header, &body); err != nil {
				return err
			}
			r, err := ledger.Decode(header, body)
			if err != nil {
				return fmt.Errorf("the record at %d: %w", pos, err)
			}
			r.Position = domain.Position(pos)
			each(r)
			return nil
		})
}

// configure takes in a record of the configuration that the rows hold.
func (b *Backlog) configure(r *domain.Record) {
	switch r.Fact.(type) {
	case *domain.EndpointRegistered, *domain.EndpointReconfigured, *domain.EndpointDisabled, *domain.EndpointEnabled,
		*domain.EndpointRemoved:
		b.fold(r)
	}
}

// loadWaiting makes the queues of all endpoints at which something waits: their deliveries are left to the rows, until
// the refiller reads them. Open attempts are of a life that has ended: they are due at once, to be interrupted.
func (db *database) loadWaiting(ctx context.Context, b *Backlog) error {
	// One step to the next endpoint is one search in the index, however many deliveries wait at each.
	const next = "SELECT tenant, endpoint_id, replay FROM deliveries INDEXED BY deliveries_due WHERE due_at > 0 AND " +
		"(tenant, endpoint_id, replay) > (?, ?, ?) ORDER BY tenant, endpoint_id, replay LIMIT 1"
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, more := (domain.EndpointKey{}), true; more; {
		more = false
		err := scanRows(ctx, db.write, next, []any{key.Tenant, key.Endpoint, key.Replay}, func(rows *sql.Rows) error {
			more = true
			return rows.Scan(&key.Tenant, &key.Endpoint, &key.Replay)
		})
		if err != nil {
			return err
		}
		if more {
			b.queue(key).lower(place{})
		}
	}
	for key := range b.orders {
		b.queue(key).lower(place{}) // somebody may wait there behind one that has ended
	}
	const open = "SELECT " + waitingColumns +
		" FROM deliveries INDEXED BY deliveries_status WHERE status <> 'succeeded' " +
		"AND status = 'in_flight'"
	return scanRows(ctx, db.write, open, nil, func(rows *sql.Rows) error {
		var w waitingRow
		if err := scanWaiting(rows, &w); err != nil {
			return err
		}
		b.offer(&item{queue: b.queue(w.key), id: w.id, event: w.event, rev: w.rev, line: w.line,
			open: true}, max(1, w.since), 0)
		return nil
	})
}
