package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"hookledger/ledger/eventstore/esdbtest"
)

// started runs serve, and gives the connection string and what ends it: then comes what it said of the faults.
func started(t *testing.T, args ...string) (string, func() string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var said bytes.Buffer // of the goroutine until it has ended
	ended := make(chan error, 1)
	go func() {
		ended <- errors.Join(run(ctx, append([]string{"--listen", "127.0.0.1:0"}, args...), w, &said), w.Close())
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("it printed nothing: %v, %v", err, <-ended)
	}
	return strings.TrimSpace(line), func() string {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
		return said.String()
	}
}

func client(t *testing.T, to string) *esdb.Client {
	t.Helper()
	config, err := esdb.ParseConnectionString(to)
	if err != nil {
		t.Fatalf("it printed %q: %v", to, err)
	}
	config.Logger, config.DiscoveryInterval, config.MaxDiscoverAttempts = esdb.NoopLogging(), 5, 1_000_000
	c, err := esdb.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Faults by chance, leaders that change and nodes that restart: appends that are repeated are written once, in order.
func TestServeWithFaults(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"node":    {"--restart-every", "40ms"},
		"cluster": {"--nodes", "3", "--leader-change-every", "40ms", "--restart-every", "60ms", "--outage", "5ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to, end := started(t, append(args, "--faults",
				"commit-then-unavailable=0.1,commit-then-cancel=0.1,cut-connection=0.05,refuse-append=0.05,kill-leader=0.02")...)
			c := client(t, to)
			const n = 60
			for i := range n {
				append1(t, c, i)
			}
			r, err := c.ReadStream(t.Context(), "s", esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1)
			if err == nil {
				e, err := r.Recv()
				r.Close()
				if err == nil && e.Event.EventNumber != n-1 {
					t.Errorf("the stream ends at %d, want %d", e.Event.EventNumber, n-1)
				}
			}
			said := end()
			t.Log(said)
			for _, want := range []string{"seed: ", "commit-then-unavailable ", "nodes: "} {
				if !strings.Contains(said, want) {
					t.Errorf("it said %q, without %q", said, want)
				}
			}
		})
	}
}

// append1 appends event n of a stream, until that is known.
func append1(t *testing.T, c *esdb.Client, n int) {
	t.Helper()
	expected := esdb.ExpectedRevision(esdb.NoStream{})
	if n > 0 {
		expected = esdb.Revision(uint64(n) - 1) //nolint:gosec // small
	}
	event := esdb.EventData{EventID: uuid.New(), EventType: "e", ContentType: esdb.ContentTypeJson, Data: []byte("{}")}
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := c.AppendToStream(ctx, "s", esdb.AppendToStreamOptions{ExpectedRevision: expected}, event)
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatalf("event %d was never known to be written", n)
}

func TestServeWithTLS(t *testing.T) {
	t.Parallel()
	ca, err := esdbtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := ca.Write(dir, "ledger"); err != nil {
		t.Fatal(err)
	}
	to, end := started(t, "--tls-cert", dir+"/node.crt", "--tls-key", dir+"/node.key", "--ca", dir+"/ca.crt",
		"--user", "ledger:secret:writers,readers", "--user-certificates")
	for _, login := range []string{"ledger:secret@", ""} {
		more := "&tlsCaFile=" + dir + "/ca.crt"
		if login == "" {
			more += fmt.Sprintf("&userCertFile=%[1]s/ledger.crt&userKeyFile=%[1]s/ledger.key", dir)
		}
		c := client(t, strings.Replace(to, "esdb://", "esdb://"+login, 1)+more)
		if _, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, esdb.EventData{EventID: uuid.New(),
			EventType: "e"}); err != nil {
			t.Errorf("append as %q: %v", login, err)
		}
	}
	end()
}

func TestServeNamesTheFix(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		want string
		args []string
	}{
		{"--nodes 3, not 1", []string{"--leader-change-every", "1s"}},
		{"all three of --tls-cert, --tls-key and --ca", []string{"--tls-cert", "node.crt"}},
		{"give --tls-cert, --tls-key and --ca", []string{"--user", "a:b"}},
		{`"nothing" is none: they are [commit-then-unavailable`, []string{"--faults", "nothing=1"}},
		{"--user wants name:password", []string{"--tls-cert", "a", "--tls-key", "b", "--ca", "c", "--user", "name"}},
	} {
		err := run(t.Context(), x.args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q: %v, want %q", x.args, err, x.want)
		}
	}
}
