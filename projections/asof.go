package projections

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// Cut is a moment of the past: a position, or else a time. What was recorded up to it, itself included, is before it.
type Cut struct {
	Position domain.Position
	Time     time.Time
}

func (c Cut) holds(r *domain.Record) bool {
	if c.Position > 0 {
		return r.Position <= c.Position
	}
	return !r.RecordedAt.After(c.Time)
}

// EndpointAt folds an endpoint's stream up to the cut; one that was removed by then, or is of later, is not there.
func (p *Projections) EndpointAt(ctx context.Context, tenant, id string, cut Cut) (*domain.Endpoint, bool, error) {
	e, _, err := p.endpointAt(ctx, tenant, id, cut)
	return e, err == nil && e.Exists(), err
}

// endpointAt also gives where the endpoint was removed, 0 where it was not.
func (p *Projections) endpointAt(ctx context.Context, tenant, id string, cut Cut) (*domain.Endpoint, domain.Position,
	error) {
	e, removed := &domain.Endpoint{}, domain.Position(0)
	for r, err := range p.cfg.Store.ReadStream(ctx, domain.EndpointStream(tenant, id), 0) {
		if err != nil {
			return nil, 0, fmt.Errorf("read the stream of endpoint %s: %w", id, err)
		}
		if !cut.holds(r) {
			break
		}
		if e.Evolve(r); e.Removed {
			removed = r.Position
		}
	}
	return e, removed, nil
}

// RoutingAt is the tenant's routing table as it stood at the cut, folded by the code that folds it live. The rows must
// hold everything up to the cut.
func (p *Projections) RoutingAt(ctx context.Context, tenant string, cut Cut) (*domain.Routing, bool, error) {
	d := newDirectory(&p.live.progress)
	last := int64(1<<63 - 1)
	if cut.Position > 0 {
		last = int64(cut.Position)
	}
	const query = "SELECT position, header, body FROM config_records WHERE position <= ? ORDER BY position"
	err := scanRows(ctx, p.db.r, query, []any{last}, func(rows *sql.Rows) error {
		var pos int64
		var header, body []byte
		if err := rows.Scan(&pos, &header, &body); err != nil {
			return err
		}
		r, err := ledger.Decode(header, body)
		if err != nil {
			return fmt.Errorf("the record at %d: %w", pos, err)
		}
		if r.Position = domain.Position(pos); r.Tenant == tenant && cut.holds(r) {
			d.fold(r)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("fold the configuration: %w", p.db.broken(err))
	}
	routing, ok := d.Routing(tenant)
	return routing, ok, nil
}

// OpenFilter selects deliveries that had not ended at a moment.
type OpenFilter struct {
	List
	EndpointID string // empty: all
	Cut        Cut
}

// clockSkew is by how much the clocks of nodes that share a ledger may differ: times only narrow down what is looked
// at, and each delivery is then folded from its own records.
const clockSkew = 5 * time.Minute

// OpenAt lists the deliveries that were pending, in flight, retrying or held at the cut, with their status, attempts
// and due time of then, without a last code: each is folded from its stream on the ledger. The rows must hold
// everything up to the cut.
func (p *Projections) OpenAt(ctx context.Context, f OpenFilter) (Page[DeliveryRow], error) {
	l, err := p.openList(ctx, f)
	if err != nil {
		return Page[DeliveryRow]{}, err
	}
	out, err := page(ctx, p.db, l, scanDelivery, func(d *DeliveryRow) cursor { return cursor{micros(d.CreatedAt), d.ID} })
	if err != nil {
		return out, err
	}
	at := moment{p: p, cut: f.Cut, endpoints: map[string]*endpointThen{}}
	rows := out.Rows[:0]
	for i := range out.Rows {
		row := out.Rows[i]
		open, err := at.rewind(ctx, &row)
		if err != nil {
			return out, err
		}
		if open {
			rows = append(rows, row)
		}
	}
	out.Rows = rows
	return out, nil
}

// openList is the query of what may have been open: it is still, or something happened to it since.
func (p *Projections) openList(ctx context.Context, f OpenFilter) (*list, error) {
	since, until := f.Cut.Time, f.Cut.Time
	if f.Cut.Position > 0 {
		since, until = time.Time{}, time.Time{}
		for r, err := range p.cfg.Store.ReadAll(ctx, f.Cut.Position) {
			if err != nil {
				return nil, fmt.Errorf("read the ledger behind %d: %w", f.Cut.Position, err)
			}
			since, until = r.RecordedAt, r.RecordedAt
			break
		}
	}
	if !until.IsZero() {
		f.CreatedBefore = until.Add(clockSkew)
	}
	index := ""
	if f.EndpointID != "" {
		index = "deliveries_endpoint"
	}
	l := newList(f.List, "deliveries", index, deliveryColumns, "created_at", domain.PrefixDelivery)
	l.where("endpoint_id", f.EndpointID)
	sb := l.sb
	open := []string{"due_at > 0", sb.Equal("status", string(domain.StatusInFlight))}
	if !since.IsZero() {
		open = append(open, sb.GreaterEqualThan("updated_at", micros(since.Add(-clockSkew))))
	}
	l.check(sb.Or(open...))
	return l, nil
}

// moment folds deliveries up to a cut.
type moment struct {
	p         *Projections
	cut       Cut
	endpoints map[string]*endpointThen
}

type endpointThen struct {
	disabled bool
	removed  domain.Position // 0: it was not
}

func (m *moment) endpoint(ctx context.Context, tenant, id string) (*endpointThen, error) {
	if then := m.endpoints[id]; then != nil {
		return then, nil
	}
	e, removed, err := m.p.endpointAt(ctx, tenant, id, m.cut)
	if err != nil {
		return nil, err
	}
	m.endpoints[id] = &endpointThen{disabled: e.Disabled && !e.Removed, removed: removed}
	return m.endpoints[id], nil
}

// rewind makes a row say what it said at the cut, as the fold of rows does. It is false where the delivery had ended,
// or was not there yet.
func (m *moment) rewind(ctx context.Context, row *DeliveryRow) (bool, error) {
	d := domain.NewDelivery()
	due, err := m.scheduled(ctx, row)
	if err != nil || due.IsZero() {
		return false, err
	}
	d.DueAt, row.UpdatedAt, row.LastCode, row.LastError = due, due, 0, ""
	then, err := m.endpoint(ctx, row.Tenant, row.EndpointID)
	if err != nil {
		return false, err
	}
	ended := false // by the endpoint's removal
	end := func() {
		if !ended && (d.Status == domain.StatusPending || d.Status == domain.StatusRetrying) {
			d.Status = domain.StatusCancelled
		}
		ended = true
	}
	for r, err := range m.p.cfg.Store.ReadStream(ctx, domain.DeliveryStream(row.Tenant, row.ID), 0) {
		if err != nil {
			return false, fmt.Errorf("read the stream of delivery %s: %w", row.ID, err)
		}
		if !m.cut.holds(r) {
			break
		}
		if then.removed > 0 && r.Position > then.removed {
			end()
		}
		if _, first := r.Fact.(*domain.DeliveryScheduled); first {
			d.Status = domain.StatusPending // somebody went on although the endpoint was removed
		}
		d.Evolve(r)
		row.UpdatedAt = r.RecordedAt
	}
	if then.removed > 0 {
		end()
	}
	row.Status, row.Attempts, row.Revision, row.DueAt = d.Status, d.Attempts, d.Revision, d.DueAt
	row.CompletedAt = time.Time{}
	switch {
	case d.Status == domain.StatusInFlight:
		row.DueAt = time.Time{}
	case then.disabled && !d.Status.Terminal():
		row.Status = domain.StatusHeld
	}
	return !d.Status.Terminal(), nil
}

// scheduled is when the delivery was routed, or scheduled by a replay; zero where that was after the cut.
func (m *moment) scheduled(ctx context.Context, row *DeliveryRow) (time.Time, error) {
	stream := domain.EventStream(row.Tenant, row.EventID)
	if row.Replay != "" {
		stream = domain.ReplayStream(row.Tenant, row.Replay)
	}
	for r, err := range m.p.cfg.Store.ReadStream(ctx, stream, 0) {
		switch {
		case err != nil:
			return time.Time{}, fmt.Errorf("read what scheduled delivery %s: %w", row.ID, err)
		case !m.cut.holds(r):
			return time.Time{}, nil
		case schedules(r.Fact, row.ID):
			return r.RecordedAt, nil
		}
	}
	return time.Time{}, nil
}

func schedules(f domain.Fact, delivery string) bool {
	switch f := f.(type) {
	case *domain.EventRouted:
		for _, m := range f.Matches {
			if m.Delivery == delivery {
				return true
			}
		}
	case *domain.ReplayPageScheduled:
		for _, pair := range f.Pairs {
			if pair.Delivery == delivery {
				return true
			}
		}
	}
	return false
}
