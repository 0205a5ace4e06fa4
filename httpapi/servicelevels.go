package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"hookledger/domain"
	"hookledger/projections"
)

// ServiceLevel is how long deliveries took from the receipt of their event to their first success.
type ServiceLevel struct {
	Month      string   `json:"month,omitempty" doc:"Of the receipt, in UTC; where it is asked for by month." example:"2026-11"`
	EndpointID string   `json:"endpoint_id,omitempty" doc:"Where it is asked for by endpoint."`
	Event      string   `json:"event,omitempty" doc:"The type; where it is asked for by event." example:"agent.budget_alert"`
	Deliveries int      `json:"deliveries" doc:"That were routed; those of replays count nowhere."`
	Succeeded  int      `json:"succeeded"`
	Exhausted  int      `json:"exhausted"`
	Cancelled  int      `json:"cancelled"`
	Open       int      `json:"open" doc:"That have not ended."`
	P50MS      *float64 `json:"p50_ms,omitempty" doc:"Of those that succeeded, in milliseconds: exact or up to 0.8 % more."`
	P95MS      *float64 `json:"p95_ms,omitempty" doc:"Likewise."`
	P99MS      *float64 `json:"p99_ms,omitempty" doc:"Likewise."`
	Within     int      `json:"within" doc:"That succeeded within the target, or within 0.8 % less than it."`
	Share      *float64 `json:"share,omitempty" doc:"Within of all but the cancelled, from 0 to 1: what is exhausted or open is not within."`
}

// ServiceLevels are the service levels of a time.
type ServiceLevels struct {
	Data         []ServiceLevel  `json:"data" nullable:"false" doc:"In the order of month, endpoint and event."`
	Target       domain.Duration `json:"target" example:"30s"`
	AsOfPosition domain.Position `json:"as_of_position" doc:"The ledger's position up to which this was folded."`
	AsOf         *time.Time      `json:"as_of,omitempty" doc:"The time that this answer stands for."`
}

const defaultTarget = 30 * time.Second

func (a *api) registerServiceLevels() {
	register(a, operation{id: "get-service-levels", tag: "Deliveries", summary: "Get service levels",
		description: "The time from an event's receipt to the first success of its delivery: percentiles, and the share " +
			"within a target, by endpoint, event type and month. They come from a table that is kept while deliveries are " +
			"folded, so that the answer does not depend on how many there are. Its buckets are at most 1/128 wide: a " +
			"percentile is exact or up to 0.8 % too long, never too short.",
	}, a.getServiceLevels)
}

type serviceLevelsInput struct {
	Month       string   `query:"month" pattern:"^[0-9]{4}-(0[1-9]|1[0-2])$" doc:"The (first) month of the receipt, in UTC; absent: this one." example:"2026-11"`
	Through     string   `query:"through" pattern:"^[0-9]{4}-(0[1-9]|1[0-2])$" doc:"The last month; absent: the same. At most 24." example:"2026-12"`
	Target      string   `query:"target" maxLength:"32" doc:"Absent: 30s." example:"30s"`
	By          []string `query:"by" enum:"month,endpoint,event" maxItems:"3" doc:"A row for each; absent: one for all."`
	EndpointID  string   `query:"endpoint_id" maxLength:"128"`
	Event       string   `query:"event" maxLength:"128" doc:"A type, or a pattern such as agent.*" example:"agent.*"`
	MinPosition uint64   `query:"min_position" doc:"Wait until the answer holds everything up to this position."`
}

type serviceLevelsOutput struct {
	Body ServiceLevels
}

func (a *api) getServiceLevels(ctx context.Context, c *caller, in *serviceLevelsInput) (*serviceLevelsOutput, error) {
	f, err := in.filter(c.tenant, a.Now())
	if err != nil {
		return nil, err
	}
	if err := a.rowsAt(ctx, domain.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	levels, err := a.History.ServiceLevels(ctx, f)
	if err != nil {
		return nil, err
	}
	out := ServiceLevels{Data: make([]ServiceLevel, len(levels.Rows)), Target: domain.Duration(f.Target),
		AsOfPosition: levels.AsOfPosition, AsOf: timeOrNil(levels.AsOf)}
	for i := range levels.Rows {
		out.Data[i] = showServiceLevel(&levels.Rows[i])
	}
	return &serviceLevelsOutput{out}, nil
}

const monthForm = "2006-01"

// filter is what is asked for, the form of whose months huma has looked at.
func (in *serviceLevelsInput) filter(tenant string, now time.Time) (projections.ServiceLevelFilter, error) {
	f := projections.ServiceLevelFilter{Tenant: tenant, Month: now.UTC(), Endpoint: in.EndpointID, Type: in.Event,
		ByMonth: slices.Contains(in.By, "month"), ByEndpoint: slices.Contains(in.By, "endpoint"),
		ByType: slices.Contains(in.By, "event"), Target: defaultTarget}
	var err error
	if in.Month != "" {
		if f.Month, err = time.Parse(monthForm, in.Month); err != nil {
			return f, newProblem(http.StatusBadRequest, "invalid_month", "month is no month: write it like 2026-11")
		}
	}
	f.Through = f.Month
	if in.Through != "" {
		if f.Through, err = time.Parse(monthForm, in.Through); err != nil {
			return f, newProblem(http.StatusBadRequest, "invalid_month", "through is no month: write it like 2026-11")
		}
	}
	months := (f.Through.Year()-f.Month.Year())*12 + int(f.Through.Month()) - int(f.Month.Month()) + 1
	switch {
	case months < 1:
		return f, newProblem(http.StatusBadRequest, "invalid_range", "through is before month: swap them")
	case months > projections.MaxServiceMonths:
		return f, newProblem(http.StatusBadRequest, "invalid_range", "these are more than 24 months: ask for fewer at a time")
	}
	if in.Target != "" {
		if f.Target, err = time.ParseDuration(in.Target); err != nil || f.Target <= 0 {
			return f, newProblem(http.StatusBadRequest, "invalid_duration",
				"target is no duration: write it like 30s or 1m30s")
		}
	}
	return f, nil
}

func showServiceLevel(s *projections.ServiceLevel) ServiceLevel {
	out := ServiceLevel{EndpointID: s.EndpointID, Event: s.EventType, Deliveries: s.Deliveries(), Succeeded: s.Succeeded,
		Exhausted: s.Exhausted, Cancelled: s.Cancelled, Open: s.Open, Within: s.Within}
	if !s.Month.IsZero() {
		out.Month = s.Month.Format(monthForm)
	}
	if s.Succeeded > 0 {
		out.P50MS, out.P95MS = ptr(milliseconds(s.P50.Microseconds())), ptr(milliseconds(s.P95.Microseconds()))
		out.P99MS = ptr(milliseconds(s.P99.Microseconds()))
	}
	if counted := s.Deliveries() - s.Cancelled; counted > 0 {
		out.Share = ptr(float64(s.Within) / float64(counted))
	}
	return out
}
