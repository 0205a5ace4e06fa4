package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"hookledger/domain"
)

// refiller reads waiting deliveries back from the rows, for the endpoints whose head in memory runs low.
type refiller struct {
	backlog *Backlog
	db      *database
	want    func(domain.Position) // asks for rows that are newer
	metrics *metrics
}

// refillJob is an endpoint whose rows are read from the edge on.
type refillJob struct {
	queue *queue
	order order // of the queue, and so of the edge
	edge  place
	limit int
}

// waitingRow is a delivery that waits, as its row says.
type waitingRow struct {
	key        domain.EndpointKey
	id, event  string
	due, since int64
	rev        domain.Revision
	line       domain.Position
	open       bool
	ended      bool
	stuck      bool // exhausted, and others wait behind it
}

// run refills until ctx ends; it fails when the rows can't be read.
func (f *refiller) run(ctx context.Context) error {
	for {
		next, err := f.refill(ctx)
		if err != nil {
			return err
		}
		if err := f.idle(ctx, next); err != nil {
			return err
		}
	}
}

// idle waits for a signal, and no longer than next where that is not 0.
func (f *refiller) idle(ctx context.Context, next time.Duration) error {
	var alarm <-chan time.Time
	if next > 0 {
		timer := time.NewTimer(next)
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-f.backlog.refill:
	case <-alarm:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// refill does all there is to do by now, and says after which time there may be more; 0: it can't tell.
func (f *refiller) refill(ctx context.Context) (time.Duration, error) {
	for {
		jobs, orphans, want, next := f.backlog.lacking()
		if want > 0 {
			f.want(want)
		}
		if len(jobs) == 0 && len(orphans) == 0 {
			return next, nil
		}
		start := time.Now()
		for _, job := range jobs {
			if err := f.fill(ctx, job); err != nil {
				return 0, fmt.Errorf("refill endpoint %s: %w", job.queue.key.Endpoint, err)
			}
		}
		if err := f.adopt(ctx, orphans); err != nil {
			return 0, fmt.Errorf("refill retried deliveries: %w", err)
		}
		f.metrics.refill.Observe(time.Since(start).Seconds())
	}
}

// lacking names the endpoints that need rows and the orphans whose rows are there, by tenant; the position that the
// rows should reach soon, 0 for none; and when the next endpoint will need rows because what they hold comes near.
func (b *Backlog) lacking() (jobs []refillJob, orphans map[string][]string, want domain.Position, next time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	near := now.Add(horizon / 2).UnixMicro()
	for _, q := range b.queues {
		if !q.edged || q.rests() || len(q.head) >= b.low && !(q.order.ordered && q.blind()) {
			continue
		}
		if !q.order.ordered && q.edge.at > near {
			if in := time.Duration(q.edge.at-near) * time.Microsecond; next == 0 || in < next {
				next = in
			}
			continue
		}
		if q.since > b.rows {
			want = max(want, q.since)
			continue
		}
		if end, cut := q.complete(b.rows); cut && !q.edge.before(end) {
			want = max(want, q.behind.last)
			continue
		}
		jobs = append(jobs, refillJob{queue: q, order: q.order, edge: q.edge, limit: max(b.low, b.headSize-len(q.head))})
	}
	orphans = map[string][]string{}
	for id, o := range b.orphans {
		if o.pos <= b.rows {
			orphans[o.tenant] = append(orphans[o.tenant], id)
		} else {
			want = max(want, o.pos)
		}
	}
	return jobs, orphans, want, next
}

const waitingColumns = "tenant, endpoint_id, replay, id, event_id, due_at, updated_at, revision, position, " +
	"status = 'in_flight', status IN ('succeeded', 'exhausted', 'cancelled'), line AND status = 'exhausted'"

func scanWaiting(rows *sql.Rows, w *waitingRow) error {
	return rows.Scan(&w.key.Tenant, &w.key.Endpoint, &w.key.Replay, &w.id, &w.event, &w.due, &w.since, &w.rev, &w.line,
		&w.open, &w.ended, &w.stuck)
}

// rows runs a query and says at which position the rows stood.
func (f *refiller) rows(ctx context.Context, scan func(*sql.Rows, *waitingRow) error, query string,
	args ...any) (rows []waitingRow, at domain.Position, err error) {
	err = f.db.view(ctx, func(q queryer, c checkpoint) error {
		at = c.position
		return scanRows(ctx, q, query, args, func(r *sql.Rows) error {
			var w waitingRow
			err := scan(r, &w)
			rows = append(rows, w)
			return err
		})
	})
	return rows, at, err
}

// read says that rows are being read, from now on or no more.
func (b *Backlog) read(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading, b.floor = on, b.rows
}

// What is due has no open attempt and has not ended: its rows are read without what says so. The range stands first:
// SQLite begins where the first bound says, and due_at > 0, which only names the partial index, would let it read all
// that was taken before and is not ended in the rows yet.
const refillQuery = "SELECT id, event_id, due_at, revision, position, 0 FROM deliveries INDEXED BY deliveries_due WHERE tenant = ? " +
	"AND endpoint_id = ? AND replay = ? AND (due_at, id) >= (?, ?) AND due_at > 0 ORDER BY due_at, id LIMIT ?"

// The line of an ordered endpoint: what waits, and what others wait behind.
const lineQuery = "SELECT id, event_id, max(due_at, completed_at), revision, position, status = 'exhausted' FROM deliveries " +
	"INDEXED BY deliveries_line WHERE tenant = ? AND endpoint_id = ? AND replay = ? AND (position, id) >= (?, ?) " +
	"AND line = 1 ORDER BY position, id LIMIT ?"

func scanDue(rows *sql.Rows, w *waitingRow) error {
	return rows.Scan(&w.id, &w.event, &w.due, &w.rev, &w.line, &w.stuck)
}

func (f *refiller) fill(ctx context.Context, job refillJob) error {
	b := f.backlog
	b.read(true)
	defer b.read(false)
	rows, at, err := f.waiting(ctx, job)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.filled(job, rows, at)
	return nil
}

// waiting reads the rows of a job, and says at which position they stood.
func (f *refiller) waiting(ctx context.Context, job refillJob) ([]waitingRow, domain.Position, error) {
	key, query := job.queue.key, refillQuery
	if job.order.ordered {
		query = lineQuery
	}
	return f.rows(ctx, scanDue, query, key.Tenant, key.Endpoint, key.Replay, job.edge.at, job.edge.id, job.limit+1)
}

// filled puts rows, as they stood at the position, into the head, and moves the edge behind them. b.mu is held.
func (b *Backlog) filled(job refillJob, rows []waitingRow, at domain.Position) {
	q := job.queue
	if !q.edged || q.edge != job.edge || q.order != job.order || q.since > at {
		return // it has changed meanwhile: read again
	}
	end, cut := q.complete(at)
	far := b.now().Add(horizon).UnixMicro()
	edged, edge := cut, end
	for i, w := range rows {
		p := q.place(w.line, w.due, w.id)
		if cut && !p.before(end) {
			break
		}
		if i == job.limit || !q.order.ordered && p.at > far {
			edged, edge = true, p
			break
		}
		if o, sought := b.orphans[w.id]; sought && o.pos > at && q.order.ordered {
			// Somebody asked for a retry of it, and its row does not say so yet: nobody overtakes it meanwhile.
			q.miss(p, o.pos, at)
			edged, edge = true, p
			break
		}
		b.adopt(q, w, at)
	}
	q.edged, q.edge = edged, edge
	b.evict(q)
	b.schedule(q)
}

// adopt takes a row into the head, unless more is known about its delivery than the rows knew at the position.
func (b *Backlog) adopt(q *queue, w waitingRow, at domain.Position) {
	it := b.items[w.id]
	switch {
	case it == nil:
		both := w.id + w.event
		it = &item{id: both[:len(w.id)], event: both[len(w.id):]}
		b.items[it.id] = it
	case it.state != settled || it.pos > at:
		return
	default:
		it.event = w.event
	}
	it.queue, it.rev, it.line, it.due, it.row, it.pos = q, w.rev, w.line, w.due, w.due, 0
	it.open, it.returned, it.again, it.ended, it.stuck = false, false, false, false, w.stuck
	q.insert(it)
}

const rowsByID = "SELECT " + waitingColumns + " FROM deliveries WHERE tenant = ? AND " +
	"id IN (SELECT value FROM json_each(?))"

// adopt finds the endpoints of orphans, given by tenant.
func (f *refiller) adopt(ctx context.Context, orphans map[string][]string) error {
	for tenant, ids := range orphans {
		if err := f.adoptTenant(ctx, tenant, ids); err != nil {
			return err
		}
	}
	return nil
}

func (f *refiller) adoptTenant(ctx context.Context, tenant string, ids []string) error {
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	b := f.backlog
	b.read(true)
	defer b.read(false)
	rows, at, err := f.rows(ctx, scanWaiting, rowsByID, tenant, string(list))
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range rows {
		b.found(w, at)
	}
	for _, id := range ids {
		if b.orphans[id].pos <= at {
			delete(b.orphans, id)
		}
	}
	return nil
}

// found offers an orphan by its row as it stood at the position. b.mu is held.
func (b *Backlog) found(w waitingRow, at domain.Position) {
	it := b.items[w.id]
	o, orphaned := b.orphans[w.id]
	if !orphaned || o.pos > at || w.ended && !w.stuck || it != nil && (it.state != settled || it.pos > at) {
		return
	}
	q := b.queue(w.key)
	if q.since > at && !w.open {
		return // the removal has ended it or the refill will bring it, and the row does not say so yet
	}
	if it == nil {
		it = &item{id: w.id}
	}
	it.queue, it.event, it.rev, it.line, it.open = q, w.event, w.rev, w.line, w.open
	if w.ended {
		it.stuck, it.pos, it.next = true, o.pos, w.since
		b.over(it)
		return
	}
	due := w.due
	if w.open {
		due = w.since + (domain.MaxTimeout + takeover).Microseconds()
	}
	b.offer(it, due, o.pos)
}
