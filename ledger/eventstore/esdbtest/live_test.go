package esdbtest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hookledger/ledger/eventstore/esdbtest"
)

// TestSlowSubscribersAreDropped: nobody reads while 27 MB are appended, which is more than any connection takes in.
// What came before the drop has no gap, and a subscription from there gives the rest.
func TestSlowSubscribersAreDropped(t *testing.T) {
	t.Parallel()
	const appends, each = 30, 200
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprintf("all=%t", all), func(t *testing.T) {
			t.Parallel()
			s := esdbtest.Start(t, esdbtest.WithPatience(time.Millisecond))
			c, reading := connect(t, s), connect(t, s)
			at := put(t, c, "a", sized(1, 1)...)
			last := uint64(0)
			subscribe := func() *esdb.Subscription {
				var sub *esdb.Subscription
				var err error
				if all {
					sub, err = reading.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{From: at,
						Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"a"}}})
				} else {
					sub, err = reading.SubscribeToStream(t.Context(), "a",
						esdb.SubscribeToStreamOptions{From: esdb.Revision(last)})
				}
				if err != nil {
					t.Fatal(err)
				}
				return sub
			}
			sub := subscribe()
			if got := received(sub, 1); got != "caughtup" {
				t.Fatalf("got %s", got)
			}
			for range appends {
				put(t, c, "a", sized(each, 4500)...)
			}
			// What the server holds back for the subscription is dropped when it notices; only then do we read.
			drops := 0
			within(t, "reading all", func() {
				for last < appends*each {
					m := sub.Recv()
					if e := m.EventAppeared; e != nil {
						if n := e.OriginalEvent().EventNumber; n != last+1 {
							t.Errorf("event %d after %d", n, last)
							return
						}
						last, at = e.OriginalEvent().EventNumber, e.OriginalEvent().Position
					}
					if d := m.SubscriptionDropped; d != nil {
						if status.Code(d.Error) != codes.Aborted ||
							!strings.Contains(d.Error.Error(), "Consumer too slow to handle event while live") {
							t.Errorf("dropped with %v", d.Error)
							return
						}
						drops++
						sub = subscribe()
					}
				}
			})
			if drops == 0 {
				t.Error("a subscriber that read nothing was not dropped")
			}
		})
	}
}

// TestSubscriptionsSeeEverythingOnce subscribes while others append: every event comes once, in order, and caught-up
// once.
func TestSubscriptionsSeeEverythingOnce(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 150
	s := patient(t)
	c := connect(t, s)
	start := put(t, c, "before", sized(1, 1)...)
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for i := range each {
				o := esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}
				if i > 0 {
					o.ExpectedRevision = esdb.Revision(uint64(i - 1))
				}
				if _, err := c.AppendToStream(t.Context(), fmt.Sprint("s", w), o, sized(1, 1)...); err != nil {
					t.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	for _, filter := range []*esdb.SubscriptionFilter{nil, {Type: esdb.StreamFilterType, Prefixes: []string{"s"}}} {
		work.Go(func() {
			sub, err := c.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{From: start, Filter: filter})
			if err != nil {
				t.Errorf("subscribe: %v", err)
				return
			}
			defer sub.Close()
			next, last, n, caughtUp := map[string]uint64{}, uint64(0), 0, 0
			for n < writers*each || caughtUp == 0 {
				m := sub.Recv()
				switch {
				case m.CaughtUp != nil:
					caughtUp++
				case m.SubscriptionDropped != nil:
					t.Errorf("dropped: %v", m.SubscriptionDropped.Error)
					return
				case m.EventAppeared != nil:
					e := m.EventAppeared.OriginalEvent()
					if e.Position.Commit <= last || e.EventNumber != next[e.StreamID] {
						t.Errorf("%s:%d at %d, after %d", e.StreamID, e.EventNumber, e.Position.Commit, last)
						return
					}
					next[e.StreamID], last = e.EventNumber+1, e.Position.Commit
					n++
				}
			}
			if caughtUp != 1 {
				t.Errorf("caught up %d times", caughtUp)
			}
		})
	}
	within(t, "writers and readers", work.Wait)
}

// TestHundredCallsOnAConnection: the 101st waits in the client, without a word, until one of them ends.
func TestHundredCallsOnAConnection(t *testing.T) {
	t.Parallel()
	c := connect(t, patient(t))
	put(t, c, "a", sized(1, 1)...)
	var subs []*esdb.Subscription
	for range 100 {
		sub, err := c.SubscribeToStream(t.Context(), "a", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
		if err != nil {
			t.Fatalf("subscription %d: %v", len(subs), err)
		}
		subs = append(subs, sub)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.AppendToStream(ctx, "a", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, sized(1, 1)...)
	if key(err) != "DeadlineExceeded" {
		t.Errorf("the 101st call: %v", err)
	}
	subs[0].Close()
	within(t, "the append behind a closed subscription", func() { put(t, c, "a", sized(1, 1)...) })
}
