package esdbtest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/ledger/eventstore/esdbtest"
)

// linked writes events as "event number, link number, retries".
func linked(events []*esdb.EventAppeared) string {
	var out []string
	for _, e := range events {
		text := "nil"
		if e.Event.Event != nil {
			text = fmt.Sprintf("%s:%d", e.Event.Event.EventType, e.Event.Event.EventNumber)
		}
		if e.Event.Link != nil {
			text += fmt.Sprintf("<-%d", e.Event.Link.EventNumber)
		}
		out = append(out, fmt.Sprintf("%s/%d", text, e.RetryCount))
	}
	return strings.Join(out, " ")
}

func TestReplayParked(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	newGroup(t, c, "s", "g", nil)
	mustAppend(t, c, "s", someEvents(4)...)
	m := join(t, c, "s", "g", 10)
	replay := func(stop int) {
		t.Helper()
		if err := c.ReplayParkedMessages(t.Context(), "s", "g", esdb.ReplayParkedMessagesOptions{StopAt: stop}); err != nil {
			t.Fatal(err)
		}
	}
	parked := func(n int64) {
		t.Helper()
		until(t, c, "s", "g", fmt.Sprint(n, " parked"),
			func(s *counters) bool { return s.ParkedMessagesCount == n })
	}
	replay(0) // nothing was ever parked
	got := m.take(4)
	m.nack(esdb.NackActionPark, got[:3]...)
	m.ack(got[3])
	parked(3)

	// StopAt is a number of the parked stream. What is replayed is the event and its link, and leaves the parked stream.
	replay(1)
	one := m.take(1)
	same(t, "below 1", "e:0<-0/0", linked(one))
	m.ack(one...)
	parked(2)
	replay(0)
	rest := m.take(2)
	same(t, "the rest", "e:1<-1/0 e:2<-2/0", linked(rest))

	// Parked again, a new link names the source event, not the link.
	m.nack(esdb.NackActionPark, rest[0])
	m.ack(rest[1])
	parked(1)
	left := contentsOf(t, c, "$persistentsubscription-s::g-parked")
	same(t, "left", "3:1@s", fmt.Sprintf("%d:%s", left[0].Event.EventNumber, left[0].Event.Data))

	// A replayed one is retried as any other.
	replay(0)
	again := m.take(1)
	same(t, "replayed", "e:1<-3/0", linked(again))
	for want := 1; want <= 2; want++ {
		m.nack(esdb.NackActionRetry, again...)
		again = m.take(1)
		same(t, "retried", fmt.Sprintf("e:1<-3/%d", want), linked(again))
	}
	m.ack(again...)
	until(t, c, "s", "g", "done", func(s *counters) bool { return s.TotalInFlightMessages == 0 })
	parked(0)
	replay(0)
	m.idle()
}

func TestReplayTwiceAtOnce(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	newGroup(t, c, "s", "g", nil)
	mustAppend(t, c, "s", someEvents(20)...)
	a := join(t, c, "s", "g", 20)
	a.nack(esdb.NackActionPark, a.take(20)...)
	until(t, c, "s", "g", "parked", func(s *counters) bool { return s.ParkedMessagesCount == 20 })
	b := join(t, c, "s", "g", 20)
	for range 2 {
		if err := c.ReplayParkedMessages(t.Context(), "s", "g", esdb.ReplayParkedMessagesOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[uint64]bool{}
	for _, m := range []*eater{a, b} {
		for _, e := range m.take(10) {
			seen[e.Event.Event.EventNumber] = true
		}
	}
	same(t, "each once", 20, len(seen))
	same(t, "sent", 40, statsOf(t, c, "s", "g").TotalItems)
}
