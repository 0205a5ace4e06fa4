package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// times are measured durations.
type times []time.Duration

// ms is a percentile in milliseconds, by the nearest rank.
func (t times) ms(percent int) float64 {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	rank := (len(sorted)*percent + 99) / 100
	return float64(sorted[max(rank, 1)-1]) / float64(time.Millisecond)
}

// postOne posts an event and gives the time of its ack.
func (s *stage) postOne(ctx context.Context, client *http.Client, body []byte) (time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.api("/v1/events"), bytes.NewReader(body))
	if err != nil {
		return time.Time{}, fmt.Errorf("make a request: %w", err)
	}
	s.authorize(req.Header)
	err = exchange(client, req, http.StatusAccepted)
	return time.Now(), err
}

// measureFsync appends 4 KiB to a file and syncs it, again and again.
func measureFsync(dir string) (_ times, err error) {
	const rounds = 300
	path := filepath.Join(dir, "fsync")
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("measure fsync: %w", err)
	}
	defer func() {
		if cerr := errors.Join(f.Close(), os.Remove(path)); err == nil && cerr != nil {
			err = fmt.Errorf("measure fsync: %w", cerr)
		}
	}()
	block := bytes.Repeat([]byte{0xA5}, 4096)
	out := make(times, rounds)
	for i := range out {
		begin := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, fmt.Errorf("measure fsync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("measure fsync: %w", err)
		}
		out[i] = time.Since(begin)
	}
	return out, nil
}

// diskUsage is the size of all files below a directory.
func diskUsage(dir string) (int64, error) {
	total := int64(0)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure the disk: %w", err)
	}
	return total, nil
}

// median of figures: the middle one, or the mean of the middle two.
func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// medianOf takes each figure's median; bare_rps is the best of the medians by connections, and the ratios are to it.
func medianOf(runs []run) *Result {
	of := func(pick func(*run) float64) float64 {
		v := make([]float64, len(runs))
		for i := range runs {
			v[i] = pick(&runs[i])
		}
		return median(v)
	}
	out := &Result{CPU: map[string]float64{}}
	for _, conns := range connections {
		out.BareRPS = max(out.BareRPS, of(func(r *run) float64 { return r.bare[conns] }))
	}
	figure := func(to *float64, pick func(*Result) *float64) {
		*to = of(func(r *run) float64 { return *pick(&r.Result) })
	}
	for _, pick := range []func(*Result) *float64{
		func(r *Result) *float64 { return &r.DrainDPS },
		func(r *Result) *float64 { return &r.E2EDPS },
		func(r *Result) *float64 { return &r.E2EBatchDPS },
		func(r *Result) *float64 { return &r.AckP50 },
		func(r *Result) *float64 { return &r.AckP99 },
		func(r *Result) *float64 { return &r.LatencyP50 },
		func(r *Result) *float64 { return &r.LatencyP99 },
		func(r *Result) *float64 { return &r.FsyncP50 },
		func(r *Result) *float64 { return &r.FsyncP99 },
		func(r *Result) *float64 { return &r.RSS },
		func(r *Result) *float64 { return &r.ProjectionLag },
		func(r *Result) *float64 { return &r.RecordsPerDeliver },
		func(r *Result) *float64 { return &r.DiskPerDelivery },
		func(r *Result) *float64 { return &r.AppendsPerDelivery },
		func(r *Result) *float64 { return &r.AdapterAPS },
		func(r *Result) *float64 { return &r.ClientAPS },
	} {
		figure(pick(out), pick)
	}
	for _, name := range []string{"serve", "receive", "bench"} {
		out.CPU[name] = of(func(r *run) float64 { return r.CPU[name] })
	}
	if out.BareRPS > 0 {
		out.DrainRatio, out.E2ERatio, out.E2EBatchRatio = out.DrainDPS/out.BareRPS, out.E2EDPS/out.BareRPS,
			out.E2EBatchDPS/out.BareRPS
	}
	if out.ClientAPS > 0 {
		out.AdapterRatio = out.AdapterAPS / out.ClientAPS
	}
	return out
}
