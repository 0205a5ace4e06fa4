package projections

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/huandu/go-sqlbuilder"

	"hookledger/domain"
)

// ServiceLevelFilter asks for service levels.
type ServiceLevelFilter struct {
	Tenant  string
	Month   time.Time // the first month (UTC), by any moment of it
	Through time.Time // the last one, likewise; not before Month
	// Endpoint and Type select; empty: all. Type may be a pattern.
	Endpoint, Type string
	// By which of these there is a row each; none: one for all.
	ByMonth, ByEndpoint, ByType bool
	Target                      time.Duration
}

// ServiceLevel is how long deliveries took from the receipt of their event to their first success. Deliveries are those
// that were routed; what replays scheduled counts nowhere.
type ServiceLevel struct {
	Month      time.Time // zero: not by month
	EndpointID string    // empty: not by endpoint
	EventType  string    // empty: not by type
	Succeeded  int
	Exhausted  int
	Cancelled  int
	Open       int // neither
	Within     int // that succeeded within the target
	P50        time.Duration
	P95        time.Duration
	P99        time.Duration
}

// Deliveries counts all.
func (s *ServiceLevel) Deliveries() int { return s.Succeeded + s.Exhausted + s.Cancelled + s.Open }

// ServiceLevels are in the order of what they are by.
type ServiceLevels struct {
	Rows         []ServiceLevel
	AsOfPosition domain.Position
	AsOf         time.Time
}

// MaxServiceLevels bounds the rows, and MaxServiceMonths the months, of an answer.
const (
	MaxServiceLevels = 10_000
	MaxServiceMonths = 24
)

// levelGroup is a row in the making.
type levelGroup struct {
	month           int
	endpoint, event string
}

type levelSums struct {
	ServiceLevel
	latencies latencies
}

// ServiceLevels computes them on one state of the rows. Percentiles and Within err by less than LatencyError, and
// always so that a level looks no better than it is. More rows than MaxServiceLevels are refused.
func (p *Projections) ServiceLevels(ctx context.Context, f ServiceLevelFilter) (ServiceLevels, error) {
	var out ServiceLevels
	groups := map[levelGroup]*levelSums{}
	err := p.db.view(ctx, func(q queryer, c checkpoint) error {
		out.AsOfPosition, out.AsOf = c.position, fromMicros(c.at)
		if err := f.fulfilled(ctx, q, groups); err != nil {
			return err
		}
		return f.others(ctx, q, groups)
	})
	if err != nil {
		return out, err
	}
	for _, s := range groups {
		s.Succeeded = s.latencies.total()
		if s.Succeeded > 0 {
			s.P50, s.P95, s.P99 = s.latencies.percentile(50), s.latencies.percentile(95), s.latencies.percentile(99)
			s.Within = s.latencies.within(f.Target)
		}
		out.Rows = append(out.Rows, s.ServiceLevel)
	}
	slices.SortFunc(out.Rows, func(a, b ServiceLevel) int {
		if c := a.Month.Compare(b.Month); c != 0 {
			return c
		}
		if c := strings.Compare(a.EndpointID, b.EndpointID); c != 0 {
			return c
		}
		return strings.Compare(a.EventType, b.EventType)
	})
	return out, nil
}

// group finds or makes the row of a month, endpoint and type.
func (f *ServiceLevelFilter) group(groups map[levelGroup]*levelSums, g levelGroup) (*levelSums, error) {
	if s := groups[g]; s != nil {
		return s, nil
	}
	if len(groups) >= MaxServiceLevels {
		return nil, domain.Refuse(domain.KindInvalid, "too_many_levels",
			"there are more than 10000 service levels of this kind", "ask for one endpoint or type, fewer months, or by less")
	}
	s := &levelSums{ServiceLevel: ServiceLevel{EndpointID: g.endpoint, EventType: g.event}}
	if f.ByMonth {
		s.Month = monthStart(g.month)
	}
	groups[g] = s
	return s, nil
}

// by are the columns that make a row, each "" where it does not.
func (f *ServiceLevelFilter) by() []string {
	column := func(by bool, name string) string {
		if by {
			return name
		}
		return "''"
	}
	return []string{column(f.ByEndpoint, "endpoint_id"), column(f.ByType, "event")}
}

// months are the filter's first and last.
func (f *ServiceLevelFilter) months() (first, last int) {
	return monthOf(f.Month.UnixMicro()), monthOf(f.Through.UnixMicro())
}

// narrow adds the filter's conditions.
func (f *ServiceLevelFilter) narrow(sb *sqlbuilder.SelectBuilder) {
	if f.Endpoint != "" {
		sb.Where(sb.Equal("endpoint_id", f.Endpoint))
	}
	sb.Where(matching(sb, "event", f.Type)...)
}

// fulfilled adds up the buckets of what succeeded.
func (f *ServiceLevelFilter) fulfilled(ctx context.Context, q queryer, groups map[levelGroup]*levelSums) error {
	first, last := f.months()
	for month := first; month <= last; month++ {
		query, args := f.bucketQuery(month)
		err := scanRows(ctx, q, query, args, func(rows *sql.Rows) error {
			g := levelGroup{}
			var b bucketCount
			if err := rows.Scan(&g.endpoint, &g.event, &b.bucket, &b.count); err != nil {
				return err
			}
			if f.ByMonth {
				g.month = month
			}
			s, err := f.group(groups, g)
			if err == nil {
				s.latencies = append(s.latencies, b)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if !f.ByMonth && first < last {
		for _, s := range groups {
			slices.SortFunc(s.latencies, func(a, b bucketCount) int { return a.bucket - b.bucket })
		}
	}
	return nil
}

func (f *ServiceLevelFilter) bucketQuery(month int) (string, []any) {
	by := append(f.by(), "bucket")
	sb := sqlbuilder.SQLite.NewSelectBuilder()
	sb.Select(append(by, "sum(count)")...).From("service_levels").
		Where(sb.Equal("tenant", f.Tenant), sb.Equal("month", month))
	f.narrow(sb)
	return sb.GroupBy("1", "2", "3").OrderBy("3").Build()
}

// others counts what has not succeeded, from the rows: there are few of them, and an index finds them.
func (f *ServiceLevelFilter) others(ctx context.Context, q queryer, groups map[levelGroup]*levelSums) error {
	first, last := f.months()
	for month := first; month <= last; month++ {
		for _, status := range []domain.DeliveryStatus{domain.StatusPending, domain.StatusInFlight, domain.StatusRetrying,
			domain.StatusExhausted, domain.StatusCancelled} {
			query, args := f.otherQuery(month, status)
			err := scanRows(ctx, q, query, args, func(rows *sql.Rows) error {
				g, n := levelGroup{}, 0
				if err := rows.Scan(&g.endpoint, &g.event, &n); err != nil {
					return err
				}
				if f.ByMonth {
					g.month = month
				}
				s, err := f.group(groups, g)
				if err != nil {
					return err
				}
				switch status {
				case domain.StatusExhausted:
					s.Exhausted += n
				case domain.StatusCancelled:
					s.Cancelled += n
				default:
					s.Open += n
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// otherQuery counts the rows of a month with a status. Ids begin with the time of the event's receipt, and so does the
// month.
func (f *ServiceLevelFilter) otherQuery(month int, status domain.DeliveryStatus) (string, []any) {
	sb := sqlbuilder.SQLite.NewSelectBuilder()
	sb.Select(append(f.by(), "count(*)")...).From("deliveries INDEXED BY deliveries_status").
		Where(sb.Equal("tenant", f.Tenant), sb.Equal("status", string(status)), "status <> 'succeeded'",
			sb.GreaterEqualThan("id", firstID(domain.PrefixDelivery, monthStart(month))),
			sb.LessThan("id", firstID(domain.PrefixDelivery, monthStart(month+1))), "succeeded_at = 0", "replay = ''")
	f.narrow(sb)
	return sb.GroupBy("1", "2").Build()
}
