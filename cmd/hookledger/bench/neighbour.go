package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// NeighbourResult is what RunNeighbour measures: the latency of what goes to healthy endpoints, alone and beside one
// that hangs, one that is slow, and one that fails with a great backlog.
type NeighbourResult struct {
	AloneP50  float64 `json:"latency_p50_ms"` // ack to arrival
	AloneP99  float64 `json:"latency_p99_ms"`
	BesideP50 float64 `json:"latency_with_p50_ms"` // with the neighbours
	BesideP99 float64 `json:"latency_with_p99_ms"`
	Ratio     float64 `json:"p99_ratio"`
	Moved     float64 `json:"p99_moved_ms"`  // by so much
	Held      bool    `json:"within_bounds"` // a factor of 2, or 100 ms
	FsyncP99  float64 `json:"fsync_p99_ms"`  // of the same disk, with nothing else going on

	Healthy  int              `json:"healthy_endpoints"`
	Rate     int              `json:"healthy_events_per_s"` // to all of them
	Events   int              `json:"measured_events_each"` // of each measurement
	Pending  map[string]int   `json:"neighbours_pending"`   // deliveries due when the measurement began
	Attempts map[string]int64 `json:"neighbours_attempts"`  // that they got until it ended
}

// The healthy endpoints, each with a type of its own, and their neighbours.
const (
	healthyEndpoints = 50
	healthyRate      = 500   // events a second, to all of them
	healthyEvents    = 10000 // of each measurement, and fewer beside a small backlog
	slowAnswer       = 2 * time.Second
	// hungPending is what the endpoints that hang and that are slow are given: much more than may be under way.
	hungPending = 1000
)

func healthyType(i int) string { return "bench.healthy" + strconv.Itoa(i%healthyEndpoints) }

// RunNeighbour measures what an endpoint that hangs, a slow one and one that fails with N deliveries due do to healthy
// ones under load. The server has its defaults but for the breaker, which would let the neighbours rest: they go on.
func RunNeighbour(ctx context.Context, cfg Config) (_ *NeighbourResult, err error) {
	cfg.defaults()
	cfg.Endpoints, cfg.types = healthyEndpoints, healthyType
	dir, err := os.MkdirTemp(cfg.Dir, "hookledger-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fsync, err := measureFsync(dir)
	if err != nil {
		return nil, err
	}
	events := max(100, min(healthyEvents, cfg.N/10))
	const noBreaker = "--breaker-failures=0"
	s, err := cfg.stage(ctx, filepath.Join(dir, "neighbour"), noBreaker)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.startReceiver(ctx, "--arrivals", "--latency", cfg.ReceiverLatency.String()); err != nil {
		return nil, err
	}
	sick, err := startSick(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sick.close()) }()
	for i := range healthyEndpoints {
		if err := s.addType(ctx, healthyType(i)); err != nil {
			return nil, err
		}
	}
	alone, err := s.healthyLatency(ctx, "alone", events)
	if err != nil {
		return nil, err
	}
	cfg.Say("%d healthy endpoints alone: ack to arrival at %d/s: p50 %.2f ms, p99 %.2f ms", healthyEndpoints, healthyRate,
		alone.ms(50), alone.ms(99))
	if err := s.restart(ctx, "--deliver=false"); err != nil {
		return nil, err
	}
	pending, err := s.addSick(ctx, sick)
	if err != nil {
		return nil, err
	}
	if err := s.restart(ctx, noBreaker); err != nil {
		return nil, err
	}
	beside, err := s.healthyLatency(ctx, "beside", events)
	if err != nil {
		return nil, err
	}
	out := &NeighbourResult{AloneP50: alone.ms(50), AloneP99: alone.ms(99), BesideP50: beside.ms(50),
		BesideP99: beside.ms(99), FsyncP99: fsync.ms(99), Healthy: healthyEndpoints, Rate: healthyRate, Events: events,
		Pending: pending, Attempts: sick.attempts()}
	out.Ratio, out.Moved = out.BesideP99/out.AloneP99, out.BesideP99-out.AloneP99
	out.Held = out.Ratio <= 2 || out.Moved <= 100
	for name, n := range out.Attempts {
		if n == 0 {
			return nil, fmt.Errorf("the endpoint that is %s got nothing meanwhile: nothing was measured beside it", name)
		}
	}
	cfg.Say("beside neighbours with deliveries due (%s), which got %s attempts: p50 %.2f ms, p99 %.2f ms",
		sick.each(func(name string) int64 { return int64(pending[name]) }),
		sick.each(func(name string) int64 { return out.Attempts[name] }), out.BesideP50, out.BesideP99)
	return out, nil
}

// healthyLatency is from the ack to the arrival, at a steady rate; before it is measured, connections are made.
func (s *stage) healthyLatency(ctx context.Context, name string, events int) (times, error) {
	acked := map[string][]time.Time{}
	for _, part := range []struct {
		prefix string
		events int
	}{{name + "-warm-", min(healthyRate, events)}, {name + "-", events}} {
		var err error
		acked[part.prefix], err = s.paced(ctx, part.events, healthyRate, func(i int) []byte {
			return s.cfg.postOf(nil, fmt.Sprint(part.prefix, i), healthyType(i))
		})
		if err != nil {
			return nil, err
		}
	}
	deadline := time.Now().Add(time.Minute)
	for {
		took, err := s.arrivals(ctx, name+"-", acked[name+"-"])
		if err == nil || time.Now().After(deadline) {
			return took, err
		}
		if err := wait(ctx, lookEvery); err != nil {
			return nil, err
		}
	}
}

func (s *stage) addType(ctx context.Context, name string) error {
	body := []byte(`{"type":"` + name + `"}`)
	if _, err := s.call(ctx, http.MethodPost, s.api("/v1/event-types"), body, nil); err != nil {
		return fmt.Errorf("register %s: %w", name, err)
	}
	return nil
}

// addSick registers the neighbours and gives each its deliveries; it says how many.
func (s *stage) addSick(ctx context.Context, sick *sickReceivers) (map[string]int, error) {
	pending := map[string]int{failing: s.cfg.N, hung: min(hungPending, s.cfg.N), slow: min(hungPending, s.cfg.N)}
	for _, name := range sick.names() {
		event := "bench." + name
		if err := s.addType(ctx, event); err != nil {
			return nil, err
		}
		body := []byte(`{"url":"` + sick.url(name) + `","event_types":["` + event + `"]}`)
		if _, err := s.call(ctx, http.MethodPost, s.api("/v1/endpoints"), body, nil); err != nil {
			return nil, fmt.Errorf("register a neighbour: %w", err)
		}
		if err := s.postMany(ctx, name, event, pending[name]); err != nil {
			return nil, err
		}
	}
	return pending, nil
}

// postMany posts so many events of a type, in batches.
func (s *stage) postMany(ctx context.Context, prefix, event string, events int) error {
	const batch = 500
	bar := s.cfg.Bar(event, int64(events))
	defer bar.Done()
	for from := 0; from < events; from += batch {
		body := []byte{'['}
		for i := from; i < min(from+batch, events); i++ {
			if i > from {
				body = append(body, ',')
			}
			body = s.cfg.postOf(body, prefix+"-"+strconv.Itoa(i), event)
		}
		var answer struct {
			Refused int `json:"refused"`
		}
		if _, err := s.call(ctx, http.MethodPost, s.api("/v1/events/batch"), append(body, ']'), &answer); err != nil {
			return fmt.Errorf("post the neighbours' events: %w", err)
		}
		if answer.Refused > 0 {
			return fmt.Errorf("%d events of %s were refused", answer.Refused, event)
		}
		bar.Set(int64(min(from+batch, events)))
	}
	return nil
}
