package eventstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/eventstore/esdbtest"
)

// childServer has this binary serve an EventStoreDB until its standard input ends, instead of testing.
const childServer = "HOOKLEDGER_TEST_SERVE_EVENTSTORE"

func serveAsChild() {
	node, err := esdbtest.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(node.ConnectionString())
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until the parent is done
	_ = node.Close()
	os.Exit(0)
}

// anotherProcess serves an EventStoreDB in a process of its own and gives its connection string; or that of a real
// server.
func anotherProcess(tb testing.TB) string {
	tb.Helper()
	if server := os.Getenv(realServer); server != "" {
		return server
	}
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), childServer+"=1")
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := child.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		_ = child.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// benchAppend is an append as a delivery makes them: two records, about 700 bytes.
type benchAppend struct {
	stream  domain.Stream
	records []domain.Record
	bare    Prepared
}

func benchAppends(tb testing.TB, n int) []benchAppend {
	tb.Helper()
	out := make([]benchAppend, n)
	for i := range out {
		on := freshStream()
		out[i] = benchAppend{stream: on, records: some(on, 2)}
		var err error
		if out[i].bare, err = Prepare(on, out[i].records); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// perSecond makes the appends, so many at once, and gives how many there were in a second.
func perSecond(tb testing.TB, appends []benchAppend, callers int, one func(*benchAppend) error) float64 {
	tb.Helper()
	var next atomic.Int64
	var work sync.WaitGroup
	begun := time.Now()
	for range callers {
		work.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(appends) {
					return
				}
				if err := one(&appends[i]); err != nil {
					tb.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	work.Wait()
	return float64(len(appends)) / time.Since(begun).Seconds()
}

// BenchmarkAppend compares the store with a bare loop of the client: the same number at once, streams and bytes,
// against the same server in another process. The two take turns, so that what else the machine does hits both.
func BenchmarkAppend(b *testing.B) {
	const callers, batch = 64, 3000
	cfg := Config{ConnectionString: anotherProcess(b), Shared: true}
	ctx := context.Background()
	s, err := Open(ctx, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	bare, err := DialBare(ctx, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	ours := func(a *benchAppend) error {
		_, err := ledger.AppendKnown(ctx, s, a.stream, domain.NoStream, a.records)
		return err
	}
	theirs := func(a *benchAppend) error { return bare.Append(ctx, a.bare) }
	perSecond(b, benchAppends(b, batch), callers, ours)
	perSecond(b, benchAppends(b, batch), callers, theirs)
	var store, client float64
	b.ResetTimer()
	for range b.N {
		store += perSecond(b, benchAppends(b, batch), callers, ours)
		client += perSecond(b, benchAppends(b, batch), callers, theirs)
	}
	b.ReportMetric(store/float64(b.N), "store/s")
	b.ReportMetric(client/float64(b.N), "client/s")
	b.ReportMetric(store/client, "ratio")
}
