package esdbtest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/ledger/eventstore/esdbtest"
)

// Each fault of an append: what the client is told, and whether the data are there. That is the promise of its comment.
func TestAppendFaults(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		fault   esdbtest.Fault
		answer  string
		written int
	}{
		{esdbtest.CommitThenUnavailable, "Unavailable/Unavailable", 1},
		{esdbtest.CommitThenCancel, "Unknown/Canceled", 1},
		{esdbtest.CommitThenAbort, "Aborted/Aborted", 1},
		{esdbtest.RefuseAppend, "Unavailable/Unavailable", 0},
		{esdbtest.CutConnection, "Unavailable/Unavailable", 0},
		{esdbtest.KillLeader, "Unavailable/Unavailable", 1},
	} {
		t.Run(string(x.fault), func(t *testing.T) {
			t.Parallel()
			faults := esdbtest.NewFaults(1)
			c := clientOf(t, esdbtest.Start(t, esdbtest.WithFaults(faults)).ConnectionString())
			mustAppend(t, c, "other", someEvents(1)...)
			faults.Set(x.fault, esdbtest.Next(1))
			events := someEvents(1)
			first := esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}
			_, err := c.AppendToStream(t.Context(), "s", first, events...)
			same(t, "answer", x.answer, answerOf(err))
			same(t, "fired", 1, faults.Fired(x.fault))
			same(t, "written", x.written, len(contentsAtLast(t, c, "s")))
			eventually(t, c, "s", events...) // the same again is answered, and is there once
			same(t, "written once", 1, len(contentsOf(t, c, "s")))
			same(t, "and nothing else fired", fmt.Sprintf("%s 1 of %d", x.fault, faults.Seen(x.fault)), faults.String())
		})
	}
}

// contentsAtLast is contentsOf, for who may have to find the server again first.
func contentsAtLast(t *testing.T, c *esdb.Client, stream string) []*esdb.ResolvedEvent {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := c.GetStreamMetadata(t.Context(), stream, esdb.ReadStreamOptions{}); err == nil ||
			strings.HasPrefix(answerOf(err), "ResourceNotFound") {
			break
		}
	}
	return contentsOf(t, c, stream)
}

func TestClusterFaults(t *testing.T) {
	t.Parallel()
	for fault, answer := range map[esdbtest.Fault]string{
		esdbtest.KillLeader: "Unavailable/Unavailable", esdbtest.FreezeLeader: "DeadlineExceeded/DeadlineExceeded",
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			faults := esdbtest.NewFaults(1)
			cluster := esdbtest.StartCluster(t, 3, esdbtest.WithFaults(faults), esdbtest.WithOutage(time.Hour))
			c := clientOf(t, cluster.ConnectionString())
			mustAppend(t, c, "other", someEvents(1)...)
			faults.Set(fault, esdbtest.Next(1))
			events := someEvents(1)
			deadline := 100 * time.Millisecond
			if fault == esdbtest.KillLeader {
				deadline = patience
			}
			_, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{},
				Deadline: &deadline}, events...)
			same(t, "answer", answer, answerOf(err))
			leads(t, cluster, 1)
			same(t, "written", 1, len(contentsOf(t, clientOf(t, cluster.Node(1).ConnectionString()), "s")))
			if fault == esdbtest.FreezeLeader {
				must(t, cluster.StartNode(0))
			}
			healed(t, cluster)
			eventually(t, c, "s", events...)
			same(t, "fired", 1, faults.Fired(fault))
		})
	}
}

// leads waits until a node leads: clients lose the old leader before there is another.
func leads(t *testing.T, c *esdbtest.Cluster, node int) {
	t.Helper()
	for left := time.Now().Add(patience); c.Leader() != node; runtime.Gosched() {
		if time.Now().After(left) {
			t.Fatalf("node %d does not lead, but %d", node, c.Leader())
		}
	}
}

// healed waits until a killed or frozen first node follows the second one.
func healed(t *testing.T, c *esdbtest.Cluster) {
	t.Helper()
	for left := time.Now().Add(patience); gossipOf(t, c.Node(1)) != "Follower, Leader, Follower"; {
		if time.Now().After(left) {
			t.Fatalf("the node did not come back: %s", gossipOf(t, c.Node(1)))
		}
	}
}

// A node that a fault froze comes back by itself, and what it had committed is there.
func TestFreezesEnd(t *testing.T) {
	t.Parallel()
	faults := esdbtest.NewFaults(1)
	cluster := esdbtest.StartCluster(t, 3, esdbtest.WithFaults(faults), esdbtest.WithOutage(time.Millisecond))
	c := clientOf(t, cluster.ConnectionString())
	faults.Set(esdbtest.FreezeLeader, esdbtest.Next(1))
	events := someEvents(1)
	eventually(t, c, "s", events...)
	healed(t, cluster)
	same(t, "written", 1, len(contentsOf(t, c, "s")))

	// So does a node that is alone.
	faults.Set(esdbtest.FreezeLeader, esdbtest.Next(1))
	node := esdbtest.Start(t, esdbtest.WithFaults(faults), esdbtest.WithOutage(time.Millisecond))
	one := clientOf(t, node.ConnectionString())
	eventually(t, one, "s", events...)
	same(t, "written", 1, len(contentsOf(t, one, "s")))
	same(t, "fired", 2, faults.Fired(esdbtest.FreezeLeader))
}

func TestSubscriptionFaults(t *testing.T) {
	t.Parallel()
	faults := esdbtest.NewFaults(1)
	server := esdbtest.Start(t, esdbtest.WithFaults(faults))
	c := clientOf(t, server.ConnectionString())
	mustAppend(t, c, "s", someEvents(5)...)
	newGroup(t, c, "s", "g", nil)
	follow := func() *esdb.Subscription {
		t.Helper()
		sub, err := c.SubscribeToStream(t.Context(), "s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
		must(t, err)
		t.Cleanup(func() { sub.Close() })
		return sub
	}

	// Dropped behind two events, in the words of a real server. A group's consumer is dropped in its own.
	faults.Set(esdbtest.DropSubscription, esdbtest.Rule{After: 2, Times: 1})
	sub := follow()
	for want := range uint64(2) {
		same(t, "event", want, sub.Recv().EventAppeared.Event.EventNumber)
	}
	dropped := sub.Recv().SubscriptionDropped
	same(t, "dropped", "plain/Aborted", answerOf(dropped.Error))
	if !strings.Contains(dropped.Error.Error(), "Consumer too slow to handle event while live. Client resubscription required") {
		t.Errorf("it says %v", dropped.Error)
	}
	faults.Set(esdbtest.DropSubscription, esdbtest.Next(1))
	same(t, "consumer dropped", "plain/Canceled", answerOf(join(t, c, "s", "g", 10).dropped()))
	same(t, "fired", 2, faults.Fired(esdbtest.DropSubscription))

	// Silent behind two events: the connection works, and nothing comes.
	faults.Set(esdbtest.SilentSubscription, esdbtest.Rule{After: 2, Times: 1})
	silent, heard := follow(), make(chan *esdb.SubscriptionEvent, 10)
	for range 2 {
		silent.Recv()
	}
	go func() { heard <- silent.Recv() }()
	loud := follow()
	for range 5 {
		loud.Recv()
	}
	mustAppend(t, c, "s", someEvents(1)...)
	for {
		if e := loud.Recv(); e.EventAppeared != nil && e.EventAppeared.Event.EventNumber == 5 {
			break
		}
	}
	select {
	case e := <-heard:
		t.Errorf("the silent subscription got %+v", e)
	default:
	}
	silent.Close()
	if e := <-heard; e.SubscriptionDropped == nil {
		t.Errorf("closed, the silent subscription got %+v", e)
	}
	same(t, "fired", 1, faults.Fired(esdbtest.SilentSubscription))
}

func TestRedeliverAcked(t *testing.T) {
	t.Parallel()
	faults := esdbtest.NewFaults(1)
	c := clientOf(t, esdbtest.Start(t, esdbtest.WithFaults(faults)).ConnectionString())
	newGroup(t, c, "s", "g", nil)
	mustAppend(t, c, "s", someEvents(2)...)
	m := join(t, c, "s", "g", 10)
	got := m.take(2)
	faults.Set(esdbtest.RedeliverAcked, esdbtest.Next(1))
	m.ack(got...)
	again := m.take(1)
	same(t, "acked, and again", "0/0", told(again))
	m.ack(again...)
	until(t, c, "s", "g", "all acked", func(s *counters) bool { return s.TotalInFlightMessages == 0 })
	m.idle()
	same(t, "fired", 1, faults.Fired(esdbtest.RedeliverAcked))
}

func TestConnectionFaults(t *testing.T) {
	t.Parallel()
	faults := esdbtest.NewFaults(1)
	server := esdbtest.Start(t, esdbtest.WithFaults(faults), esdbtest.WithSlow(30*time.Millisecond))
	faults.Set(esdbtest.RefuseConnection, esdbtest.Next(3))
	c := clientOf(t, server.ConnectionString())
	mustAppend(t, c, "s", someEvents(1)...) // at the fourth try
	same(t, "refused", 3, faults.Fired(esdbtest.RefuseConnection))

	faults.Set(esdbtest.SlowConnection, esdbtest.Next(1))
	slow := clientOf(t, server.ConnectionString())
	begin := time.Now()
	mustAppend(t, slow, "s", someEvents(1)...)
	if took := time.Since(begin); took < 60*time.Millisecond {
		t.Errorf("a slow connection took %v for its greeting and two calls", took)
	}
	same(t, "slow", 1, faults.Fired(esdbtest.SlowConnection))
	same(t, "written", 2, len(contentsOf(t, c, "s")))
}

// With one seed the same opportunities are taken, whatever else goes on; with another, others.
func TestSeeds(t *testing.T) {
	t.Parallel()
	run := func(seed uint64, more ...string) string {
		faults, err := esdbtest.ParseFaults(strings.Join(append(more, "commit-then-cancel=0.3"), ","), seed)
		must(t, err)
		c := clientOf(t, esdbtest.Start(t, esdbtest.WithFaults(faults)).ConnectionString())
		var out strings.Builder
		for range 40 {
			_, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, someEvents(1)...)
			if answerOf(err) == "Unknown/Canceled" {
				out.WriteString("x")
			} else {
				out.WriteString(".")
			}
		}
		same(t, "fired", strings.Count(out.String(), "x"), faults.Fired(esdbtest.CommitThenCancel))
		return out.String()
	}
	first := run(7)
	same(t, "the same seed", first, run(7))
	same(t, "the same seed, and another fault that does not fire", first, run(7, "drop-subscription=0.5"))
	if run(8) == first {
		t.Error("another seed takes the same")
	}
}

func TestParseFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"commit-then-nothing=1":    `"commit-then-nothing" is none`,
		"commit-then-cancel":       "needs a probability (0.01) or a count (3)",
		"commit-then-cancel=1.5":   "neither a probability from 0.0 to 1.0 nor a count",
		"commit-then-cancel=-1":    "neither a probability",
		" commit-then-cancel=1, ,": "",
		"":                         "",
	} {
		_, err := esdbtest.ParseFaults(text, 1)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Everything at once, at random: whoever repeats the same append gets it written once.
func TestEverythingAtRandom(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	faults := esdbtest.NewFaults(seed)
	cluster := esdbtest.StartCluster(t, 3, esdbtest.WithFaults(faults), esdbtest.WithOutage(20*time.Millisecond))
	c := clientOf(t, cluster.ConnectionString())
	for _, f := range esdbtest.AllFaults() {
		faults.Set(f, esdbtest.Chance(0.02))
	}
	faults.Set(esdbtest.SlowConnection, esdbtest.Rule{})
	const streams, appends = 4, 40
	var wg sync.WaitGroup
	for s := range streams {
		wg.Go(func() {
			// A client never closes with calls in flight, so each has its own.
			for i := range appends {
				stubborn(t, c, fmt.Sprint("s", s), i)
			}
		})
	}
	wg.Wait()
	faults.Off()
	for s := range streams {
		events := contentsAtLast(t, clientOf(t, cluster.ConnectionString()), fmt.Sprint("s", s))
		same(t, "events", appends, len(events))
	}
	t.Logf("%v", faults)
}

// stubborn appends one event as number n of a stream until that is known to be so, also when the test is over: who
// waits for the event may see it before its append is answered.
func stubborn(t *testing.T, c *esdb.Client, stream string, n int) {
	t.Helper()
	expected := esdb.ExpectedRevision(esdb.NoStream{})
	if n > 0 {
		expected = esdb.Revision(uint64(n) - 1) //nolint:gosec // small
	}
	events := someEvents(1)
	var said []string
	for until := time.Now().Add(patience); time.Now().Before(until); {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 300*time.Millisecond)
		w, err := c.AppendToStream(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, events...)
		cancel()
		if err == nil {
			if w.NextExpectedVersion != uint64(n) { //nolint:gosec // small
				t.Errorf("%s: revision %d, want %d", stream, w.NextExpectedVersion, n)
			}
			return
		}
		said = append(said, answerOf(err))
		var dead *esdb.Error
		if errors.As(err, &dead) && dead.Code() == esdb.ErrorCodeConnectionClosed {
			break
		}
	}
	t.Errorf("%s: never known: %v", stream, said[max(0, len(said)-10):])
}
