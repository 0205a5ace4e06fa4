package esdbtest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/ledger/eventstore/esdbtest"
)

// troubled is a cluster whose subscriptions drop now and then, and a writer that writes n events while leaders are
// killed, frozen and resign; the writer gives up when the test has failed.
func troubled(t *testing.T, n int) *esdbtest.Cluster {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // bits
	t.Logf("seed %d", seed)
	faults := esdbtest.NewFaults(seed)
	cluster := esdbtest.StartCluster(t, 3, esdbtest.WithFaults(faults))
	for _, f := range []esdbtest.Fault{esdbtest.DropSubscription, esdbtest.RedeliverAcked, esdbtest.CutConnection,
		esdbtest.CommitThenUnavailable, esdbtest.CommitThenAbort, esdbtest.RefuseAppend} {
		faults.Set(f, esdbtest.Chance(0.03))
	}
	c := clientOf(t, cluster.ConnectionString())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range n {
			if t.Failed() {
				return
			}
			stubborn(t, c, "s", i)
			if i%20 != 19 {
				continue
			}
			gone := -1
			switch i / 20 % 3 {
			case 0:
				gone = cluster.KillLeader()
			case 1:
				gone = cluster.FreezeLeader()
			case 2:
				cluster.ChangeLeader()
			}
			if gone < 0 {
				continue
			}
			if err := cluster.StartNode(gone); err != nil {
				t.Errorf("start node %d again: %v", gone, err)
			}
		}
	})
	t.Cleanup(func() {
		writer.Wait()
		t.Logf("%v", faults)
	})
	return cluster
}

// Whoever subscribes again behind the last event it saw sees each event once, in order, whatever happens.
func TestFollowerThroughTrouble(t *testing.T) {
	t.Parallel()
	const n = 200
	c := clientOf(t, troubled(t, n).ConnectionString())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var from esdb.AllPosition = esdb.Start{}
	for next := uint64(0); next < n; {
		sub, err := c.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: from, Filter: prefixed("s")})
		if ctx.Err() != nil {
			t.Fatalf("event %d did not come: %v", next, err)
		}
		if err != nil {
			continue
		}
		for {
			e := sub.Recv()
			if e.SubscriptionDropped != nil {
				break
			}
			if e.EventAppeared == nil {
				continue
			}
			if got := e.EventAppeared.Event.EventNumber; got != next {
				t.Errorf("event %d came, want %d", got, next)
			}
			next = e.EventAppeared.Event.EventNumber + 1
			if from = e.EventAppeared.Event.Position; next == n {
				break
			}
		}
		sub.Close()
	}
}

// A group loses no event, whatever happens to its consumers, its acks and its leader.
func TestGroupThroughTrouble(t *testing.T) {
	t.Parallel()
	const n = 200
	cluster := troubled(t, n)
	c := clientOf(t, cluster.ConnectionString())
	seen := map[uint64]bool{}
	created := false
	for until := time.Now().Add(patience); len(seen) < n; {
		if time.Now().After(until) {
			t.Fatalf("%d of %d events came", len(seen), n)
		}
		if !created {
			got := answerOf(makeGroup(t, c, "s", "g", func(s *tuning) { s.CheckpointLowerBound = 1 }))
			created = got == "ok" || got == "ResourceAlreadyExists/AlreadyExists"
		}
		m, err := tryJoin(t, c, "s", "g", 10)
		if err != nil {
			continue
		}
		for len(seen) < n {
			e := m.next()
			if e.EventAppeared == nil {
				break
			}
			seen[e.EventAppeared.Event.Event.EventNumber] = true
			m.settle(e.EventAppeared)
		}
		m.close()
	}
	for i := range uint64(n) {
		if !seen[i] {
			t.Error(fmt.Sprint("event ", i, " did not come"))
		}
	}
}

// settle acks an event, if its connection is still there.
func (m *eater) settle(e *esdb.EventAppeared) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ps.Ack(e.Event)
}
