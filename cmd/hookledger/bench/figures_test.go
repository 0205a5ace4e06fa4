package bench

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPercentilesByNearestRank(t *testing.T) {
	t.Parallel()
	var all times
	for i := range 100 {
		all = append(all, time.Duration(100-i)*time.Millisecond)
	}
	for percent, want := range map[int]float64{50: 50, 99: 99, 100: 100, 1: 1} {
		if got := all.ms(percent); got != want {
			t.Errorf("p%d is %v, not %v", percent, got, want)
		}
	}
	if got := (times{7 * time.Millisecond}).ms(99); got != 7 {
		t.Errorf("of one: %v", got)
	}
	if got := (times{}).ms(50); got != 0 {
		t.Errorf("of none: %v", got)
	}
}

func TestMedianOfRuns(t *testing.T) {
	t.Parallel()
	var runs []run
	for i, v := range []float64{30, 10, 20} {
		r := run{bare: map[int]float64{16: v, 32: 100 + v, 64: 50, 128: 60}}
		r.DrainDPS, r.E2EDPS, r.E2EBatchDPS, r.ProjectionLag = v*2, v, v*3, float64(i)
		r.CPU = map[string]float64{"serve": v}
		runs = append(runs, r)
	}
	got := medianOf(runs)
	if got.BareRPS != 120 || got.DrainDPS != 40 || got.ProjectionLag != 1 || got.CPU["serve"] != 20 {
		t.Errorf("got %+v", got)
	}
	if got.DrainRatio != 40.0/120 || got.E2ERatio != 20.0/120 || got.E2EBatchRatio != 60.0/120 {
		t.Errorf("ratios %+v", got)
	}
	if m := median([]float64{4, 1}); m != 2.5 {
		t.Errorf("of two: %v", m)
	}
}

// TestResultNamesItsFigures: the names are an interface.
func TestResultNamesItsFigures(t *testing.T) {
	t.Parallel()
	var names []string
	for f := range reflect.TypeFor[Result]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	for _, want := range []string{"bare_rps", "drain_dps", "drain_ratio", "e2e_dps", "e2e_ratio", "ack_p50_ms",
		"ack_p99_ms",
		"latency_p50_ms", "latency_p99_ms", "fsync_p50_ms", "fsync_p99_ms", "cpu_s_per_1000", "rss_mb", "projection_lag_s",
		"records_per_delivery", "disk_bytes_per_delivery", "appends_per_delivery", "adapter_ratio"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestAppendsAreCountedWhateverTheirOutcome(t *testing.T) {
	t.Parallel()
	const metrics = `# TYPE hookledger_ledger_append_seconds histogram
hookledger_ledger_append_seconds_bucket{outcome="appended",le="0.1"} 7
hookledger_ledger_append_seconds_sum{outcome="appended"} 0.5
hookledger_ledger_append_seconds_count{outcome="appended"} 7
hookledger_ledger_append_seconds_count{outcome="conflict"} 1e+01
`
	if n, err := countAppends([]byte(metrics)); n != 17 || err != nil {
		t.Errorf("%v appends, %v", n, err)
	}
	if _, err := countAppends([]byte("up 1\n")); err == nil {
		t.Error("none were counted, and that is no error")
	}
}

func TestPostIsWhatTheAPITakes(t *testing.T) {
	t.Parallel()
	c := Config{NewSubjects: true}
	var post map[string]any
	if err := json.Unmarshal(c.post(nil, "e1"), &post); err != nil {
		t.Fatal(err)
	}
	if post["id"] != "e1" || post["event"] != eventType || post["subject"] == nil || post["data"] == nil {
		t.Errorf("got %v", post)
	}
	if n := len(c.post(nil, "e1")); n < 250 || n > 450 {
		t.Errorf("the body has %d bytes", n)
	}
}

func TestSpreadDoesEachOnceAndEndsAtTheFirstError(t *testing.T) {
	t.Parallel()
	var done [1000]atomic.Int32
	if err := spread(t.Context(), 8, len(done), func(_ context.Context, i int) error {
		done[i].Add(1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		if n := done[i].Load(); n != 1 {
			t.Fatalf("%d was done %d times", i, n)
		}
	}
	broken := errors.New("broken")
	if err := spread(t.Context(), 8, 1000, func(_ context.Context, i int) error {
		if i == 10 {
			return broken
		}
		return nil
	}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestDiskUsageAndFsync(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", "b"), make([]byte, 1234), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := diskUsage(dir); err != nil || n != 1234 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if ts, err := measureFsync(dir); err != nil || len(ts) == 0 || ts.ms(99) < ts.ms(50) {
		t.Errorf("%d rounds, %v", len(ts), err)
	}
	if n, err := diskUsage(dir); err != nil || n != 1234 {
		t.Errorf("the fsync file stays: %d bytes, %v", n, err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var b tail
	for range 100 {
		_, _ = b.Write([]byte(strings.Repeat("x", 1000)))
	}
	_, _ = b.Write([]byte("the end"))
	if s := b.String(); len(s) != tailSize || !strings.HasSuffix(s, "the end") {
		t.Errorf("%d bytes kept", len(s))
	}
}

func TestChildThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	p, err := start(t.Context(), "/bin/sh", nil, "-c", "echo broken >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if err := p.stop(); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("got %v", err)
	}
	if err := p.await(t.Context(), func(context.Context) bool { return false }); err == nil {
		t.Error("a child that ended got ready")
	}
}

func TestChildIsEndedByItsID(t *testing.T) {
	t.Parallel()
	p, err := start(t.Context(), "/bin/sh", nil, "-c", "exec tail -f /dev/null")
	if err != nil {
		t.Fatal(err)
	}
	if p.cmd.Process.Pid <= 0 {
		t.Fatal("no process")
	}
	_ = p.stop() // tail ends by the signal, and says so
	select {
	case <-p.done:
	default:
		t.Error("it still runs")
	}
}

// TestReplayResult: each figure is the median of the runs, the ratio that of each run's own.
func TestReplayResult(t *testing.T) {
	t.Parallel()
	ms := func(v int) times { return times{time.Duration(v) * time.Millisecond} }
	got := replayResult(7, []replayRun{
		{before: ms(1), meantime: ms(3), fsync: ms(1), dps: []float64{1, 2, 9}},
		{before: ms(4), meantime: ms(4), fsync: ms(2), dps: []float64{4}},
		{before: ms(5), meantime: ms(10), fsync: ms(3), dps: []float64{5, 7}},
	})
	want := ReplayResult{Replayed: 7, DPS: 4, BeforeP50: 4, BeforeP99: 4, MeantimeP50: 4, MeantimeP99: 4, Ratio: 2,
		FsyncP99: 2}
	if *got != want {
		t.Errorf("%+v\nis not\n%+v", *got, want)
	}
}
