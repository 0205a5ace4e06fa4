package eventstore

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/eventstore/esdbtest"
)

// TestClose_InAnOutage: a call whose client looks for a node heeds neither a context nor a deadline, and looks for as
// long as the server is away. It is not waited for so long.
func TestClose_InAnOutage(t *testing.T) {
	t.Parallel()
	node := esdbtest.Start(t)
	cfg := Config{ConnectionString: node.ConnectionString()}
	cfg.deadline, cfg.appendConns = 100*time.Millisecond, 1
	s := open(t, cfg)
	on := freshStream()
	if _, err := s.Append(t.Context(), on, domain.NoStream, some(on, 1)); err != nil {
		t.Fatal(err)
	}
	c, err := s.appends.acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	node.Stop()
	conf := *s.dialer.conf
	conf.MaxDiscoverAttempts = endless
	old := c.client
	if c.client, err = esdb.NewClient(&conf); err != nil { // one that looks for a node, as it does when its own is lost
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s.appends.release(c, false)
	answers := make(chan error, 1)
	go func() {
		_, err := s.Append(context.Background(), on, 0, some(on, 1))
		answers <- err
	}()
	for s.appends.inFlight() == 0 {
		runtime.Gosched()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answers; !errors.Is(err, ledger.ErrUnknownOutcome) || !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("answered %v", err)
	}
	if err := node.Restart(); err != nil { // so that the call ends
		t.Fatal(err)
	}
	for s.appends.inFlight() > 0 {
		runtime.Gosched()
	}
	s.dialer.left.Wait()
}

// TestFeed_OneThatIsOnlyDroppedIsAskedForLessAndLess: a server that ends each subscription at its first event is not
// asked for the next one at once, again and again.
func TestFeed_OneThatIsOnlyDroppedIsAskedForLessAndLess(t *testing.T) {
	t.Parallel()
	faults := esdbtest.NewFaults(seeded(t))
	node := esdbtest.Start(t, esdbtest.WithFaults(faults))
	cfg := Config{ConnectionString: node.ConnectionString(), Metrics: prometheus.NewRegistry()}
	cfg.laterPause = time.Hour
	s := open(t, cfg)
	faults.Set(esdbtest.DropSubscription, esdbtest.Next(5))
	begun := time.Now()
	on := freshStream()
	if _, err := s.Append(t.Context(), on, domain.NoStream, some(on, 1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(t.Context(), s.Head()-1); err != nil {
		t.Fatal(err)
	}
	// 5, 10, 20, 40 and 80 ms, each halved at random.
	if took := time.Since(begun); faults.Fired(esdbtest.DropSubscription) == 5 && took < 77*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	if n := metric(t, s, "hookledger_eventstore_resubscriptions_total", dropped); n < 5 {
		t.Errorf("it was made anew %v times", n)
	}
}
