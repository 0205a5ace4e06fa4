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
	Cut        Cut    // the zero Cut: now
}

// clockSkew is by how much the clocks of nodes that share a ledger may differ: times only narrow down what is looked
// at, and each delivery is then folded from its own records.
const clockSkew = 5 * time.Minute

// OpenAt lists the deliveries that were pending, in flight, retrying or held at the cut, with their status, attempts
// and due time of then, and why they were held, without a last code: each is folded from its stream on the ledger. The
// rows must hold everything up to the cut. Those of now are as Deliveries has them.
func (p *Projections) OpenAt(ctx context.Context, f OpenFilter) (Page[DeliveryRow], error) {
	if f.Cut == (Cut{}) {
		return p.openNow(ctx, f)
	}
	at, err := p.moment(ctx, f.Cut)
	if err != nil {
		return Page[DeliveryRow]{}, err
	}
	l := p.openList(f, at.next)
	out, err := page(ctx, p.db, l, scanDelivery, func(d *DeliveryRow) cursor { return cursor{micros(d.CreatedAt), d.ID} })
	if err != nil {
		return out, err
	}
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

// openNow lists what has not ended.
func (p *Projections) openNow(ctx context.Context, f OpenFilter) (Page[DeliveryRow], error) {
	paused, err := p.pausedReplays(ctx, f.Tenant)
	if err != nil {
		return Page[DeliveryRow]{}, err
	}
	l := openRows(f)
	l.check(l.sb.Or(stillOpen(l)...))
	out, err := page(ctx, p.db, l, scanDelivery, func(d *DeliveryRow) cursor { return cursor{micros(d.CreatedAt), d.ID} })
	for i := range out.Rows {
		p.hold(&out.Rows[i], paused)
	}
	return out, err
}

// behind is about when what stands behind the cut was recorded first: nothing that is older happened since. It is zero
// where nothing stands there.
func (p *Projections) behind(ctx context.Context, cut Cut) (time.Time, error) {
	if cut.Position == 0 {
		return cut.Time, nil
	}
	for r, err := range p.cfg.Store.ReadAll(ctx, cut.Position) {
		if err != nil {
			return time.Time{}, fmt.Errorf("read the ledger behind %d: %w", cut.Position, err)
		}
		return r.RecordedAt, nil
	}
	return time.Time{}, nil
}

func openRows(f OpenFilter) *list {
	index := ""
	if f.EndpointID != "" {
		index = "deliveries_endpoint"
	}
	l := newList(f.List, "deliveries", index, deliveryColumns, "created_at", domain.PrefixDelivery)
	l.where("endpoint_id", f.EndpointID)
	return l
}

func stillOpen(l *list) []string {
	return []string{"due_at > 0", l.sb.Equal("status", string(domain.StatusInFlight))}
}

// openList is the query of what may have been open: it is still, or something happened to it since.
func (p *Projections) openList(f OpenFilter, next time.Time) *list {
	if !next.IsZero() {
		f.CreatedBefore = next.Add(clockSkew)
	}
	l := openRows(f)
	open := stillOpen(l)
	if !next.IsZero() {
		open = append(open, l.sb.GreaterEqualThan("updated_at", micros(next.Add(-clockSkew))))
	}
	l.check(l.sb.Or(open...))
	return l
}

// moment folds deliveries up to a cut.
type moment struct {
	p         *Projections
	cut       Cut
	now       time.Time // then
	next      time.Time // of the first record behind the cut; zero: there is none
	endpoints map[string]*endpointThen
	paused    map[string]time.Time // replays, since when they were; zero: they were not
}

func (p *Projections) moment(ctx context.Context, cut Cut) (*moment, error) {
	then, err := p.cutTime(ctx, cut)
	if err != nil {
		return nil, err
	}
	next, err := p.behind(ctx, cut)
	if err != nil {
		return nil, err
	}
	if then.IsZero() { // the position is no record's
		if then = next; then.IsZero() {
			then = p.cfg.Now()
		}
	}
	return &moment{p: p, cut: cut, now: then, next: next, endpoints: map[string]*endpointThen{},
		paused: map[string]time.Time{}}, nil
}

// rewind makes a row say what it said at the cut, as the fold of rows does. It is false where the delivery had ended,
// or was not there yet.
func (m *moment) rewind(ctx context.Context, row *DeliveryRow) (bool, error) {
	then, err := m.endpoint(ctx, row.Tenant, row.EndpointID)
	if err != nil {
		return false, err
	}
	d, err := m.fold(ctx, row, then)
	if err != nil || d == nil {
		return false, err
	}
	row.UpdatedAt, row.LastCode, row.LastError, row.CompletedAt = d.updated, 0, "", time.Time{}
	row.Status, row.Attempts, row.Revision, row.DueAt = d.Status, d.Attempts, d.Revision, d.DueAt
	if d.Status == domain.StatusInFlight {
		row.DueAt = time.Time{}
	}
	if d.Status.Terminal() {
		return false, nil
	}
	row.InLine = then.order.ordered && row.Replay == ""
	return true, m.hold(ctx, row, then)
}

// deliveryThen is a delivery as it was at the cut.
type deliveryThen struct {
	*domain.Delivery
	updated time.Time
	stuck   domain.Position // of the record by which it is exhausted so that others may wait behind it; 0: it is not
	stuckAt time.Time
}

// fold gives nil where the delivery was not there yet.
func (m *moment) fold(ctx context.Context, row *DeliveryRow, then *endpointThen) (*deliveryThen, error) {
	due, err := m.scheduled(ctx, row)
	if err != nil || due.IsZero() {
		return nil, err
	}
	d := deliveryThen{Delivery: domain.NewDelivery(), updated: due}
	d.DueAt = due
	ended := false // by the endpoint's removal
	end := func() {
		if !ended && (d.Status == domain.StatusPending || d.Status == domain.StatusRetrying) {
			d.Status = domain.StatusCancelled
		}
		ended = true
	}
	for r, err := range m.p.cfg.Store.ReadStream(ctx, domain.DeliveryStream(row.Tenant, row.ID), 0) {
		if err != nil {
			return nil, fmt.Errorf("read the stream of delivery %s: %w", row.ID, err)
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
		d.updated = r.RecordedAt
		if _, exhausted := r.Fact.(*domain.DeliveryExhausted); exhausted {
			d.stuck, d.stuckAt = 0, r.RecordedAt
			if holdsUp(r) {
				d.stuck = r.Position
			}
		}
	}
	if then.removed > 0 {
		end()
	}
	if d.Status != domain.StatusExhausted {
		d.stuck = 0
	}
	return &d, nil
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
