package projections

import (
	"cmp"
	"context"
	"database/sql"
)

// maxWalk is how many rows of an index a page looks at where some conditions are not the index's: then it ends, with
// the rows that it found and a cursor to go on. So no filter holds a reader's connection for long, however many rows
// there are.
const (
	maxWalk   = 20_000
	firstWalk = 1000 // where most pages are full already
)

// access is what an index answers.
type access struct {
	columns []string // that are compared with "="
	partial string   // which rows the index holds, in its own words
	few     bool     // so few rows that they may be sorted and need no bound
}

// accesses are the indexes that lists name; no name is the table's own key.
var accesses = map[string]access{
	"events_event":             {columns: []string{"event"}},
	"events_id":                {columns: []string{"id"}, few: true},
	"deliveries_event":         {columns: []string{"event_id"}, few: true},
	"deliveries_replay_status": {columns: []string{"replay", "status"}, partial: "replay <> '' AND status <> 'succeeded'"},
	"deliveries_replay":        {columns: []string{"replay"}, partial: "replay <> ''"},
	"deliveries_endpoint":      {columns: []string{"endpoint_id"}},
	"deliveries_due":           {partial: "due_at > 0", few: true},
	"deliveries_status":        {columns: []string{"status"}, partial: "status <> 'succeeded'"},
	"deliveries_code":          {columns: []string{"last_code"}, partial: "last_error <> ''"},
	"deliveries_error":         {columns: []string{"last_error"}, partial: "last_error <> ''"},
	"deliveries_retried":       {partial: "attempts > 1"},
	"attempts_delivery":        {columns: []string{"delivery_id"}},
	"attempts_endpoint":        {columns: []string{"endpoint_id"}},
	"attempts_error":           {columns: []string{"error_code"}, partial: "error_code <> ''"},
	"attempts_code":            {columns: []string{"code"}, partial: "error_code <> ''"},
	"attempts_status":          {columns: []string{"status"}, partial: "status <> 'succeeded'"},
	"attempts_trigger":         {columns: []string{"trigger"}, partial: "trigger <> 'initial'"},
	"attempts_slow":            {partial: "duration_us >= 1000000"},
	"replays_status":           {columns: []string{"status"}},
	"refusals_key":             {columns: []string{"key_id"}},
	"refusals_reason":          {columns: []string{"reason"}},
}

// page runs a list's query on one state of the rows.
func page[T any](ctx context.Context, db *database, l *list, scan func(*sql.Rows, *T) error,
	at func(*T) cursor) (Page[T], error) {
	query, args, err := l.build()
	if err != nil {
		return Page[T]{}, err
	}
	out := Page[T]{Rows: make([]T, 0, l.Limit+1)}
	var end *cursor
	walks := []int{0} // no bound
	if l.walked && !l.few {
		walk := cmp.Or(l.Walk, maxWalk)
		walks = []int{min(firstWalk, walk), walk}
	}
	err = db.view(ctx, func(q queryer, c checkpoint) error {
		out.AsOfPosition, out.AsOf = c.position, fromMicros(c.at)
		if l.Count {
			out.Total = &Total{}
			if err := l.count(ctx, q, out.Total); err != nil {
				return err
			}
		}
		for _, walk := range walks {
			query, args := query, args
			if end = nil; walk > 0 {
				if end, err = l.end(ctx, q, walk); err != nil {
					return err
				}
			}
			if end != nil {
				sb := l.sb.Clone()
				l.bound(sb, l.upTo(), *end)
				query, args = sb.Build()
			}
			out.Rows = out.Rows[:0]
			err := scanRows(ctx, q, query, args, func(rows *sql.Rows) error {
				var row T
				err := scan(rows, &row)
				out.Rows = append(out.Rows, row)
				return err
			})
			if err != nil || end == nil || len(out.Rows) > l.Limit {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Page[T]{}, err
	}
	switch {
	case len(out.Rows) > l.Limit:
		out.Rows, out.HasMore = out.Rows[:l.Limit], true
		out.NextCursor = at(&out.Rows[l.Limit-1]).encode()
	case end != nil:
		out.HasMore, out.NextCursor = true, end.encode()
	}
	return out, nil
}

// end is the last of so many rows to look at; nil: there are fewer.
func (l *list) end(ctx context.Context, q queryer, walk int) (*cursor, error) {
	query, args := l.bounds.Clone().Limit(1).Offset(walk - 1).Build()
	var end *cursor
	err := scanRows(ctx, q, query, args, func(rows *sql.Rows) error {
		end = &cursor{}
		return rows.Scan(&end.at, &end.id)
	})
	return end, err
}

// maxTotal is up to where rows are counted, and of how many rows that are looked at.
const (
	maxTotal     = 100_000
	maxTotalWalk = 20 * maxWalk
)

// count counts all rows from the cursor on, within its bounds.
func (l *list) count(ctx context.Context, q queryer, out *Total) error {
	sb := l.sb.Clone()
	if l.walked && !l.few {
		end, err := l.end(ctx, q, maxTotalWalk)
		if err != nil {
			return err
		}
		if end != nil {
			out.AtLeast = true
			l.bound(sb, l.upTo(), *end)
		}
	}
	rows, args := sb.Limit(maxTotal + 1).Build()
	err := q.QueryRowContext(ctx, "SELECT count(*) FROM ("+rows+")", args...).Scan(&out.Rows)
	if out.Rows > maxTotal {
		out.Rows, out.AtLeast = maxTotal, true
	}
	return err
}

// upTo compares with the last row that is looked at.
func (l *list) upTo() string {
	if l.Ascending {
		return "<="
	}
	return ">="
}
