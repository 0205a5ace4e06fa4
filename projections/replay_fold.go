package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

const replayColumns = "tenant, created_at, id, status, ended, state"

var replayTable = newTable("replays", replayColumns, "tenant, created_at, id", "status", "ended", "state")

const headUpsert = "INSERT INTO heads (tenant, position, record, stream, revision) VALUES (?, ?, ?, ?, ?) " +
	"ON CONFLICT (tenant) DO UPDATE SET position = excluded.position, record = excluded.record, " +
	"stream = excluded.stream, revision = excluded.revision"

// replayState is a replay's row while it is folded.
type replayState struct {
	*domain.Replay
	raw           []byte // the row's state, of what is being written
	stored, dirty bool
}

func (s *replayState) isStored() bool { return s.stored }
func (s *replayState) written()       { s.stored, s.dirty = true, false }

func (s *replayState) appendArgs(args []any) []any {
	return append(args, s.Tenant, micros(s.RequestedAt), s.ID, string(s.Status), s.Ended(), s.raw)
}

// loadReplays reads the replays that the records are about, and the events that they schedule.
func (b *batch) loadReplays(ctx context.Context, q queryer, records []*domain.Record) error {
	replays, events := map[string][]string{}, map[string][]string{} // ids by tenant
	for _, r := range records {
		if r.Stream.Category() != domain.CategoryReplay {
			continue
		}
		if key := eventKey(r.Tenant, r.Stream.ID()); !has(b.replays, key) {
			b.replays[key] = nil
			if r.Revision > 0 {
				replays[r.Tenant] = append(replays[r.Tenant], r.Stream.ID())
			}
		}
		page, ok := r.Fact.(*domain.ReplayPageScheduled)
		if !ok {
			continue
		}
		for _, p := range page.Pairs {
			b.deliveries[p.Delivery] = nil
			if key := eventKey(r.Tenant, p.Event); !has(b.events, key) {
				b.events[key] = nil
				events[r.Tenant] = append(events[r.Tenant], p.Event)
			}
		}
	}
	if len(events) > 0 {
		const query = "SELECT " + eventColumns + " FROM events WHERE tenant = ? AND id IN (SELECT value FROM json_each(?))"
		err := each(ctx, q, query, events, func(rows *sql.Rows) error {
			e := &eventState{stored: true}
			err := scanEvent(rows, &e.EventRow)
			b.events[eventKey(e.Tenant, e.ID)] = e
			return err
		})
		if err != nil {
			return err
		}
	}
	return each(ctx, q, "SELECT state FROM replays WHERE tenant = ? AND id IN (SELECT value FROM json_each(?))", replays,
		func(rows *sql.Rows) error {
			s := &replayState{Replay: &domain.Replay{}, stored: true}
			err := scanReplay(rows, s.Replay)
			b.replays[eventKey(s.Tenant, s.ID)] = s
			return err
		})
}

func scanReplay(rows *sql.Rows, r *domain.Replay) error {
	var raw []byte
	if err := rows.Scan(&raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, r); err != nil {
		return fmt.Errorf("the row of a replay: %w", err)
	}
	return nil
}

// replay folds a record of a replay's stream.
func (b *batch) replay(r *domain.Record) error {
	key := eventKey(r.Tenant, r.Stream.ID())
	s := b.replays[key]
	if _, first := r.Fact.(*domain.ReplayRequested); first && s == nil {
		s = &replayState{Replay: domain.NewReplay()}
		b.replays[key] = s
	}
	if s == nil {
		return fmt.Errorf("replay %s was never requested", r.Stream.ID())
	}
	if page, ok := r.Fact.(*domain.ReplayPageScheduled); ok {
		if err := b.paged(r, page); err != nil {
			return err
		}
	}
	s.Evolve(r)
	raw, err := json.Marshal(s.Replay)
	if err != nil {
		return err
	}
	s.raw = raw
	if !s.dirty {
		s.dirty = true
		b.replayOrder = append(b.replayOrder, s)
	}
	return nil
}

// paged makes the rows of a page's deliveries, as routed does of an event's.
func (b *batch) paged(r *domain.Record, page *domain.ReplayPageScheduled) error {
	for i, p := range page.Pairs {
		e := b.events[eventKey(r.Tenant, p.Event)]
		if e == nil {
			return fmt.Errorf("event %s is replayed and was never received", p.Event)
		}
		d := &deliveryState{Delivery: *domain.NewDelivery(), eventType: e.Event, createdAt: createdMicros(p.Delivery),
			replay: r.Stream.ID()}
		d.Tenant, d.ID, d.Event, d.Endpoint, d.DueAt = r.Tenant, p.Delivery, p.Event, p.Endpoint, pagedAt(r, i)
		d.position = r.Position
		b.deliveries[d.ID] = d
		b.touch(d, r)
	}
	return nil
}

// pagedAt is when the i-th pair of a page is due: a microsecond behind the one before, so that they go out in order.
func pagedAt(r *domain.Record, i int) time.Time {
	return r.RecordedAt.Add(time.Duration(i) * time.Microsecond)
}

// createdMicros is the time that an id begins with: lists are in the order of ids, and so of it.
func createdMicros(delivery string) int64 {
	u, err := ulid.ParseStrict(delivery[min(len(delivery), len(domain.PrefixDelivery)):])
	if err != nil {
		return 0
	}
	return micros(u.Timestamp())
}

// heldReplay names a replay whose deliveries are held.
type heldReplay struct{ tenant, replay string }

// loadHeld takes in which replays are held, as their rows say.
func (db *database) loadHeld(ctx context.Context, b *Backlog) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return scanRows(ctx, db.write, "SELECT state FROM replays INDEXED BY replays_open WHERE ended = 0", nil,
		func(rows *sql.Rows) error {
			var r domain.Replay
			err := scanReplay(rows, &r)
			if r.Held() {
				b.resting[heldReplay{r.Tenant, r.ID}] = true
			}
			return err
		})
}

// replay takes in a record of a replay's stream.
func (b *Backlog) replay(r *domain.Record) {
	id := heldReplay{r.Tenant, r.Stream.ID()}
	switch f := r.Fact.(type) {
	case *domain.ReplayPageScheduled:
		for i, p := range f.Pairs {
			b.routed(r, domain.EndpointKey{Tenant: id.tenant, Endpoint: p.Endpoint, Replay: id.replay}, p.Delivery, p.Event,
				dueMicros(pagedAt(r, i)))
		}
		return
	case *domain.ReplayPaused, *domain.ReplayCancelled:
		b.resting[id] = true
	case *domain.ReplayResumed, *domain.ReplayCompleted:
		delete(b.resting, id)
	default:
		return
	}
	for key, q := range b.queues {
		if key.Tenant != id.tenant || key.Replay != id.replay {
			continue
		}
		q.held = b.resting[id]
		if _, ended := r.Fact.(*domain.ReplayCompleted); ended {
			b.gone = append(b.gone, q)
		}
		b.schedule(q)
		signal(b.refill)
	}
}
