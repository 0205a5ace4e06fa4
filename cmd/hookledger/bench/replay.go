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

// ReplayResult is what RunReplay measures: the latency of what is posted, without and while a replay runs to the same
// endpoint.
type ReplayResult struct {
	Replayed    int     `json:"replayed"`       // events that each replay plans
	DPS         float64 `json:"replay_dps"`     // of which so many a second arrived meanwhile
	BeforeP50   float64 `json:"latency_p50_ms"` // ack to arrival, at 50 events a second
	BeforeP99   float64 `json:"latency_p99_ms"`
	MeantimeP50 float64 `json:"latency_with_replay_p50_ms"`
	MeantimeP99 float64 `json:"latency_with_replay_p99_ms"`
	Ratio       float64 `json:"p99_ratio"`    // the median of the runs' own
	FsyncP99    float64 `json:"fsync_p99_ms"` // of the same disk, with nothing else going on
}

// replayTurns is how often a run measures without a replay and then with one: a disk or a machine that changes its
// speed meanwhile changes both.
const replayTurns = 10

// replayRun is one run's measurements.
type replayRun struct {
	before, meantime, fsync times
	dps                     []float64
}

func (r *replayRun) ratio() float64 { return r.meantime.ms(99) / r.before.ms(99) }

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
	if err := s.startReceiver(ctx, "--arrivals", "--latency", cfg.ReceiverLatency.String()); err != nil {
		return nil, err
	}
	runs := make([]replayRun, cfg.Runs)
	for i := range runs {
		r := &runs[i]
		if r.fsync, err = measureFsync(dir); err != nil {
			return nil, err
		}
		for turn := range replayTurns {
			if err := s.replayTurn(ctx, fmt.Sprintf("%d-%d-", i, turn), r); err != nil {
				return nil, err
			}
		}
		cfg.Say("run %d of %d: ack to arrival at %d/s: p50 %.2f ms, p99 %.2f ms; while a replay brought %.0f/s: p50 %.2f ms, "+
			"p99 %.2f ms", i+1, cfg.Runs, cfg.latencyRate(), r.before.ms(50), r.before.ms(99), median(r.dps), r.meantime.ms(50),
			r.meantime.ms(99))
	}
	return replayResult(cfg.N, runs), nil
}

// replayResult takes each figure's median.
func replayResult(n int, runs []replayRun) *ReplayResult {
	of := func(pick func(*replayRun) float64) float64 {
		v := make([]float64, len(runs))
		for i := range runs {
			v[i] = pick(&runs[i])
		}
		return median(v)
	}
	return &ReplayResult{Replayed: n,
		DPS:         of(func(r *replayRun) float64 { return median(r.dps) }),
		BeforeP50:   of(func(r *replayRun) float64 { return r.before.ms(50) }),
		BeforeP99:   of(func(r *replayRun) float64 { return r.before.ms(99) }),
		MeantimeP50: of(func(r *replayRun) float64 { return r.meantime.ms(50) }),
		MeantimeP99: of(func(r *replayRun) float64 { return r.meantime.ms(99) }),
		Ratio:       of((*replayRun).ratio),
		FsyncP99:    of(func(r *replayRun) float64 { return r.fsync.ms(99) }),
	}
}

// replayTurn measures the latency alone, then while a replay of everything to where it went runs.
func (s *stage) replayTurn(ctx context.Context, prefix string, out *replayRun) error {
	alone, err := s.steady(ctx, prefix+"before-", latencyEvents/replayTurns)
	if err != nil {
		return err
	}
	replay, err := s.startReplay(ctx)
	if err != nil {
		return err
	}
	begun, had := time.Now(), replay.Delivered
	with, err := s.steady(ctx, prefix+"meantime-", latencyEvents/replayTurns)
	if err != nil {
		return err
	}
	if err := s.look(ctx, replay); err != nil {
		return err
	}
	if replay.Status != "running" {
		return fmt.Errorf("the replay is %s before the latency is measured: raise --number", replay.Status)
	}
	out.dps = append(out.dps, float64(replay.Delivered-had)/time.Since(begun).Seconds())
	if _, err := s.call(ctx, http.MethodPost, s.api("/v1/replays/"+replay.ID+"/cancel"), nil, nil); err != nil {
		return fmt.Errorf("cancel the replay: %w", err)
	}
	if _, err := s.caughtUp(ctx); err != nil {
		return err
	}
	took, err := s.arrivals(ctx, prefix+"before-", alone)
	if err != nil {
		return err
	}
	out.before = append(out.before, took...)
	if took, err = s.arrivals(ctx, prefix+"meantime-", with); err != nil {
		return err
	}
	out.meantime = append(out.meantime, took...)
	return nil
}

// benchReplay is a replay as the API shows it.
type benchReplay struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	Delivered int    `json:"delivered"`
}

func (s *stage) look(ctx context.Context, r *benchReplay) error {
	if _, err := s.call(ctx, http.MethodGet, s.api("/v1/replays/"+r.ID), nil, r); err != nil {
		return fmt.Errorf("look at the replay: %w", err)
	}
	return nil
}

// startReplay starts a replay of everything, and waits until it delivers.
func (s *stage) startReplay(ctx context.Context) (*benchReplay, error) {
	ask, err := json.Marshal(map[string]any{"select": map[string]any{"event_types": []string{"*"}},
		"max_deliveries": 1 << 30})
	if err != nil {
		return nil, fmt.Errorf("encode the replay: %w", err)
	}
	var r benchReplay
	if _, err := s.call(ctx, http.MethodPost, s.api("/v1/replays"), ask, &r); err != nil {
		return nil, fmt.Errorf("ask for a replay: %w", err)
	}
	for r.Delivered == 0 {
		if err := wait(ctx, lookEvery); err != nil {
			return nil, err
		}
		if err := s.look(ctx, &r); err != nil {
			return nil, err
		}
	}
	return &r, nil
}
