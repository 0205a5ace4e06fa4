package esdbtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"hookledger/ledger/eventstore/esdbtest"
)

func TestInFlightIsBufferSize(t *testing.T) {
	t.Parallel()
	now := newSteps()
	c := clientOf(t, esdbtest.Start(t, now.options()...).ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) { s.CheckpointLowerBound, s.CheckpointAfter = 1, 300 })
	mustAppend(t, c, "s", someEvents(60)...)

	// Given a consumer with room for 16, when nothing is acked, then 16 come.
	m := join(t, c, "s", "g", 16)
	got := m.take(16)
	same(t, "first and last", "0/0 15/0", told([]*esdb.EventAppeared{got[0], got[15]}))
	i := infoOf(t, c, "s", "g")
	same(t, "in flight", 16, i.Stats.TotalInFlightMessages)
	same(t, "outstanding", 16, i.Stats.OutstandingMessagesCount)
	same(t, "connections", 1, len(i.Connections))
	same(t, "waiting", 44, i.Stats.ReadBufferCount)
	same(t, "user", "system", i.Connections[0].Username)

	// When some are acked, in one message or out of order, then as many come.
	m.ack(got[0])
	same(t, "after one ack", "16/0", told(m.take(1)))
	m.ack(got[1], got[2], got[3], got[4])
	same(t, "after four", "17/0 18/0 19/0 20/0", told(m.take(4)))
	m.ack(got[15])
	same(t, "after one out of order", "21/0", told(m.take(1)))

	// When an ack is repeated or names nothing, then nothing comes.
	m.ack(got[0])
	unknown := *got[0].Event.Event
	unknown.EventID = uuid.New()
	m.ack(&esdb.EventAppeared{Event: &esdb.ResolvedEvent{Event: &unknown}})
	m.ack(got[14])
	same(t, "after acks of nothing, and one more", "22/0", told(m.take(1)))
	same(t, "sent in all", 23, statsOf(t, c, "s", "g").TotalItems)

	// The checkpoint is the lowest event below which all are acked: 0 to 4 are, 14 and 15 stand above.
	now.pass(time.Second)
	last := contentsOf(t, c, "$persistentsubscription-s::g-checkpoint")
	if len(last) != 1 {
		t.Fatalf("%d checkpoints", len(last))
	}
	same(t, "checkpoint", `"4"`, string(last[0].Event.Data))
	same(t, "its type", "SubscriptionCheckpoint", last[0].Event.EventType)
	same(t, "in the info", 4, *statsOf(t, c, "s", "g").LastCheckpointedEventRevision)
	same(t, "last known", 59, *statsOf(t, c, "s", "g").LastKnownEventRevision)
	m.idle()
}

func TestNacks(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) { s.MaxRetryCount = 3 })
	mustAppend(t, c, "s", someEvents(7)...)
	m := join(t, c, "s", "g", 10)
	first := m.take(7)

	retried := func(e *esdb.EventAppeared, action esdb.NackAction) *esdb.EventAppeared {
		t.Helper()
		m.nack(action, e)
		return m.take(1)[0]
	}
	// Retry and unknown send it again at once, with the next count.
	for i, action := range map[int]esdb.NackAction{0: esdb.NackActionRetry, 4: esdb.NackActionUnknown} {
		again := retried(first[i], action)
		same(t, "again", 1, again.RetryCount)
		same(t, "the same", uint64(i), again.Event.Event.EventNumber)
		m.ack(again)
	}
	// Until MaxRetryCount is reached: then it is parked.
	e := first[1]
	for want := 1; want <= 3; want++ {
		e = retried(e, esdb.NackActionRetry)
		same(t, "retries", want, e.RetryCount)
	}
	m.nack(esdb.NackActionRetry, e)
	// Park parks, skip is done with it; so is stop, and the subscription goes on.
	m.nack(esdb.NackActionPark, first[2])
	m.nack(esdb.NackActionSkip, first[3])
	m.nack(esdb.NackActionStop, first[5])
	m.ack(first[6])
	until(t, c, "s", "g", "all is done", func(s *counters) bool { return s.TotalInFlightMessages == 0 })
	same(t, "parked", 2, statsOf(t, c, "s", "g").ParkedMessagesCount)
	m.idle()

	// The parked stream holds links, with the reason.
	parked := contentsOf(t, c, "$persistentsubscription-s::g-parked")
	var links, reasons []string
	for _, p := range parked {
		links = append(links, p.Event.EventType+" "+string(p.Event.Data))
		same(t, "content type", "application/octet-stream", p.Event.ContentType)
		reasons = append(reasons, string(p.Event.UserMetadata))
	}
	same(t, "links", "$> 1@s, $> 2@s", strings.Join(links, ", "))
	for i, want := range []string{
		`"reason": "Reached retry count of 3"`, `"reason": "Client explicitly NAK'ed message.\ntest"`,
	} {
		if !strings.Contains(reasons[i], want) || !strings.Contains(reasons[i], `"added": "`) {
			t.Errorf("parked because %s, want %s", reasons[i], want)
		}
	}
}

func TestNoRetriesPark(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) { s.MaxRetryCount = 0 })
	mustAppend(t, c, "s", someEvents(1)...)
	m := join(t, c, "s", "g", 10)
	m.nack(esdb.NackActionRetry, m.take(1)...)
	until(t, c, "s", "g", "parked", func(s *counters) bool { return s.ParkedMessagesCount == 1 })
	m.idle()
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	now := newSteps()
	c := clientOf(t, esdbtest.Start(t, now.options()...).ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) { s.MessageTimeout, s.MaxRetryCount = 500, 2 })
	mustAppend(t, c, "s", someEvents(2)...)
	m := join(t, c, "s", "g", 10)
	got := m.take(2)
	m.ack(got[1])
	until(t, c, "s", "g", "one is acked", func(s *counters) bool { return s.TotalInFlightMessages == 1 })

	// Below the timeout nothing happens; behind it the event comes again, until it had its tries.
	now.pass(400 * time.Millisecond)
	same(t, "sent", 2, statsOf(t, c, "s", "g").TotalItems)
	now.pass(200 * time.Millisecond)
	same(t, "second try", "0/1", told(m.take(1)))
	now.pass(time.Second)
	same(t, "third try", "0/2", told(m.take(1)))
	now.pass(time.Second)
	same(t, "parked", 1, statsOf(t, c, "s", "g").ParkedMessagesCount)
	same(t, "in flight", 0, statsOf(t, c, "s", "g").TotalInFlightMessages)
	m.idle()

	// An ack names an id: that of the first delivery settles the second one.
	mustAppend(t, c, "s", someEvents(1)...)
	late := m.take(1)
	now.pass(time.Second)
	same(t, "again", "2/1", told(m.take(1)))
	m.ack(late...)
	until(t, c, "s", "g", "it is acked", func(s *counters) bool { return s.TotalInFlightMessages == 0 })
	now.pass(time.Hour)
	m.idle()

	// Timeout 0: each look finds it too late.
	newGroup(t, c, "z", "g", func(s *tuning) { s.MessageTimeout, s.MaxRetryCount = 0, 2 })
	mustAppend(t, c, "z", someEvents(1)...)
	z := join(t, c, "z", "g", 10)
	z.take(1)
	now.pass(time.Second)
	same(t, "timeout 0", "0/1", told(z.take(1)))
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	newGroup(t, c, "s", "g", nil)
	mustAppend(t, c, "s", someEvents(20)...)

	// Given a consumer that acked five of ten and has ten in flight, when it goes,
	a := join(t, c, "s", "g", 10)
	got := a.take(10)
	a.ack(got[:5]...)
	same(t, "after five acks", "10/0 11/0 12/0 13/0 14/0", told(a.take(5)))
	a.close()
	until(t, c, "s", "g", "it is gone", func(s *counters) bool { return s.RetryBufferCount == 10 })

	// then the next one gets those first, in order, counted as tried, and no acked one.
	b := join(t, c, "s", "g", 30)
	same(t, "the next consumer gets",
		"5/1 6/1 7/1 8/1 9/1 10/1 11/1 12/1 13/1 14/1 15/0 16/0 17/0 18/0 19/0", told(b.take(15)))

	// A disconnect never parks, however often.
	newGroup(t, c, "m", "g", func(s *tuning) { s.MaxRetryCount = 2 })
	mustAppend(t, c, "m", someEvents(1)...)
	for want := range 6 {
		m := join(t, c, "m", "g", 10)
		same(t, "retries", want, m.take(1)[0].RetryCount)
		m.close()
		until(t, c, "m", "g", "it is gone", func(s *counters) bool { return s.RetryBufferCount == 1 })
	}
}

// Of two events with one id, an ack settles both, and gives back the room of one: as recorded.
func TestDuplicateIDs(t *testing.T) {
	t.Parallel()
	now := newSteps()
	c := clientOf(t, esdbtest.Start(t, now.options()...).ConnectionString())
	if err := c.CreatePersistentSubscriptionToAll(t.Context(), "g", esdb.PersistentAllSubscriptionOptions{
		StartFrom: esdb.Start{}, Settings: groupSettings(nil), Filter: prefixed("x")}); err != nil {
		t.Fatal(err)
	}
	m := join(t, c, "", "g", 10)
	twin := someEvents(1)
	mustAppend(t, c, "x1", twin...)
	mustAppend(t, c, "x2", twin...)
	mustAppend(t, c, "x3", someEvents(1)...)
	got := m.take(3)
	for i, e := range got {
		same(t, "delivered", fmt.Sprint("x", i+1), e.Event.Event.StreamID)
	}
	m.ack(got[0], got[2])
	slots := func() *esdb.PersistentSubscriptionInfo {
		i, err := c.GetPersistentSubscriptionInfoToAll(t.Context(), "g", esdb.GetPersistentSubscriptionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	for deadline := time.Now().Add(patience); slots().Stats.TotalInFlightMessages > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the acks did not arrive")
		}
	}
	same(t, "free", 9, slots().Connections[0].AvailableSlots)
	now.pass(time.Hour)
	m.idle()
}

func prefixed(p string) *esdb.SubscriptionFilter {
	return &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{p}}
}
