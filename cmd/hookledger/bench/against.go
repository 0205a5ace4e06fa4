package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// AgainstResult compares this binary with another one: its rates divided by the other's.
type AgainstResult struct {
	Pairs int    `json:"pairs"`
	Drain Ratios `json:"drain_ratio_to_it"`
	E2E   Ratios `json:"e2e_ratio_to_it"`
	Batch Ratios `json:"e2e_batch_ratio_to_it"`
}

// Ratios are those of the pairs, and their median. 1 is as quick, 2 is twice as quick.
type Ratios struct {
	Median float64   `json:"median"`
	Each   []float64 `json:"each"`
}

// RunAgainst has both binaries measure the same, each in turn, cfg.Runs times. Which one is first changes from pair to
// pair, since a machine may change its speed meanwhile.
func RunAgainst(ctx context.Context, cfg Config, other string) (*AgainstResult, error) {
	cfg.defaults()
	out := &AgainstResult{Pairs: cfg.Runs}
	for i := range cfg.Runs {
		var mine, theirs *Result
		turns := []struct {
			binary string
			got    **Result
		}{{other, &theirs}, {cfg.Binary, &mine}}
		if i%2 == 1 {
			turns[0], turns[1] = turns[1], turns[0]
		}
		for _, turn := range turns {
			var err error
			if *turn.got, err = cfg.measureWith(ctx, turn.binary); err != nil {
				return nil, err
			}
		}
		for _, r := range []struct {
			to           *Ratios
			mine, theirs float64
		}{
			{&out.Drain, mine.DrainDPS, theirs.DrainDPS}, {&out.E2E, mine.E2EDPS, theirs.E2EDPS},
			{&out.Batch, mine.E2EBatchDPS, theirs.E2EBatchDPS},
		} {
			r.to.Each = append(r.to.Each, r.mine/r.theirs)
		}
		last := func(r Ratios) float64 { return r.Each[i] }
		cfg.Say("pair %d of %d: drained %.0f/s to %.0f/s (%.2f), end to end %.0f/s to %.0f/s (%.2f), in batches %.0f/s to "+
			"%.0f/s (%.2f)", i+1, cfg.Runs, mine.DrainDPS, theirs.DrainDPS, last(out.Drain), mine.E2EDPS, theirs.E2EDPS,
			last(out.E2E), mine.E2EBatchDPS, theirs.E2EBatchDPS, last(out.Batch))
	}
	for _, r := range []*Ratios{&out.Drain, &out.E2E, &out.Batch} {
		r.Median = median(r.Each)
	}
	return out, nil
}

// measureWith has a binary make one run of its own bench, with the flags that every version has.
func (c *Config) measureWith(ctx context.Context, binary string) (*Result, error) {
	args := []string{"bench", "--number", strconv.Itoa(c.N), "--runs", "1", "--endpoints", strconv.Itoa(c.Endpoints),
		"--receiver-latency", c.ReceiverLatency.String(), "-o", "json"}
	if c.NewSubjects {
		args = append(args, "--subjects", "new")
	}
	if c.Dir != "" {
		args = append(args, "--dir", c.Dir)
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	// It ends the processes that it has started.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, errs.Bytes())
	}
	var r Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("%s printed %q: %w", cmd, out.Bytes(), err)
	}
	if r.DrainDPS <= 0 || r.E2EDPS <= 0 || r.E2EBatchDPS <= 0 {
		return nil, fmt.Errorf("%s printed no rates: %s", cmd, out.Bytes())
	}
	return &r, nil
}
