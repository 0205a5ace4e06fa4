package projections

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"hookledger/domain"
)

// Event gives one event. Where the rows have none of that id, they are first brought to the end of the ledger: so what
// was answered with an id is found by it. A *domain.Error of KindNotFound says that the tenant has none.
func (p *Projections) Event(ctx context.Context, tenant, id string) (EventRow, error) {
	return one(ctx, p, "event", "SELECT "+eventColumns+" FROM events WHERE tenant = ? AND id = ?", tenant, id, scanEvent)
}

// Delivery gives one delivery, likewise.
func (p *Projections) Delivery(ctx context.Context, tenant, id string) (DeliveryRow, error) {
	d, err := one(ctx, p, "delivery", "SELECT "+deliveryColumns+" FROM deliveries WHERE tenant = ? AND id = ?", tenant, id,
		scanDelivery)
	if err != nil {
		return d, err
	}
	paused, err := p.pausedReplays(ctx, tenant)
	p.hold(&d, paused)
	return d, err
}

// Attempt gives one attempt, likewise.
func (p *Projections) Attempt(ctx context.Context, tenant, id string) (AttemptRow, error) {
	return one(ctx, p, "attempt", "SELECT "+attemptColumns+" FROM attempts WHERE tenant = ? AND id = ?", tenant, id,
		scanAttempt)
}

// EventDeliveries gives an event's deliveries, by endpoint. An event that is not there is refused like Event's.
func (p *Projections) EventDeliveries(ctx context.Context, tenant, event string) ([]DeliveryRow, error) {
	if _, err := p.Event(ctx, tenant, event); err != nil {
		return nil, err
	}
	paused, err := p.pausedReplays(ctx, tenant)
	if err != nil {
		return nil, err
	}
	out := []DeliveryRow{}
	err = scanRows(ctx, p.db.r, "SELECT "+deliveryColumns+" FROM deliveries INDEXED BY deliveries_event "+
		"WHERE tenant = ? AND event_id = ?", []any{tenant, event}, func(rows *sql.Rows) error {
		var d DeliveryRow
		err := scanDelivery(rows, &d)
		p.hold(&d, paused)
		out = append(out, d)
		return err
	})
	if err != nil {
		return nil, p.db.broken(err)
	}
	slices.SortFunc(out, func(a, b DeliveryRow) int { return cmp.Compare(a.EndpointID, b.EndpointID) })
	return out, nil
}

func one[T any](ctx context.Context, p *Projections, what, query, tenant, id string,
	scan func(*sql.Rows, *T) error) (T, error) {
	var row T
	var found bool
	look := func() error {
		return scanRows(ctx, p.db.r, query, []any{tenant, id}, func(rows *sql.Rows) error {
			found = true
			return scan(rows, &row)
		})
	}
	err := look()
	if err == nil && !found {
		if err = p.WaitFor(ctx, p.cfg.Store.Head()); err == nil {
			err = look()
		}
	}
	switch {
	case err != nil:
		return row, p.db.broken(err)
	case !found:
		return row, domain.Refuse(domain.KindNotFound, what+"_not_found", "there is no such "+what,
			"check the id, and that the key is of the tenant it belongs to")
	}
	return row, nil
}
