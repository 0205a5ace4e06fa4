package projections

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/huandu/go-sqlbuilder"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// ReplayFilter selects replays.
type ReplayFilter struct {
	List
	Status domain.ReplayStatus
}

// Replays lists replays.
func (p *Projections) Replays(ctx context.Context, f ReplayFilter) (Page[domain.Replay], error) {
	return page(ctx, p.db, replayList(f), scanReplay,
		func(r *domain.Replay) cursor { return cursor{micros(r.RequestedAt), r.ID} })
}

func replayList(f ReplayFilter) *list {
	index := ""
	if f.Status != "" {
		index = "replays_status"
	}
	l := newList(f.List, "replays", index, "state", "created_at", "")
	l.where("status", string(f.Status))
	return l
}

// Replay gives one replay as its stream folds to. Where the rows have none of that id, they are first brought to the
// end of the ledger.
func (p *Projections) Replay(ctx context.Context, tenant, id string) (domain.Replay, error) {
	r, err := one(ctx, p, "replay", "SELECT state FROM replays WHERE tenant = ? AND id = ?", tenant, id, scanReplay)
	if domain.Code(err) == "replay_not_found" {
		err = domain.ErrNoReplay()
	}
	return r, err
}

// OpenReplays gives the replays of all tenants for which there is something left to do.
func (p *Projections) OpenReplays(ctx context.Context) ([]domain.Replay, error) {
	return collect(ctx, p, "SELECT state FROM replays INDEXED BY replays_open WHERE ended = 0", nil, scanReplay)
}

const replayCounts = "SELECT status, count(*) FROM deliveries INDEXED BY deliveries_replay_status WHERE tenant = ? AND " +
	"replay = ? AND replay <> '' AND status <> 'succeeded' GROUP BY status"

// ReplayProgress says how the deliveries of a replay stand, of all that the rows hold.
func (p *Projections) ReplayProgress(ctx context.Context, tenant, id string) (domain.ReplayProgress, error) {
	var out domain.ReplayProgress
	err := p.db.view(ctx, func(q queryer, c checkpoint) error {
		out.Position = c.position
		var r domain.Replay
		err := scanRows(ctx, q, "SELECT state FROM replays WHERE tenant = ? AND id = ?", []any{tenant, id},
			func(rows *sql.Rows) error { return scanReplay(rows, &r) })
		if err != nil {
			return err
		}
		out.Scheduled, out.Delivered = r.Scheduled, r.Scheduled
		return scanRows(ctx, q, replayCounts, []any{tenant, id}, func(rows *sql.Rows) error {
			var status domain.DeliveryStatus
			var n int
			if err := rows.Scan(&status, &n); err != nil {
				return err
			}
			out.Delivered -= n
			switch status {
			case domain.StatusExhausted:
				out.Failed = n
			case domain.StatusCancelled:
				out.Cancelled = n
			default:
				out.Open += n
			}
			return nil
		})
	})
	return out, err
}

// ReplayDeliveries gives deliveries of a replay that have one of the statuses, behind the id, in the order of ids, at
// most so many.
func (p *Projections) ReplayDeliveries(ctx context.Context, tenant, replay, after string, limit int,
	statuses ...domain.DeliveryStatus) ([]domain.Due, error) {
	sb := sqlbuilder.SQLite.NewSelectBuilder()
	sb.Select(deliveryColumns).From("deliveries INDEXED BY deliveries_replay_status")
	in := make([]any, len(statuses))
	for i, s := range statuses {
		in[i] = string(s)
	}
	sb.Where(sb.Equal("tenant", tenant), sb.Equal("replay", replay), "replay <> ''", "status <> 'succeeded'",
		sb.In("status", in...), sb.GreaterThan("id", after)).OrderBy("id").Limit(limit)
	query, args := sb.Build()
	return collect(ctx, p, query, args, func(rows *sql.Rows, due *domain.Due) error {
		var d DeliveryRow
		err := scanDelivery(rows, &d)
		*due = domain.Due{Tenant: d.Tenant, Endpoint: d.EndpointID, Delivery: d.ID, Event: d.EventID, Replay: d.Replay,
			DueAt: d.DueAt, Revision: d.Revision}
		return err
	})
}

// EventHeads gives the events behind the cursor that the range takes, in the order of (time of receipt, id), at most so
// many. The rows must have reached the range's last position.
func (p *Projections) EventHeads(ctx context.Context, tenant string, r domain.EventRange, after domain.ReplayCursor,
	limit int) ([]domain.EventHead, error) {
	query, args, err := headsQuery(tenant, r, after, limit)
	if err != nil {
		return nil, err
	}
	return collect(ctx, p, query, args, scanEventHead)
}

func scanEventHead(rows *sql.Rows, h *domain.EventHead) error {
	var created int64
	err := rows.Scan(&h.ID, &h.Type, &h.Size, &created, &h.Position)
	h.At = fromMicros(created)
	return err
}

func headsQuery(tenant string, r domain.EventRange, after domain.ReplayCursor, limit int) (string, []any, error) {
	sb := sqlbuilder.SQLite.NewSelectBuilder()
	table := "events"
	sb.Where(sb.Equal("tenant", tenant), sb.LessEqualThan("position", int64(r.UpTo)))
	if r.IDs != nil {
		list, err := json.Marshal(r.IDs)
		if err != nil {
			return "", nil, err
		}
		table += " INDEXED BY events_id" // a few of many: they are found, and then sorted
		sb.Where("id IN (SELECT value FROM json_each(" + sb.Var(string(list)) + "))")
	}
	if r.After > 0 {
		sb.Where(sb.GreaterThan("position", int64(r.After)))
	}
	if !r.CreatedAfter.IsZero() {
		sb.Where(sb.GreaterThan("created_at", r.CreatedAfter.UnixMicro()))
	}
	if !r.CreatedBefore.IsZero() {
		sb.Where(sb.LessThan("created_at", r.CreatedBefore.UnixMicro()))
	}
	if s := within(sb, "timestamp", Span{r.OccurredAfter, r.OccurredBefore}); len(s) > 0 {
		sb.Where(s...)
	}
	if after.Event != "" {
		sb.Where("(created_at, id) >= (" + sb.Var(micros(after.At)) + ", " + sb.Var(after.Event) + ")")
	}
	sb.Select("id", "event", "size", "created_at", "position").From(table).OrderBy("created_at", "id").Limit(limit)
	query, args := sb.Build()
	return query, args, nil
}

// EventBefore names the last event up to the position, EventFrom the first one from it on; "" where there is none. All
// the tenant's events are looked at: it is asked once for a plan, which does the same.
func (p *Projections) EventBefore(ctx context.Context, tenant string, pos domain.Position) (string, error) {
	return p.eventAt(ctx, "position <= ? ORDER BY position DESC", tenant, pos)
}

// EventFrom is described with EventBefore.
func (p *Projections) EventFrom(ctx context.Context, tenant string, pos domain.Position) (string, error) {
	return p.eventAt(ctx, "position >= ? ORDER BY position", tenant, pos)
}

func (p *Projections) eventAt(ctx context.Context, condition, tenant string, pos domain.Position) (string, error) {
	ids, err := collect(ctx, p, "SELECT id FROM events WHERE tenant = ? AND "+condition+" LIMIT 1",
		[]any{tenant, int64(pos)}, func(rows *sql.Rows, id *string) error { return rows.Scan(id) })
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return ids[0], nil
}

// DeliveriesByID gives the deliveries of these ids that there are, with their event and endpoint.
func (p *Projections) DeliveriesByID(ctx context.Context, tenant string, ids []string) ([]domain.Due, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	return collect(ctx, p, "SELECT id, event_id, endpoint_id FROM deliveries WHERE tenant = ? AND "+
		"id IN (SELECT value FROM json_each(?))", []any{tenant, string(list)}, func(rows *sql.Rows, d *domain.Due) error {
		d.Tenant = tenant
		return rows.Scan(&d.Delivery, &d.Event, &d.Endpoint)
	})
}

// DeliveriesTo names the deliveries of an event to an endpoint, whatever scheduled them.
func (p *Projections) DeliveriesTo(ctx context.Context, tenant, event, endpoint string) ([]string, error) {
	return collect(ctx, p, "SELECT id FROM deliveries INDEXED BY deliveries_event WHERE tenant = ? AND event_id = ? "+
		"AND endpoint_id = ?", []any{tenant, event, endpoint}, func(rows *sql.Rows, id *string) error {
		return rows.Scan(id)
	})
}

// AsOf is the tenant's last record that the rows hold, and where it stands.
func (p *Projections) AsOf(ctx context.Context, tenant string) (pos domain.Position, ref domain.RecordRef, err error) {
	const query = "SELECT position, record, stream, revision FROM heads WHERE tenant = ?"
	err = scanRows(ctx, p.db.r, query, []any{tenant}, func(rows *sql.Rows) error {
		var record string
		if err := rows.Scan(&pos, &record, &ref.Stream, &ref.Revision); err != nil {
			return err
		}
		ref.Record, err = ulid.ParseStrict(record)
		return err
	})
	return pos, ref, p.db.broken(err)
}

// Routed gives the endpoints that events were routed to, with the delivery to each, by event.
func (p *Projections) Routed(ctx context.Context, tenant string, events []string) (map[string][]domain.Match, error) {
	out := make(map[string][]domain.Match, len(events))
	err := each(ctx, p.db.r, "SELECT event_id, endpoint_id, id FROM deliveries INDEXED BY deliveries_event WHERE tenant = ? "+
		"AND event_id IN (SELECT value FROM json_each(?)) AND replay = ''", map[string][]string{tenant: events},
		func(rows *sql.Rows) error {
			var event string
			var m domain.Match
			err := rows.Scan(&event, &m.Endpoint, &m.Delivery)
			out[event] = append(out[event], m)
			return err
		})
	return out, p.db.broken(err)
}
