package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Elsewhere is a ledger that stands outside of the data directories. It is one for the whole measurement: all runs work
// on the same node's.
type Elsewhere struct {
	Env []string // what serve must be told to find it
	// Appends gives two loops over the same kind of appends, n of each, while no server runs: through our store, and by
	// the client alone.
	Appends func(ctx context.Context, n int) (*AppendLoops, error)
}

// AppendLoops make the i-th append each, at most once; each to a new stream, with the same bytes.
type AppendLoops struct {
	Store, Client func(ctx context.Context, i int) error
	// Settle returns when the store's followers have all that was appended: what they lag behind by must not be charged
	// to the next loop.
	Settle func(ctx context.Context) error
	Close  func() error
}

const (
	appendCallers = 64
	appendRounds  = 9 // of each loop, in turns
	appendsAtMost = 10_000
)

// allElsewhere makes all runs, in one data directory, and measures the store beside its client.
func (c *Config) allElsewhere(ctx context.Context, dir string, runs []run) (err error) {
	fsync, err := measureFsync(dir)
	if err != nil {
		return err
	}
	s, err := c.stage(ctx, filepath.Join(dir, "node"), "--deliver=false")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for i := range runs {
		c.Say("run %d of %d: %d deliveries each", i+1, c.Runs, c.N)
		out := &runs[i]
		out.FsyncP50, out.FsyncP99 = fsync.ms(50), fsync.ms(99)
		if i > 0 {
			if err := s.restart(ctx, "--deliver=false"); err != nil {
				return err
			}
		}
		if err := s.runElsewhere(ctx, fmt.Sprintf("r%d", i), out); err != nil {
			return err
		}
	}
	latency, err := s.latency(ctx, "l")
	if err != nil {
		return err
	}
	c.Say("  ack to arrival at %d/s: p50 %.2f ms, p99 %.2f ms", c.latencyRate(), latency.ms(50), latency.ms(99))
	if err := s.serve.stop(); err != nil {
		return err
	}
	records, err := c.CountRecords(ctx, s.dataDir)
	if err != nil {
		return err
	}
	deliveries := 3*len(runs)*c.events()*c.Endpoints + min(latencyEvents, c.events())*c.Endpoints
	for i := range runs {
		runs[i].LatencyP50, runs[i].LatencyP99 = latency.ms(50), latency.ms(99)
		runs[i].RecordsPerDeliver = float64(records) / float64(deliveries)
	}
	return c.compareAppends(ctx, runs)
}

// runElsewhere makes one run; the server does not deliver when it begins.
func (s *stage) runElsewhere(ctx context.Context, prefix string, out *run) error {
	if err := s.drain(ctx, prefix, out); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	before, err := s.appends(ctx)
	if err != nil {
		return err
	}
	if err := s.endToEndRates(ctx, prefix, out); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	after, err := s.appends(ctx)
	if err != nil {
		return err
	}
	deliveries := 2 * s.cfg.events() * s.cfg.Endpoints
	out.AppendsPerDelivery = (after - before) / float64(deliveries)
	out.RSS = s.serve.peakRSS()
	s.cfg.Say("  %.3f appends a delivery", out.AppendsPerDelivery)
	return nil
}

// appends is how many appends the server has made, by its own count.
func (s *stage) appends(ctx context.Context) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.api("/metrics"), nil)
	if err != nil {
		return 0, fmt.Errorf("make a request: %w", err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read the metrics: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("read the metrics: %w", err)
	}
	return countAppends(raw)
}

// countAppends sums the appends of all outcomes in the Prometheus text format.
func countAppends(metrics []byte) (float64, error) {
	const name = "hookledger_ledger_append_seconds_count"
	sum, found := 0.0, false
	for lines := bufio.NewScanner(bytes.NewReader(metrics)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("the server's metric %s: %w", name, err)
		}
		sum, found = sum+n, true
	}
	if !found {
		return 0, errors.New("the server does not count its appends")
	}
	return sum, nil
}

// compareAppends measures the append loop of the store and that of the client alone, in turns.
func (c *Config) compareAppends(ctx context.Context, runs []run) (err error) {
	n := min(c.N, appendsAtMost)
	loops, err := c.Elsewhere.Appends(ctx, n*appendRounds)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, loops.Close()) }()
	var store, client []float64
	bar := c.Bar("appending", int64(2*n*appendRounds))
	defer bar.Done()
	loop := func(round int, rates *[]float64, one func(context.Context, int) error) error {
		if err := loops.Settle(ctx); err != nil {
			return err
		}
		runtime.GC() // nor what the other loop left behind
		begin := time.Now()
		err := spread(ctx, appendCallers, n, func(ctx context.Context, i int) error { return one(ctx, round*n+i) })
		*rates = append(*rates, float64(n)/time.Since(begin).Seconds())
		bar.Add(n)
		return err
	}
	for round := range appendRounds {
		if err := loop(round, &client, loops.Client); err != nil {
			return fmt.Errorf("append by the client alone: %w", err)
		}
		if err := loop(round, &store, loops.Store); err != nil {
			return fmt.Errorf("append through the store: %w", err)
		}
	}
	for i := range runs {
		runs[i].AdapterAPS, runs[i].ClientAPS = median(store), median(client)
	}
	c.Say("appends with %d callers: %.0f/s through the store, %.0f/s by the client alone", appendCallers, median(store),
		median(client))
	return nil
}
