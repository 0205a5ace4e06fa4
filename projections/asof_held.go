package projections

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"hookledger/domain"
)

// endpointThen is an endpoint as it was at a cut. What only some deliveries need is computed when one does.
type endpointThen struct {
	holds
	removed domain.Position // 0: it was not
	order   order
	waits   domain.Position // since which record others wait there behind an exhausted one
	lined   bool            // blocked is known
	gated   bool            // gate is
}

func (m *moment) endpoint(ctx context.Context, tenant, id string) (*endpointThen, error) {
	if then := m.endpoints[id]; then != nil {
		return then, nil
	}
	then, err := m.p.endpointThen(ctx, tenant, id, m.cut)
	if err != nil {
		return nil, err
	}
	m.endpoints[id] = then
	return then, nil
}

// endpointThen folds an endpoint's configuration from its stream, which can be read also for a position that is no
// record's.
func (p *Projections) endpointThen(ctx context.Context, tenant, id string, cut Cut) (*endpointThen, error) {
	then, e := &endpointThen{}, domain.Endpoint{}
	for r, err := range p.cfg.Store.ReadStream(ctx, domain.EndpointStream(tenant, id), 0) {
		if err != nil {
			return nil, fmt.Errorf("read the stream of endpoint %s: %w", id, err)
		}
		if !cut.holds(r) {
			break
		}
		e.Evolve(r)
		switch r.Fact.(type) {
		case *domain.EndpointDisabled:
			then.since = r.RecordedAt
		case *domain.EndpointRemoved:
			then.removed, then.order = r.Position, order{}
		case *domain.EndpointRegistered, *domain.EndpointReconfigured:
			was := then.order
			if then.order = orderOf(&e.Config); then.order.wait && !was.wait {
				then.waits = r.Position
			}
		}
	}
	then.disabled = e.Disabled && !e.Removed
	return then, nil
}

// hold derives the status that an open delivery had.
func (m *moment) hold(ctx context.Context, row *DeliveryRow, then *endpointThen) error {
	if row.DueAt.IsZero() {
		return nil
	}
	paused, err := m.pausedSince(ctx, row)
	if err != nil {
		return err
	}
	if row.InLine && then.order.wait && !then.lined {
		if err := m.line(ctx, row.Tenant, row.EndpointID, then); err != nil {
			return err
		}
	}
	if !row.DueAt.After(m.now) && !then.gated {
		if err := m.gate(ctx, row, then); err != nil {
			return err
		}
	}
	then.apply(row, paused, m.now)
	return nil
}

// pausedSince says since when the delivery's replay was paused; zero: it was not.
func (m *moment) pausedSince(ctx context.Context, row *DeliveryRow) (time.Time, error) {
	if since, known := m.paused[row.Replay]; known || row.Replay == "" {
		return since, nil
	}
	replay := domain.NewReplay()
	for r, err := range m.p.cfg.Store.ReadStream(ctx, domain.ReplayStream(row.Tenant, row.Replay), 0) {
		if err != nil {
			return time.Time{}, fmt.Errorf("read the stream of replay %s: %w", row.Replay, err)
		}
		if !m.cut.holds(r) {
			break
		}
		replay.Evolve(r)
	}
	var since time.Time
	if replay.Status == domain.ReplayIsPaused {
		since = replay.UpdatedAt
	}
	m.paused[row.Replay] = since
	return since, nil
}

// gate asks the endpoint's health of then.
func (m *moment) gate(ctx context.Context, row *DeliveryRow, then *endpointThen) error {
	then.gated = true
	one, _, err := m.p.healthAt(ctx, row.Tenant, row.EndpointID, m.cut)
	if domain.Code(err) == errNoSuchEndpoint.Code {
		return nil
	}
	if err != nil {
		return err
	}
	if reason, since := holdOf(one, m.now); reason != HeldDisabled { // the configuration says that
		then.gate, then.gatedAt = reason, since
	}
	return nil
}

// lineWalk is how many deliveries may stand in a line before the one that it waited for, and be none of it: those that
// ended within the clocks' skew before the cut.
const lineWalk = 5000

// line looks for what an endpoint's line waited for: the first delivery in it that had not ended, or is exhausted.
func (m *moment) line(ctx context.Context, tenant, endpoint string, then *endpointThen) error {
	then.lined = true
	// What had succeeded before, or ended otherwise and saw nothing since, is not in the line any more. That one was
	// exhausted is not to be seen by its time, where the order has changed since.
	const query = "SELECT " + deliveryColumns + " FROM deliveries INDEXED BY deliveries_endpoint " +
		"WHERE tenant = ? AND endpoint_id = ? AND replay = '' AND (succeeded_at = 0 OR succeeded_at >= ?) " +
		"AND (completed_at = 0 OR updated_at >= ? OR status = 'exhausted') ORDER BY position, id LIMIT ?"
	since := micros(m.now.Add(-clockSkew))
	if !m.next.IsZero() {
		since = min(since, micros(m.next.Add(-clockSkew)))
	}
	rows, err := collect(ctx, m.p, query, []any{tenant, endpoint, since, since, lineWalk},
		func(rows *sql.Rows, d *DeliveryRow) error { return scanDelivery(rows, d) })
	if err != nil {
		return fmt.Errorf("read the line of endpoint %s: %w", endpoint, err)
	}
	for i := range rows {
		d, err := m.fold(ctx, &rows[i], then)
		switch {
		case err != nil:
			return err
		case d == nil || d.Status == domain.StatusInFlight:
		case d.stuck > then.waits:
			then.blocked = Blocked{Delivery: rows[i].ID, Position: rows[i].Routed, Since: fromMicros(micros(d.stuckAt))}
			return nil
		case !d.Status.Terminal():
			return nil
		}
	}
	return nil
}

// blockedAt is what an ordered endpoint's others waited behind at a cut. Where nobody waits, it does not ask the ledger
// what stands around the cut: a store may refuse that for a position that is no record's.
func (p *Projections) blockedAt(ctx context.Context, tenant, endpoint string, cut Cut) (Blocked, error) {
	then, err := p.endpointThen(ctx, tenant, endpoint, cut)
	if err != nil || !then.order.wait {
		return Blocked{}, err
	}
	m, err := p.moment(ctx, cut)
	if err != nil {
		return Blocked{}, err
	}
	err = m.line(ctx, tenant, endpoint, then)
	return then.blocked, err
}
