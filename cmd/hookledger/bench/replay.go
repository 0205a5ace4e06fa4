package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// ReplayResult is what RunReplay measures: the latency of what is posted, before and while a replay runs to the same
// endpoint.
type ReplayResult struct {
	Replayed    int     `json:"replayed"`       // events of the replay
	DPS         float64 `json:"replay_dps"`     // of which so many a second arrived meanwhile
	BeforeP50   float64 `json:"latency_p50_ms"` // ack to arrival, at 50 events a second
	BeforeP99   float64 `json:"latency_p99_ms"`
	MeantimeP50 float64 `json:"latency_with_replay_p50_ms"`
	MeantimeP99 float64 `json:"latency_with_replay_p99_ms"`
	Ratio       float64 `json:"p99_ratio"`
}

// RunReplay measures what a replay does to what happens meanwhile.
func RunReplay(ctx context.Context, cfg Config) (_ *ReplayResult, err error) {
	cfg.defaults()
	cfg.Endpoints = 1
	dir, err := os.MkdirTemp(cfg.Dir, "hookledger-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := cfg.stage(ctx, filepath.Join(dir, "replay"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.startReceiver(ctx, "--latency", cfg.ReceiverLatency.String()); err != nil {
		return nil, err
	}
	if _, _, err := s.endToEnd(ctx, "h", cfg.N, 8, 100); err != nil {
		return nil, err
	}
	before, err := s.latency(ctx, "before-")
	if err != nil {
		return nil, err
	}
	out := &ReplayResult{Replayed: cfg.N, BeforeP50: before.ms(50), BeforeP99: before.ms(99)}
	cfg.Say("ack to arrival at %d/s: p50 %.2f ms, p99 %.2f ms", cfg.latencyRate(), out.BeforeP50, out.BeforeP99)
	meantime, err := s.latencyInReplay(ctx, out)
	if err != nil {
		return nil, err
	}
	out.MeantimeP50, out.MeantimeP99 = meantime.ms(50), meantime.ms(99)
	out.Ratio = out.MeantimeP99 / out.BeforeP99
	cfg.Say("while a replay brought %.0f/s: p50 %.2f ms, p99 %.2f ms", out.DPS, out.MeantimeP50, out.MeantimeP99)
	return out, nil
}

// latencyInReplay starts a replay of everything to where it went, and measures while it runs.
func (s *stage) latencyInReplay(ctx context.Context, out *ReplayResult) (times, error) {
	if err := s.startReceiver(ctx, "--arrivals", "--latency", s.cfg.ReceiverLatency.String()); err != nil {
		return nil, err
	}
	ask, err := json.Marshal(map[string]any{"select": map[string]any{"event_types": []string{"*"}},
		"max_deliveries": 1 << 30})
	if err != nil {
		return nil, fmt.Errorf("encode the replay: %w", err)
	}
	var replay struct {
		ID        string `json:"id"`
		Status    string `json:"status"`
		Delivered int    `json:"delivered"`
	}
	if _, err := s.call(ctx, http.MethodPost, s.api("/v1/replays"), ask, &replay); err != nil {
		return nil, fmt.Errorf("ask for a replay: %w", err)
	}
	for replay.Delivered == 0 {
		if err := wait(ctx, lookEvery); err != nil {
			return nil, err
		}
		if _, err := s.call(ctx, http.MethodGet, s.api("/v1/replays/"+replay.ID), nil, &replay); err != nil {
			return nil, fmt.Errorf("look at the replay: %w", err)
		}
	}
	begun, had := time.Now(), replay.Delivered
	acked, err := s.steady(ctx, "meantime-")
	if err != nil {
		return nil, err
	}
	if _, err := s.call(ctx, http.MethodGet, s.api("/v1/replays/"+replay.ID), nil, &replay); err != nil {
		return nil, fmt.Errorf("look at the replay: %w", err)
	}
	if replay.Status != "running" {
		return nil, fmt.Errorf("the replay is %s before the latency is measured: raise --number", replay.Status)
	}
	out.DPS = float64(replay.Delivered-had) / time.Since(begun).Seconds()
	if _, err := s.call(ctx, http.MethodPost, s.api("/v1/replays/"+replay.ID+"/cancel"), nil, nil); err != nil {
		return nil, fmt.Errorf("cancel the replay: %w", err)
	}
	if _, err := s.caughtUp(ctx); err != nil {
		return nil, err
	}
	return s.arrivals(ctx, "meantime-", acked)
}
