package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"go.uber.org/goleak"
)

// TestMain looks for goroutines that are left. Those of connections that the client lost are its own: it forgets them.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("google.golang.org/grpc.(*addrConn).connect"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"))
}

// TestServe starts it on a free port, asks it by the line that it prints, and ends it.
func TestServe(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(run(ctx, []string{"--listen", "127.0.0.1:0"}, w, io.Discard), w.Close()) }()
	out := bufio.NewReader(r)
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	config, err := esdb.ParseConnectionString(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("it printed %q: %v", line, err)
	}
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	version, err := client.GetServerVersion()
	if err != nil || version.Major != 23 || version.Minor != 10 {
		t.Errorf("it says that it is %v, %v", version, err)
	}
	stop()
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
		t.Errorf("more than one line: %q, %v", rest, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--listen", "nowhere"}, {"--unknown"}, {"argument"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
