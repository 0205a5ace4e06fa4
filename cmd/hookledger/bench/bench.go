package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Config says what to measure. The zero value of a field is its default.
type Config struct {
	Binary          string        // this program
	Dir             string        // where the data directories are made; on the disk that is to be measured
	N               int           // deliveries of each measurement; 200,000
	Runs            int           // of which each figure is the median; 3
	Endpoints       int           // that each event goes to; 1
	ReceiverLatency time.Duration // before each answer
	NewSubjects     bool          // each event is about a new subject
	Pending         int           // for RunPending
	CPUProfiles     string        // folder for a profile of each serve; empty: none
	// Elsewhere is where the ledger stands if not in the data directories; nil: there.
	Elsewhere *Elsewhere

	// CountRecords counts the records of a data directory that no server uses.
	CountRecords func(ctx context.Context, dataDir string) (int64, error)
	// Bar begins a progress bar for total events.
	Bar func(title string, total int64) Bar
	// Say tells a person how it goes.
	Say func(format string, args ...any)

	profiles int                // that were begun
	types    func(i int) string // that the endpoint i gets; nil: all
}

func (c *Config) typeOf(endpoint int) string {
	if c.types == nil {
		return "*"
	}
	return c.types(endpoint)
}

// Bar shows progress.
type Bar interface {
	Add(n int)
	Set(n int64)
	Done()
}

func (c *Config) defaults() {
	if c.N == 0 {
		c.N = 200_000
	}
	if c.Runs == 0 {
		c.Runs = 3
	}
	if c.Endpoints == 0 {
		c.Endpoints = 1
	}
}

// Result holds the figures; each is the median of the runs.
type Result struct {
	BareRPS       float64 `json:"bare_rps"`        // the best of 16, 32, 64 and 128 connections
	DrainDPS      float64 `json:"drain_dps"`       // of a backlog of N that stands on the ledger
	DrainRatio    float64 `json:"drain_ratio"`     // of bare_rps
	E2EDPS        float64 `json:"e2e_dps"`         // published one event a request on 32 connections, and delivered
	E2ERatio      float64 `json:"e2e_ratio"`       // of bare_rps
	E2EBatchDPS   float64 `json:"e2e_batch_dps"`   // the same in batches of 100
	E2EBatchRatio float64 `json:"e2e_batch_ratio"` // of bare_rps
	AckP50        float64 `json:"ack_p50_ms"`      // at the full load of e2e_dps
	AckP99        float64 `json:"ack_p99_ms"`
	LatencyP50    float64 `json:"latency_p50_ms"` // ack to arrival, at 50 events a second
	LatencyP99    float64 `json:"latency_p99_ms"`
	FsyncP50      float64 `json:"fsync_p50_ms"` // of the same disk, with nothing else going on
	FsyncP99      float64 `json:"fsync_p99_ms"`
	// CPU seconds per 1,000 deliveries of each process, published one event a request.
	CPU map[string]float64 `json:"cpu_s_per_1000"`
	RSS float64            `json:"rss_mb"` // of serve, its peak
	// From the last delivery of the drain until the read models had all of it.
	ProjectionLag     float64 `json:"projection_lag_s"`
	RecordsPerDeliver float64 `json:"records_per_delivery"`
	DiskPerDelivery   float64 `json:"disk_bytes_per_delivery,omitempty"` // of the data directory with the ledger in it
	// With the ledger elsewhere: see Elsewhere.
	AppendsPerDelivery float64 `json:"appends_per_delivery,omitempty"`
	AdapterAPS         float64 `json:"adapter_appends_per_s,omitempty"`
	ClientAPS          float64 `json:"client_appends_per_s,omitempty"`
	AdapterRatio       float64 `json:"adapter_ratio,omitempty"`
}

// run is one run's figures.
type run struct {
	Result
	bare map[int]float64 // by connections
}

// connections of the bare loop.
var connections = []int{16, 32, 64, 128}

// Run measures. It takes minutes.
func Run(ctx context.Context, cfg Config) (_ *Result, err error) {
	cfg.defaults()
	dir, err := os.MkdirTemp(cfg.Dir, "hookledger-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	runs := make([]run, cfg.Runs)
	if cfg.Elsewhere != nil {
		if err := cfg.allElsewhere(ctx, dir, runs); err != nil {
			return nil, err
		}
		return medianOf(runs), nil
	}
	for i := range runs {
		cfg.Say("run %d of %d: %d deliveries each", i+1, cfg.Runs, cfg.N)
		if err := cfg.one(ctx, filepath.Join(dir, fmt.Sprint(i)), i, &runs[i]); err != nil {
			return nil, err
		}
	}
	return medianOf(runs), nil
}

// one makes one run, in two data directories: one with a backlog that is drained, one that is published to.
func (c *Config) one(ctx context.Context, dir string, i int, out *run) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the data: %w", err)
	}
	fsync, err := measureFsync(dir)
	if err != nil {
		return err
	}
	out.FsyncP50, out.FsyncP99 = fsync.ms(50), fsync.ms(99)
	c.Say("  fsync: p50 %.2f ms, p99 %.2f ms", out.FsyncP50, out.FsyncP99)
	prefix := fmt.Sprintf("r%d", i)
	if err := c.drainRun(ctx, filepath.Join(dir, "drain"), prefix, out); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	if err := c.publishRun(ctx, filepath.Join(dir, "publish"), prefix, out); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return os.RemoveAll(dir)
}

// drainRun measures the bare loop, then a backlog.
func (c *Config) drainRun(ctx context.Context, dir, prefix string, out *run) (err error) {
	s, err := c.stage(ctx, dir, "--deliver=false")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.drain(ctx, prefix, out)
}

// drain measures the bare loop, then a backlog. The server must not deliver; afterwards it does.
func (s *stage) drain(ctx context.Context, prefix string, out *run) error {
	c := s.cfg
	if err := s.startReceiver(ctx, "--latency", c.ReceiverLatency.String()); err != nil {
		return err
	}
	out.bare = map[int]float64{}
	for _, conns := range connections {
		rps, err := s.bare(ctx, conns, prefix)
		if err != nil {
			return err
		}
		out.bare[conns] = rps
		c.Say("  bare loop on %d connections: %.0f/s", conns, rps)
	}
	events := c.events()
	if _, err := s.publish(ctx, "backlog", prefix+"-b", events, 8, 500); err != nil {
		return err
	}
	if err := s.resetReceiver(ctx); err != nil {
		return err
	}
	if err := s.restart(ctx); err != nil {
		return err
	}
	got, err := s.await(ctx, "draining", events*c.Endpoints)
	if err != nil {
		return err
	}
	out.DrainDPS = float64(events*c.Endpoints) / got.caughtUp.Sub(got.first).Seconds()
	out.ProjectionLag = max(0, got.caughtUp.Sub(got.last).Seconds())
	c.Say("  drained: %.0f/s; the read models had it %.2f s after the last", out.DrainDPS, out.ProjectionLag)
	return nil
}

// events is how many make N deliveries.
func (c *Config) events() int { return max(1, c.N/c.Endpoints) }

// publishRun measures from the producer's request to the read models.
func (c *Config) publishRun(ctx context.Context, dir, prefix string, out *run) (err error) {
	s, err := c.stage(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.endToEndRates(ctx, prefix, out); err != nil {
		return err
	}
	deliveries := c.events() * c.Endpoints
	out.RSS = s.serve.peakRSS()
	if err := s.serve.stop(); err != nil {
		return err
	}
	records, err := c.CountRecords(ctx, s.dataDir)
	if err != nil {
		return err
	}
	used, err := diskUsage(s.dataDir)
	if err != nil {
		return err
	}
	out.RecordsPerDeliver = float64(records) / float64(2*deliveries)
	out.DiskPerDelivery = float64(used) / float64(2*deliveries)
	if err := s.restart(ctx); err != nil {
		return err
	}
	latency, err := s.latency(ctx, prefix+"-l")
	if err != nil {
		return err
	}
	out.LatencyP50, out.LatencyP99 = latency.ms(50), latency.ms(99)
	c.Say("  ack to arrival at %d/s: p50 %.2f ms, p99 %.2f ms", c.latencyRate(), out.LatencyP50, out.LatencyP99)
	return nil
}

// endToEndRates publishes with a request an event, and with one for many.
func (s *stage) endToEndRates(ctx context.Context, prefix string, out *run) error {
	c := s.cfg
	if err := s.startReceiver(ctx, "--latency", c.ReceiverLatency.String()); err != nil {
		return err
	}
	events := c.events()
	deliveries := events * c.Endpoints
	before := s.cpu()
	acks, dps, err := s.endToEnd(ctx, prefix+"-e", events, 32, 1)
	if err != nil {
		return err
	}
	out.E2EDPS, out.AckP50, out.AckP99 = dps, acks.ms(50), acks.ms(99)
	out.CPU = s.cpu().per1000(before, deliveries)
	c.Say("  end to end: %.0f/s; ack p50 %.1f ms, p99 %.1f ms", dps, out.AckP50, out.AckP99)
	if _, out.E2EBatchDPS, err = s.endToEnd(ctx, prefix+"-h", events, 32, 100); err != nil {
		return err
	}
	c.Say("  end to end in batches of 100: %.0f/s", out.E2EBatchDPS)
	return nil
}

// PendingResult is what RunPending measures.
type PendingResult struct {
	Pending    int     `json:"pending"`        // deliveries that were due
	PendingRSS float64 `json:"pending_rss_mb"` // of serve, its peak since it was started with them
	Started    float64 `json:"start_s"`        // until it was ready
	InFlight   int64   `json:"in_flight"`      // attempts that hung at the end
}

// watchPending is how long the server with the backlog is watched.
const watchPending = 30 * time.Second

// RunPending measures the memory of a server with a backlog whose one endpoint hangs.
func RunPending(ctx context.Context, cfg Config) (_ *PendingResult, err error) {
	cfg.defaults()
	cfg.Endpoints = 1
	dir, err := os.MkdirTemp(cfg.Dir, "hookledger-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := cfg.stage(ctx, filepath.Join(dir, "pending"), "--deliver=false")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if _, err := s.publish(ctx, "backlog", "p", cfg.Pending, 8, 500); err != nil {
		return nil, err
	}
	if err := s.startReceiver(ctx, "--latency", "1h"); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := s.restart(ctx); err != nil {
		return nil, err
	}
	out := &PendingResult{Pending: cfg.Pending, Started: time.Since(start).Seconds()}
	bar := cfg.Bar("watching", int64(watchPending/time.Second))
	defer bar.Done()
	for range watchPending / time.Second {
		if err := wait(ctx, time.Second); err != nil {
			return nil, err
		}
		bar.Add(1)
	}
	stats, err := s.stats(ctx)
	if err != nil {
		return nil, err
	}
	if stats.Received == 0 {
		return nil, errors.New("the server sent nothing of its backlog")
	}
	out.PendingRSS, out.InFlight = s.serve.peakRSS(), stats.Received
	return out, nil
}
