package eventstore

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hookledger/ledger"
	"hookledger/ledger/eventstore/esdbtest"
	"hookledger/ledger/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childServer) != "" {
		serveAsChild()
	}
	// What the client leaves behind of a connection that broke under several calls; see dialer.dial. It looks for its
	// server now and then.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc.(*addrConn).resetTransportAndUnlock"))
}

// realServer names the variable that has the port's suite run against a real server too. It may be anybody's: the suite
// uses fresh streams, and changes and deletes nothing else.
const realServer = "HOOKLEDGER_TEST_EVENTSTORE"

func TestStore(t *testing.T) {
	t.Parallel()
	t.Run("esdbtest", func(t *testing.T) {
		t.Parallel()
		node := esdbtest.Start(t)
		storetest.Run(t, harness(Config{ConnectionString: node.ConnectionString()}))
	})
	// With so small a tail and such chunks, nearly everything is read from the server.
	t.Run("small tail", func(t *testing.T) {
		t.Parallel()
		node := esdbtest.Start(t)
		storetest.Run(t, harness(Config{ConnectionString: node.ConnectionString(),
			tuning: tuning{tailRecords: 2, chunk: 16, streams: 4, appendConns: 1, perConn: 8}}))
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := esdbtest.StartCluster(t, 3)
		storetest.Run(t, harness(Config{ConnectionString: cluster.ConnectionString()}))
	})
	t.Run("real server", func(t *testing.T) {
		t.Parallel()
		server := os.Getenv(realServer)
		if server == "" {
			t.Skipf("%d cases of the port's suite are skipped: set %s=esdb://... to run them on a real server",
				storetest.Cases(), realServer)
		}
		storetest.Run(t, harness(Config{ConnectionString: server, Shared: true}))
	})
}

func harness(cfg Config) storetest.Harness {
	open := func(t *testing.T) ledger.Store {
		t.Helper()
		return open(t, cfg)
	}
	return storetest.Harness{
		Open: open,
		Reopen: func(t *testing.T, s ledger.Store) ledger.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t)
		},
	}
}

// open opens a store that is closed at the test's end, and must not have failed by then.
func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s := openAny(t, cfg)
	t.Cleanup(func() {
		if err := s.Err(); err != nil {
			t.Errorf("the store failed: %v", err)
		}
	})
	return s
}

// openAny opens a store that is closed at the test's end.
func openAny(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), patient(cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		// A client that Close gave up finds its server while that is still there, and otherwise never.
		s.dialer.left.Wait()
	})
	return s
}

// patient lets a slow machine be slow, where the test has not set the time itself.
func patient(cfg Config) Config {
	for _, d := range []*time.Duration{&cfg.openFor, &cfg.patience, &cfg.deadline} {
		if *d == 0 {
			*d = 2 * time.Minute
		}
	}
	return cfg
}
