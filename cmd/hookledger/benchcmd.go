package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/bench"
	"hookledger/cmd/hookledger/output"
)

// benching holds bench's flags.
type benching struct {
	n, runs, endpoints, pending int
	latency                     time.Duration
	subjects, dir, cpuProfiles  string
	store                       storeFlags
	withReplay, withNeighbour   bool
	against                     string
}

func newBench(a *app) *cobra.Command {
	f := &benching{}
	c := &cobra.Command{Use: "bench", Short: "Measure this binary on this machine, against a bare HTTP loop",
		Long: `Measure this binary on loopback: serve, receive and the load are three processes with their defaults.
The yardstick is a bare net/http loop that posts the same body with the same HMAC to the same receiver in the
same run. Each figure is the median of the runs; every clock stops when the read models have caught up. It takes
minutes, and needs an idle machine.

CPU and memory are read from /proc, on Linux only. The data directories stand in --dir: name a folder on the
disk that you want to know about, and not a file system in memory.

With --store eventstore the ledger stands in the EventStoreDB that --eventstore names, which must be empty. It
also says how many appends a delivery takes, and compares the store with a bare loop of its client.`,
		Example: `  hookledger bench -o json
  hookledger bench -n 20000 --runs 1
  hookledger bench --endpoints 500 --receiver-latency 200ms -n 50000
  hookledger bench --subjects new
  hookledger bench --pending 1000000
  hookledger bench --with-replay
  hookledger bench --with-failing-neighbour -n 100000
  hookledger bench --against ./hookledger-of-yesterday -n 40000 --runs 5
  hookledger bench --store eventstore --eventstore 'esdb://127.0.0.1:2113?tls=false'`, Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.bench(cmd.Context(), f) }}
	flags := c.Flags()
	flags.IntVarP(&f.n, "number", "n", 200_000, "deliveries of each measurement")
	flags.IntVar(&f.runs, "runs", 3, "of which each figure is the median")
	flags.IntVar(&f.endpoints, "endpoints", 1, "that each event goes to")
	flags.DurationVar(&f.latency, "receiver-latency", 0, "that the receiver waits before each answer")
	flags.StringVar(&f.subjects, "subjects", "none", "none, or new: each event is about a new subject, with a new key")
	flags.IntVar(&f.pending, "pending", 0,
		"measure the memory with so many deliveries due and an endpoint that hangs, and nothing else")
	flags.BoolVar(&f.withReplay, "with-replay", false,
		"measure the latency of what is posted without and while a replay runs, in turns, and nothing else")
	flags.BoolVar(&f.withNeighbour, "with-failing-neighbour", false,
		"measure the latency to 50 healthy endpoints alone and beside a hung, a slow and a failing one, and nothing else")
	flags.StringVar(&f.against, "against", "",
		"another build of hookledger to compare this one with: --runs pairs of runs, each in turn, and their ratios")
	f.store.add(c)
	flags.StringVar(&f.dir, "dir", "", "folder for the data directories (default: the one for temporary files)")
	flags.StringVar(&f.cpuProfiles, "cpu-profiles", "", "folder for a CPU profile of each serve that is started")
	return c
}

func (a *app) bench(ctx context.Context, f *benching) error {
	switch {
	case f.n < 1 || f.runs < 1 || f.pending < 0:
		return usage("--number, --runs and --pending are counts", "give at least 1")
	case f.endpoints < 1 || f.endpoints > 1000:
		return usage("--endpoints is out of range", "give 1 to 1000")
	case f.subjects != "none" && f.subjects != "new":
		return usage("--subjects "+f.subjects+" is unknown", "give none or new")
	}
	store, err := a.storeConfig(&f.store)
	if err != nil {
		return err
	}
	if f.against != "" && (f.pending > 0 || f.withReplay || f.withNeighbour || f.cpuProfiles != "" || store.remote()) {
		return usage("--against compares the plain measurement only", "leave out the flags of other measurements")
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this binary: %w", err)
	}
	cfg := bench.Config{Binary: binary, Dir: f.dir, N: f.n, Runs: f.runs, Endpoints: f.endpoints,
		ReceiverLatency: f.latency,
		NewSubjects:     f.subjects == "new", Pending: f.pending, CPUProfiles: f.cpuProfiles, Say: a.note,
		CountRecords: func(ctx context.Context, dataDir string) (int64, error) { return countRecords(ctx, dataDir, store) },
		Bar:          func(title string, total int64) bench.Bar { return output.NewProgress(a.err, title, total) }}
	if store.remote() {
		if cfg.Elsewhere, err = benchElsewhere(ctx, store); err != nil {
			return err
		}
	}
	var r any
	switch {
	case f.pending > 0:
		r, err = bench.RunPending(ctx, cfg)
	case f.withReplay:
		r, err = bench.RunReplay(ctx, cfg)
	case f.withNeighbour:
		r, err = bench.RunNeighbour(ctx, cfg)
	case f.against != "":
		r, err = bench.RunAgainst(ctx, cfg, f.against)
	default:
		r, err = bench.Run(ctx, cfg)
	}
	if err != nil {
		return err
	}
	return printFigures(a, r)
}

// figure is one line of the table.
type figure struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// printFigures prints an object as it is, in a table or CSV one line a member.
func printFigures(a *app, v any) error {
	raw, err := marshal(v)
	if err != nil {
		return err
	}
	columns := []output.Column[figure]{
		column("name", func(f figure) string { return f.Name }),
		column("value", func(f figure) string { return f.Value }),
	}
	if a.printer.Format == output.JSON || a.printer.Format == output.NDJSON {
		return output.One(a.printer, columns, raw, figure{})
	}
	list := output.NewList(a.printer, columns)
	for _, m := range members(raw) {
		if err := list.Add(nil, figure{m.name, strings.Trim(m.value, `"`)}); err != nil {
			return err
		}
	}
	return list.Close()
}
