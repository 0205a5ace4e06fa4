package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"hookledger/ledger/eventstore/esdbtest"
)

// The tests that need an EventStoreDB have one in a process of its own: this test's binary under the name esdb.

// manyFaults is what a bad day of a cluster is made of, all of it at once.
var manyFaults = map[esdbtest.Fault]esdbtest.Rule{
	esdbtest.CommitThenUnavailable: esdbtest.Chance(0.01),
	esdbtest.CommitThenCancel:      esdbtest.Chance(0.01),
	esdbtest.CommitThenAbort:       esdbtest.Chance(0.01),
	esdbtest.RefuseAppend:          esdbtest.Chance(0.01),
	esdbtest.DropSubscription:      esdbtest.Chance(0.005),
	esdbtest.SilentSubscription:    esdbtest.Chance(0.0003),
	esdbtest.RefuseConnection:      esdbtest.Chance(0.1),
	esdbtest.SlowConnection:        esdbtest.Chance(0.05),
	esdbtest.CutConnection:         esdbtest.Chance(0.005),
	esdbtest.KillLeader:            esdbtest.Chance(0.002),
	esdbtest.FreezeLeader:          esdbtest.Chance(0.0005),
}

// esdbMain is the program: a cluster whose first line is its connection string, and whose faults its standard input
// switches, a line each. It ends with its input.
func esdbMain() {
	if err := esdbServe(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "esdb:", err)
		os.Exit(1)
	}
}

func esdbServe(args []string, in io.Reader, out io.Writer) (err error) {
	flags := flag.NewFlagSet("esdb", flag.ContinueOnError)
	nodes := flags.Int("nodes", 1, "nodes of the cluster")
	seed := flags.Uint64("seed", 0, "of the faults")
	if err := flags.Parse(args); err != nil {
		return err
	}
	faults := esdbtest.NewFaults(*seed)
	cluster, err := esdbtest.NewCluster(*nodes, esdbtest.WithFaults(faults))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	fmt.Fprintln(out, cluster.ConnectionString())
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch lines.Text() {
		case "faults on":
			for fault, rule := range manyFaults {
				faults.Set(fault, rule)
			}
			fmt.Fprintln(out, "on")
		case "faults off":
			faults.Off()
			fmt.Fprintln(out, faults)
		case "away":
			for i := range *nodes {
				cluster.StopNode(i)
			}
			fmt.Fprintln(out, "away")
		case "back":
			for i := range *nodes {
				if err := cluster.StartNode(i); err != nil {
					return err
				}
			}
			fmt.Fprintln(out, "back")
		}
	}
	return nil
}

// esdbProcess is such a process.
type esdbProcess struct {
	t          *testing.T
	in         io.WriteCloser
	out        *bufio.Scanner
	connection string
}

func startESDB(t *testing.T, nodes int, rng *rand.Rand) *esdbProcess {
	t.Helper()
	path, err := exec.LookPath("esdb")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, fmt.Sprintf("--nodes=%d", nodes), fmt.Sprintf("--seed=%d", rng.Uint64()))
	cmd.Stderr = os.Stderr
	p := &esdbProcess{t: t}
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.in.Close()
		_ = cmd.Wait() // the context of the test may have ended it
	})
	p.out = bufio.NewScanner(out)
	p.connection = p.line()
	return p
}

func (p *esdbProcess) line() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatalf("the EventStoreDB has ended: %v", p.out.Err())
	}
	return p.out.Text()
}

// tell switches something, and gives the answer.
func (p *esdbProcess) tell(what string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.in, what+"\n"); err != nil {
		p.t.Fatal(err)
	}
	return p.line()
}

// flags are those of a hookledger whose ledger stands there. A short deadline of each call makes a frozen leader known
// sooner.
func (p *esdbProcess) flags() []string {
	sep := "?"
	if strings.Contains(p.connection, "?") {
		sep = "&"
	}
	return []string{"--store", "eventstore", "--eventstore", p.connection + sep + "defaultDeadline=1000"}
}
