package projections

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

var errNoSuchEndpoint = domain.Refuse(domain.KindNotFound, "endpoint_not_found", "there is no such endpoint",
	"list them with: hookledger endpoint list")

// EndpointHealth gives an endpoint's health as it is now. A *domain.Error of KindNotFound says that there is none.
func (p *Projections) EndpointHealth(ctx context.Context, tenant, id string) (HealthView, error) {
	now := p.cfg.Now()
	p.health.mu.RLock()
	one := p.health.fold.Health(tenant, id)
	var v HealthView
	if one != nil {
		v = viewOf(one, now)
		v.Position = p.health.at.position
	}
	p.health.mu.RUnlock()
	if one == nil {
		return v, errNoSuchEndpoint
	}
	if v.State != domain.HealthDisabled {
		v.Blocked, _ = p.backlog.Blocked(tenant, id)
	}
	var err error
	v.Pending, v.OldestPending, err = p.waiting(ctx, tenant, id)
	return v, err
}

// waiting counts the deliveries that wait at an endpoint, and says when the oldest one's event was received.
func (p *Projections) waiting(ctx context.Context, tenant, endpoint string) (n int, oldest time.Time, err error) {
	if n, oldest, err = p.countWaiting(ctx, " AND tenant = ? AND endpoint_id = ?", tenant, endpoint); err != nil {
		err = fmt.Errorf("count what waits at %s: %w", endpoint, err)
	}
	return n, oldest, err
}

// countWaiting reads one index: a delivery's id begins with the time at which its event was received.
func (p *Projections) countWaiting(ctx context.Context, where string, args ...any) (n int, oldest time.Time,
	err error) {
	var first sql.NullString
	err = p.db.r.QueryRowContext(ctx, "SELECT count(*), min(id) FROM deliveries INDEXED BY deliveries_due "+
		"WHERE due_at > 0"+where, args...).Scan(&n, &first)
	if err != nil {
		return 0, time.Time{}, p.db.broken(err)
	}
	if u, err := ulid.ParseStrict(strings.TrimPrefix(first.String, domain.PrefixDelivery)); err == nil {
		oldest = ulid.Time(u.Time()).UTC()
	}
	return n, oldest, nil
}

// HealthAt is an endpoint's health as a node said it at the cut, by the thresholds of now: folded from the endpoint's
// records behind the last fold of it that was kept. The rows must hold everything up to the cut. What was pending then
// is not told: OpenAt lists it.
func (p *Projections) HealthAt(ctx context.Context, tenant, id string, cut Cut) (HealthView, error) {
	one, then, err := p.healthAt(ctx, tenant, id, cut)
	if err != nil {
		return HealthView{}, err
	}
	v := viewOf(one, then)
	v.Position = cut.Position
	if v.State != domain.HealthDisabled {
		v.Blocked, err = p.blockedAt(ctx, tenant, id, cut)
	}
	return v, err
}

// healthAt gives the fold of HealthAt, and the time that the moment was.
func (p *Projections) healthAt(ctx context.Context, tenant, id string, cut Cut) (*domain.Health, time.Time, error) {
	then, err := p.cutTime(ctx, cut)
	if err != nil {
		return nil, then, err
	}
	until := then
	if until.IsZero() {
		until = p.cfg.Now()
	}
	fold := domain.NewHealthFold(p.cfg.Health)
	from, since, err := p.lastKept(ctx, fold, tenant, id, cut)
	if err != nil {
		return nil, then, fmt.Errorf("read a kept fold of %s: %w", id, p.db.broken(err))
	}
	streams := []domain.Stream{domain.EndpointStream(tenant, id)}
	for _, o := range fold.Open(nil) {
		streams = append(streams, o.Stream)
	}
	more, err := p.attemptedBetween(ctx, tenant, id, since, until)
	if err != nil {
		return nil, then, err
	}
	records, err := p.recordsOf(ctx, append(streams, more...), from, cut)
	if err != nil {
		return nil, then, err
	}
	for _, r := range records {
		fold.Apply(r)
	}
	one := fold.Health(tenant, id)
	if one == nil {
		return nil, then, errNoSuchEndpoint
	}
	if then.IsZero() {
		then = one.Latest
	}
	return one, then, nil
}

// cutTime is the time at the cut: that of its record where it is a position. It is zero for a position that is no
// record's.
func (p *Projections) cutTime(ctx context.Context, cut Cut) (time.Time, error) {
	if cut.Position == 0 {
		return cut.Time, nil
	}
	for r, err := range p.cfg.Store.ReadAll(ctx, cut.Position-1) {
		switch {
		case errors.Is(err, ledger.ErrPosition):
		case err != nil:
			return time.Time{}, fmt.Errorf("read the record at %d: %w", cut.Position, err)
		case r.Position == cut.Position:
			return r.RecordedAt, nil
		}
		break
	}
	return time.Time{}, nil
}

// lastKept fills the fold with the last one that was kept before the cut, and says up to where and when that went.
func (p *Projections) lastKept(ctx context.Context, fold *domain.HealthFold, tenant, id string,
	cut Cut) (domain.Position, time.Time, error) {
	query, arg := "SELECT position, latest, state FROM health_kept WHERE tenant = ? AND endpoint_id = ? AND position <= ? "+
		"ORDER BY position DESC LIMIT 1", int64(cut.Position)
	if cut.Position == 0 {
		query, arg = "SELECT position, latest, state FROM health_kept WHERE tenant = ? AND endpoint_id = ? AND latest <= ? "+
			"ORDER BY position DESC LIMIT 1", micros(cut.Time)
	}
	var position, latest int64
	var state []byte
	err := p.db.r.QueryRowContext(ctx, query, tenant, id, arg).Scan(&position, &latest, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, time.Time{}, nil
	}
	if err != nil {
		return 0, time.Time{}, err
	}
	var k healthKept
	if err := json.Unmarshal(state, &k); err != nil {
		return 0, time.Time{}, err
	}
	if err := fold.Restore([][]byte{k.Health}, k.Open, k.Between); err != nil {
		return 0, time.Time{}, err
	}
	return domain.Position(position), fromMicros(latest), nil
}

// attemptedBetween gives the streams of the deliveries that the endpoint got attempts of between two times, and a
// little before and after: clocks differ.
func (p *Projections) attemptedBetween(ctx context.Context, tenant, id string, since, until time.Time) ([]domain.Stream,
	error) {
	var out []domain.Stream
	err := scanRows(ctx, p.db.r, "SELECT DISTINCT delivery_id FROM attempts INDEXED BY attempts_endpoint "+
		"WHERE tenant = ? AND endpoint_id = ? AND id >= ? AND id <= ?", []any{tenant, id,
		firstID(domain.PrefixAttempt, since.Add(-clockSkew)), firstID(domain.PrefixAttempt, until.Add(clockSkew))},
		func(rows *sql.Rows) error {
			var delivery string
			err := rows.Scan(&delivery)
			out = append(out, domain.DeliveryStream(tenant, delivery))
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("find the attempts of %s: %w", id, p.db.broken(err))
	}
	return out, nil
}

// recordsOf reads what of the streams stands behind a position and before the cut, in the order of the ledger.
func (p *Projections) recordsOf(ctx context.Context, streams []domain.Stream, from domain.Position,
	cut Cut) ([]*domain.Record, error) {
	slices.Sort(streams)
	var out []*domain.Record
	for _, s := range slices.Compact(streams) {
		for r, err := range p.cfg.Store.ReadStream(ctx, s, 0) {
			if err != nil {
				return nil, fmt.Errorf("read the stream %s: %w", s, err)
			}
			if r.Position > from && cut.holds(r) {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b *domain.Record) int { return cmp.Compare(a.Position, b.Position) })
	return out, nil
}
