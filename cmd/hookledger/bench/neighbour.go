package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// NeighbourResult is what RunNeighbour measures: the latency of what goes to a healthy endpoint, alone and beside
// endpoints that hang and fail.
type NeighbourResult struct {
	Pending   int     `json:"neighbours_pending"`  // deliveries that the neighbours were given, half of them each
	Attempts  int64   `json:"neighbours_attempts"` // that they got meanwhile
	AloneP50  float64 `json:"latency_p50_ms"`      // ack to arrival, at 50 events a second
	AloneP99  float64 `json:"latency_p99_ms"`
	BesideP50 float64 `json:"latency_with_p50_ms"` // with the neighbours
	BesideP99 float64 `json:"latency_with_p99_ms"`
	Ratio     float64 `json:"p99_ratio"`
	Moved     float64 `json:"p99_moved_ms"`         // by so much
	FsyncP99  float64 `json:"fsync_p99_ms"`         // of the same disk, with nothing else going on
	Held      bool    `json:"within_bounds"`        // a factor of 2, or 100 ms
	Hung      int     `json:"hung_endpoints"`       // of the neighbours
	Failing   int     `json:"failing_endpoints"`    // likewise
	Healthy   int     `json:"measured_events_each"` // events of each measurement
}

// Neighbours of the endpoint that is measured.
const (
	neighbourType   = "cron.completed"
	neighbourData   = `{"jobId":"job_1","runId":"run_1"}`
	neighboursHung  = 4
	neighboursFail  = 4
	neighbourEvents = 1000 // of each measurement
)

// RunNeighbour measures what endpoints that hang and fail, with a great backlog, do to a healthy one.
func RunNeighbour(ctx context.Context, cfg Config) (_ *NeighbourResult, err error) {
	cfg.defaults()
	cfg.Endpoints = 1
	dir, err := os.MkdirTemp(cfg.Dir, "hookledger-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fsync, err := measureFsync(dir)
	if err != nil {
		return nil, err
	}
	s, err := cfg.stage(ctx, filepath.Join(dir, "neighbour"))
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
	if err := s.onlyOwnType(ctx); err != nil {
		return nil, err
	}
	if _, err := s.steadyLatency(ctx, "warm-", 100); err != nil {
		return nil, err
	}
	alone, err := s.steadyLatency(ctx, "alone-", neighbourEvents)
	if err != nil {
		return nil, err
	}
	cfg.Say("alone: ack to arrival at %d/s: p50 %.2f ms, p99 %.2f ms", cfg.latencyRate(), alone.ms(50), alone.ms(99))
	if err := s.addSick(ctx, sick); err != nil {
		return nil, err
	}
	before := sick.attempts()
	beside, err := s.steadyLatency(ctx, "beside-", neighbourEvents)
	if err != nil {
		return nil, err
	}
	out := &NeighbourResult{Pending: cfg.N, Attempts: sick.attempts() - before, AloneP50: alone.ms(50),
		AloneP99: alone.ms(99), BesideP50: beside.ms(50), BesideP99: beside.ms(99), FsyncP99: fsync.ms(99),
		Hung: neighboursHung, Failing: neighboursFail, Healthy: neighbourEvents}
	out.Ratio, out.Moved = out.BesideP99/out.AloneP99, out.BesideP99-out.AloneP99
	out.Held = out.Ratio <= 2 || out.Moved <= 100
	cfg.Say("beside %d endpoints that hang and %d that fail, with %d deliveries pending: p50 %.2f ms, p99 %.2f ms",
		neighboursHung, neighboursFail, cfg.N, out.BesideP50, out.BesideP99)
	return out, nil
}

// steadyLatency is from the ack to the arrival, at a steady rate.
func (s *stage) steadyLatency(ctx context.Context, prefix string, events int) (times, error) {
	acked, err := s.steady(ctx, prefix, events)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(time.Minute)
	for {
		took, err := s.arrivals(ctx, prefix, acked)
		if err == nil || time.Now().After(deadline) {
			return took, err
		}
		if err := wait(ctx, lookEvery); err != nil {
			return nil, err
		}
	}
}

// onlyOwnType lets the endpoint that is measured get what is measured, and nothing of its neighbours'.
func (s *stage) onlyOwnType(ctx context.Context) error {
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if _, err := s.call(ctx, http.MethodGet, s.api("/v1/endpoints"), nil, &list); err != nil {
		return fmt.Errorf("list the endpoints: %w", err)
	}
	patch := []byte(`{"event_types":["` + eventType + `"]}`)
	for _, e := range list.Data {
		if _, err := s.call(ctx, http.MethodPatch, s.api("/v1/endpoints/"+e.ID), patch, nil); err != nil {
			return fmt.Errorf("change an endpoint: %w", err)
		}
	}
	return nil
}

// addSick registers the neighbours and gives them N deliveries in all.
func (s *stage) addSick(ctx context.Context, sick *sickReceivers) error {
	urls := []string{sick.hung.Addr().String(), sick.failing.Addr().String()}
	for i := range neighboursHung + neighboursFail {
		url := urls[0]
		if i >= neighboursHung {
			url = urls[1]
		}
		body, err := json.Marshal(map[string]any{"url": fmt.Sprintf("http://%s/n/%d", url, i),
			"event_types": []string{neighbourType}})
		if err != nil {
			return fmt.Errorf("encode an endpoint: %w", err)
		}
		if _, err := s.call(ctx, http.MethodPost, s.api("/v1/endpoints"), body, nil); err != nil {
			return fmt.Errorf("register a neighbour: %w", err)
		}
	}
	const batch = 500
	left := max(1, s.cfg.N/(neighboursHung+neighboursFail))
	for left > 0 {
		n := min(batch, left)
		left -= n
		events := make([]map[string]any, n)
		for i := range events {
			events[i] = map[string]any{"event": neighbourType, "data": json.RawMessage(neighbourData)}
		}
		body, err := json.Marshal(events)
		if err != nil {
			return fmt.Errorf("encode the neighbours' events: %w", err)
		}
		var answer struct {
			Refused int `json:"refused"`
		}
		if _, err := s.call(ctx, http.MethodPost, s.api("/v1/events/batch"), body, &answer); err != nil {
			return fmt.Errorf("post the neighbours' events: %w", err)
		}
		if answer.Refused > 0 {
			return errors.New("the neighbours' events were refused: this binary's " + neighbourType + " has another schema")
		}
	}
	return nil
}

// sickReceivers take requests and never answer, or answer 500.
type sickReceivers struct {
	hung, failing net.Listener
	servers       []*http.Server
	count         atomic.Int64
}

func startSick(ctx context.Context) (*sickReceivers, error) {
	r := &sickReceivers{}
	for _, at := range []struct {
		listener *net.Listener
		handler  http.HandlerFunc
	}{
		{&r.hung, func(w http.ResponseWriter, req *http.Request) { r.count.Add(1); <-req.Context().Done() }},
		{&r.failing, func(w http.ResponseWriter, _ *http.Request) {
			r.count.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
		}},
	} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen for the neighbours: %w", err), r.close())
		}
		*at.listener = l
		server := &http.Server{Handler: at.handler, ReadHeaderTimeout: time.Minute}
		r.servers = append(r.servers, server)
		go func() { _ = server.Serve(l) }() // until close
	}
	return r, nil
}

func (r *sickReceivers) attempts() int64 { return r.count.Load() }

func (r *sickReceivers) close() error {
	var err error
	for _, s := range r.servers {
		err = errors.Join(err, s.Close())
	}
	return err
}
