package esdbtest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"hookledger/ledger/eventstore/esdbtest"
)

func TestGroupStarts(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	mustAppend(t, c, "s", someEvents(5)...)
	from := func(name string, start esdb.StreamPosition) *eater {
		t.Helper()
		if err := c.CreatePersistentSubscription(t.Context(), "s", name,
			esdb.PersistentStreamSubscriptionOptions{StartFrom: start, Settings: groupSettings(nil)}); err != nil {
			t.Fatal(err)
		}
		return join(t, c, "s", name, 20)
	}
	same(t, "from the start", "0/0 1/0 2/0 3/0 4/0", told(from("start", esdb.Start{}).take(5)))
	same(t, "from a revision, inclusive", "3/0 4/0", told(from("rev", esdb.Revision(3)).take(2)))
	far, end := from("far", esdb.Revision(10)), from("end", esdb.End{})
	mustAppend(t, c, "s", someEvents(2)...)
	same(t, "from the end", "5/0 6/0", told(end.take(2)))
	mustAppend(t, c, "s", someEvents(6)...)
	same(t, "from beyond the end it waits for that revision", "10/0 11/0 12/0", told(far.take(3)))

	newGroup(t, c, "missing", "g", nil)
	m := join(t, c, "missing", "g", 20)
	mustAppend(t, c, "missing", someEvents(2)...)
	same(t, "a stream that comes later", "0/0 1/0", told(m.take(2)))
}

// More events than the group holds in memory at once, written before and while they are consumed.
func TestGroupReadsHistory(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) {
		s.HistoryBufferSize, s.ReadBatchSize, s.LiveBufferSize = 10, 3, 10
	})
	const n = 300
	mustAppend(t, c, "s", someEvents(n/2)...)
	m := join(t, c, "s", "g", 7)
	for want := range uint64(n) {
		if want == n/4 {
			mustAppend(t, c, "s", someEvents(n/2)...)
		}
		e := m.take(1)[0]
		if e.Event.Event.EventNumber != want || e.RetryCount != 0 {
			t.Fatalf("got %d/%d, want %d/0", e.Event.Event.EventNumber, e.RetryCount, want)
		}
		m.ack(e)
	}
}

func TestGroupLinks(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	mustAppend(t, c, "s", someEvents(2)...)
	for _, to := range []string{"0@s", "99@s", "1@s"} {
		mustAppend(t, c, "l", esdb.EventData{EventID: uuid.New(), EventType: "$>", Data: []byte(to)})
	}
	for resolve, want := range map[bool]string{false: "$>:0/0 $>:1/0 $>:2/0", true: "e:0<-0/0 nil<-1/0 e:1<-2/0"} {
		name := fmt.Sprint(resolve)
		newGroup(t, c, "l", name, func(s *tuning) { s.ResolveLinkTos = resolve })
		m := join(t, c, "l", name, 20)
		got := m.take(3)
		same(t, "resolve "+name, want, linked(got))
		m.ack(got...)
		until(t, c, "l", name, "acked by the link's id",
			func(s *counters) bool { return s.TotalInFlightMessages == 0 })
	}
}

func TestGroupAndDeletions(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	remove := func(stream string) {
		t.Helper()
		if _, err := c.DeleteStream(t.Context(), stream, esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
			t.Fatal(err)
		}
	}
	tombstone := func(stream string) {
		t.Helper()
		_, err := c.TombstoneStream(t.Context(), stream, esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
		must(t, err)
	}
	// A tombstone is an event, and its number is the largest there is.
	newGroup(t, c, "tomb", "g", nil)
	m := join(t, c, "tomb", "g", 10)
	mustAppend(t, c, "tomb", someEvents(2)...)
	m.ack(m.take(2)...)
	tombstone("tomb")
	e := m.take(1)[0].Event.Event
	same(t, "tombstoned", "$streamDeleted:9223372036854775807", fmt.Sprintf("%s:%d", e.EventType, e.EventNumber))
	join(t, c, "tomb", "g", 10)

	// What the group saw it has, though it was deleted before anybody connected.
	newGroup(t, c, "soft", "g", nil)
	mustAppend(t, c, "soft", someEvents(2)...)
	remove("soft")
	mustAppend(t, c, "soft", someEvents(1)...)
	same(t, "soft deleted and written again", "0/0 1/0 2/0", told(join(t, c, "soft", "g", 10).take(3)))

	// What was truncated before it was made it does not.
	mustAppend(t, c, "cut", someEvents(5)...)
	meta := esdb.StreamMetadata{}
	meta.SetTruncateBefore(3)
	if _, err := c.SetStreamMetadata(t.Context(), "cut", esdb.AppendToStreamOptions{}, meta); err != nil {
		t.Fatal(err)
	}
	newGroup(t, c, "cut", "g", nil)
	same(t, "truncated", "3/0 4/0", told(join(t, c, "cut", "g", 10).take(2)))

	mustAppend(t, c, "dead", someEvents(1)...)
	tombstone("dead")
	same(t, "a group on a tombstoned stream", "ok", answerOf(makeGroup(t, c, "dead", "g", nil)))
}

func TestGroupToAll(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	mustAppend(t, c, "x1", someEvents(3)...)
	mustAppend(t, c, "noise", someEvents(300)...)
	mustAppend(t, c, "x2", someEvents(3)...)
	at := contentsOf(t, c, "x2")[1].Event.Position
	to := func(name string, from esdb.AllPosition, filter *esdb.SubscriptionFilter) *eater {
		t.Helper()
		if err := c.CreatePersistentSubscriptionToAll(t.Context(), name, esdb.PersistentAllSubscriptionOptions{
			StartFrom: from, Settings: groupSettings(nil), Filter: filter}); err != nil {
			t.Fatal(err)
		}
		return join(t, c, "", name, 50)
	}
	told := func(m *eater, n int) string {
		t.Helper()
		var out []string
		for _, e := range m.take(n) {
			o := e.Event.OriginalEvent()
			out = append(out, fmt.Sprintf("%s:%d", o.StreamID, o.EventNumber))
			if *e.Event.Commit != o.Position.Commit || o.Position.Commit != o.Position.Prepare {
				t.Errorf("%s is at %v, and its commit position is %d", o.StreamID, o.Position, *e.Event.Commit)
			}
			m.ack(e)
		}
		return strings.Join(out, " ")
	}
	start := to("start", esdb.Start{}, prefixed("x"))
	same(t, "from the start", "x1:0 x1:1 x1:2 x2:0 x2:1 x2:2", told(start, 6))
	end := to("end", esdb.End{}, prefixed("x"))
	mustAppend(t, c, "x3", someEvents(1)...)
	same(t, "live", "x3:0", told(start, 1))
	same(t, "from the end", "x3:0", told(end, 1))
	same(t, "from a position, inclusive", "x2:1 x2:2 x3:0", told(to("at", at, prefixed("x")), 3))
	same(t, "from behind a position", "x2:2 x3:0",
		told(to("odd", esdb.Position{Commit: at.Commit + 1, Prepare: at.Prepare + 1}, prefixed("x")), 2))
	regex := &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Regex: "^x[34]$"}
	same(t, "by regex", "x3:0", told(to("regex", at, regex), 1))
	byType := &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"e"}}
	same(t, "by type", "x2:1 x2:2", told(to("type", at, byType), 2))
	same(t, "without a filter", "x2:1", told(to("unfiltered", at, nil), 1))
	to("nothing", esdb.Start{}, prefixed("nobody")).idle()

	i, err := c.GetPersistentSubscriptionInfoToAll(t.Context(), "start", esdb.GetPersistentSubscriptionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "source", "$all start", i.EventSource+" "+i.GroupName)
}

func TestConsumerStrategies(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	numbers := func(m *eater, n int) string {
		var out []string
		for _, e := range m.take(n) {
			out = append(out, fmt.Sprint(e.Event.Event.EventNumber))
		}
		return strings.Join(out, " ")
	}
	for _, x := range []struct {
		strategy esdb.ConsumerStrategy
		a, b     string
	}{
		{esdb.ConsumerStrategyRoundRobin, "0 2 4 6", "1 3 5 7"},
		{esdb.ConsumerStrategyDispatchToSingle, "0 1 2 3", "4 5 6 7"},
		{esdb.ConsumerStrategyPinned, "0 1 2 3", ""},
	} {
		stream := string(x.strategy)
		newGroup(t, c, stream, "g", func(s *tuning) { s.ConsumerStrategyName = x.strategy })
		a, b := join(t, c, stream, "g", 4), join(t, c, stream, "g", 4)
		mustAppend(t, c, stream, someEvents(16)...)
		same(t, stream+", the first consumer", x.a, numbers(a, len(strings.Fields(x.a))))
		same(t, stream+", the second", x.b, numbers(b, len(strings.Fields(x.b))))
		same(t, "sent", int64(len(strings.Fields(x.a+" "+x.b))), statsOf(t, c, stream, "g").TotalItems)
		a.idle()
		b.idle()
	}

	// A retried event goes round, too.
	newGroup(t, c, "retry", "g", nil)
	who := map[string]*eater{"a": join(t, c, "retry", "g", 4), "b": join(t, c, "retry", "g", 4)}
	mustAppend(t, c, "retry", someEvents(1)...)
	for _, name := range strings.Split("ababab", "") {
		who[name].nack(esdb.NackActionRetry, who[name].take(1)...)
	}
}

// Pinned gives each stream to one consumer, and all of them work.
func TestPinnedStreams(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	if err := c.CreatePersistentSubscriptionToAll(t.Context(), "g", esdb.PersistentAllSubscriptionOptions{
		StartFrom: esdb.Start{}, Filter: prefixed("p"), Settings: groupSettings(func(s *tuning) {
			s.ConsumerStrategyName = esdb.ConsumerStrategyPinned
		})}); err != nil {
		t.Fatal(err)
	}
	consumers := []*eater{join(t, c, "", "g", 4), join(t, c, "", "g", 4)}
	for i := range 10 {
		mustAppend(t, c, fmt.Sprint("p", i), someEvents(6)...)
	}
	owner := map[string]int{}
	for i, m := range consumers {
		for range 30 {
			e := m.take(1)[0]
			m.ack(e)
			if was, known := owner[e.Event.Event.StreamID]; known && was != i {
				t.Errorf("%s went to both consumers", e.Event.Event.StreamID)
			}
			owner[e.Event.Event.StreamID] = i
		}
	}
	same(t, "streams", 10, len(owner))
}
