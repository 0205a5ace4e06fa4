package esdbtest_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"

	"hookledger/ledger/eventstore/esdbtest"
)

// patient is a server that drops no subscription for being slow.
func patient(t *testing.T) *esdbtest.Server {
	t.Helper()
	return esdbtest.Start(t, esdbtest.WithPatience(time.Hour))
}

func put(t *testing.T, c *esdb.Client, stream string, events ...esdb.EventData) esdb.Position {
	t.Helper()
	w, err := c.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, events...)
	if err != nil {
		t.Fatalf("append to %s: %v", stream, err)
	}
	return esdb.Position{Commit: w.CommitPosition, Prepare: w.PreparePosition}
}

func TestPositionsOfAll(t *testing.T) {
	t.Parallel()
	c := connect(t, patient(t))
	var at []esdb.Position
	for i := range 10 {
		at = append(at, put(t, c, "s"+strconv.Itoa(i%2), sized(1, 10)...))
	}
	put(t, c, "batch", sized(5, 10)...)
	read, err := drain(c.ReadAll(t.Context(), esdb.ReadAllOptions{From: at[0]}, 100))
	if err != nil || len(read) != 15 {
		t.Fatalf("read %d events, %v; from a position, which is read too, there are 15", len(read), err)
	}
	for i, r := range read {
		p := r.OriginalEvent().Position
		if p.Commit != p.Prepare || r.Commit == nil || *r.Commit != p.Commit {
			t.Errorf("event %d stands at %v, and its commit is %v", i, p, r.Commit)
		}
		if i > 0 && p.Commit <= read[i-1].OriginalEvent().Position.Commit+1 {
			t.Errorf("event %d stands at %v, right behind %v: positions ascend and are not dense", i, p,
				read[i-1].OriginalEvent().Position)
		}
	}
	mid := at[5]
	for _, x := range []struct {
		name string
		o    esdb.ReadAllOptions
		want string
	}{
		{"backwards from a position, which is not read", esdb.ReadAllOptions{Direction: esdb.Backwards, From: mid},
			"s0:2 s1:1"},
		{"backwards from the end", esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}}, "batch:4 batch:3"},
		{"backwards from the start", esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.Start{}}, ""},
		{"forwards from the end", esdb.ReadAllOptions{From: esdb.End{}}, ""},
		{"forwards from the start", esdb.ReadAllOptions{From: esdb.Start{}}, "$$$scavenges:0 s0:0"},
		{"one past an event", esdb.ReadAllOptions{From: beside(mid, 1)}, "Unknown/Unknown"},
		{"one before an event", esdb.ReadAllOptions{From: beside(mid, -1)}, "Unknown/Unknown"},
		{"prepare 0", esdb.ReadAllOptions{From: esdb.Position{Commit: mid.Commit}}, "s1:2 s0:3"},
		{"prepare above commit", esdb.ReadAllOptions{From: esdb.Position{Commit: mid.Commit, Prepare: 1<<63 - 1}},
			"Unknown/Unknown"},
		{"prepare 2^64-1", esdb.ReadAllOptions{From: esdb.Position{Commit: mid.Commit, Prepare: ^uint64(0)}},
			"Unknown/Unknown"},
		{"far beyond the end", esdb.ReadAllOptions{From: esdb.Position{Commit: 1 << 50, Prepare: 1 << 50}}, ""},
		{"0/0", esdb.ReadAllOptions{From: esdb.Position{}}, "$$$scavenges:0 s0:0"},
	} {
		if got := names(drain(c.ReadAll(t.Context(), x.o, 2))); got != x.want {
			t.Errorf("%s: got %q, recorded %q", x.name, got, x.want)
		}
	}
}

// TestPositionsGrowAsRecorded: the first event of a client stands where the recorded server's first one stood, and
// each next one as far behind it as there.
func TestPositionsGrowAsRecorded(t *testing.T) {
	t.Parallel()
	c := connect(t, patient(t))
	event := func(typ, data string) esdb.EventData {
		return esdb.EventData{EventID: uuid.New(), EventType: typ, ContentType: esdb.ContentTypeJson, Data: []byte(data)}
	}
	at := uint64(733)
	for _, x := range []struct {
		stream string
		event  esdb.EventData
		takes  uint64
	}{
		{"pb011b59-append_basic-a", event("e", `{"n":0}`), 121},
		{"pb011b59-read_all-a", event("e", `{"n":0}`), 117},
		{"pb011b59-append_names-" + strings.Repeat("n", 10_000), event("e", `{"n":0}`), 10_121},
		{"pb011b59-append_names-t-1,000 byte type", event(strings.Repeat("t", 1000), `{}`), 1132},
	} {
		if got := put(t, c, x.stream, x.event); got.Commit != at {
			t.Errorf("%.30s stands at %d, recorded %d", x.stream, got.Commit, at)
		}
		at += x.takes
	}
}

func beside(p esdb.Position, by int) esdb.Position {
	return esdb.Position{Commit: p.Commit + uint64(by), Prepare: p.Prepare + uint64(by)}
}

func names(read []*esdb.ResolvedEvent, err error) string {
	if err != nil {
		return key(err)
	}
	var out []string
	for _, r := range read {
		out = append(out, fmt.Sprintf("%s:%d", r.OriginalEvent().StreamID, r.OriginalEvent().EventNumber))
	}
	return strings.Join(out, " ")
}

// traceUntil reads a subscription up to an event of a stream and a number, or to caught-up, and gives what came, runs
// of checkpoints counted.
func traceUntil(t *testing.T, sub *esdb.Subscription, last string) string {
	t.Helper()
	var out []string
	within(t, "the subscription's "+last, func() {
		for checkpoints := 0; ; {
			m := sub.Recv()
			if m.CheckPointReached != nil {
				checkpoints++
				continue
			}
			if checkpoints > 0 {
				out, checkpoints = append(out, fmt.Sprintf("checkpoint*%d", checkpoints)), 0
			}
			switch {
			case m.EventAppeared != nil:
				e := m.EventAppeared.OriginalEvent()
				out = append(out, fmt.Sprintf("%s:%d", e.StreamID, e.EventNumber))
			case m.CaughtUp != nil:
				out = append(out, "caughtup")
			case m.SubscriptionDropped != nil:
				out = append(out, "dropped "+key(m.SubscriptionDropped.Error))
				return
			}
			if out[len(out)-1] == last {
				return
			}
		}
	})
	return strings.Join(out, " ")
}

func TestFilters(t *testing.T) {
	t.Parallel()
	c := connect(t, patient(t))
	start := put(t, c, "before", sized(1, 1)...)
	var at []esdb.Position
	for range 5 {
		at = append(at, put(t, c, "x1", sized(1, 1)...))
		put(t, c, "noise", sized(3, 1)...)
		at = append(at, put(t, c, "x2", sized(1, 1)...))
	}
	typed := sized(3, 1)
	typed[0].EventType, typed[2].EventType = "typA", "typB"
	put(t, c, "x3", typed...)
	prefix := func(of esdb.FilterType, p ...string) *esdb.SubscriptionFilter {
		return &esdb.SubscriptionFilter{Type: of, Prefixes: p}
	}
	const all = "x1:0 x2:0 x1:1 x2:1 x1:2 x2:2 x1:3 x2:3 x1:4 x2:4 "
	for _, x := range []struct {
		name   string
		from   esdb.AllPosition
		filter *esdb.SubscriptionFilter
		want   string
	}{
		{"prefix, from the start", esdb.Start{}, prefix(esdb.StreamFilterType, "x"), all + "x3:0 x3:1 x3:2 caughtup"},
		{"prefix, from an event, which is not sent", at[4], prefix(esdb.StreamFilterType, "x"),
			"x2:2 x1:3 x2:3 x1:4 x2:4 x3:0 x3:1 x3:2 caughtup"},
		{"prefix, from a position before an event", esdb.Position{Commit: at[4].Commit}, prefix(esdb.StreamFilterType, "x"),
			"x2:2 x1:3 x2:3 x1:4 x2:4 x3:0 x3:1 x3:2 caughtup"},
		{"prefix, from the end", esdb.End{}, prefix(esdb.StreamFilterType, "x"), "caughtup"},
		{"two prefixes", start, prefix(esdb.StreamFilterType, "x1", "x2"), all + "caughtup"},
		{"regex", start, &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Regex: "^x2$"},
			"x2:0 x2:1 x2:2 x2:3 x2:4 caughtup"},
		{"type prefix", start, prefix(esdb.EventFilterType, "typ"), "x3:0 x3:2 caughtup"},
		{"far beyond the end", esdb.Position{Commit: 1 << 50, Prepare: 1 << 50}, prefix(esdb.StreamFilterType, "x"),
			"caughtup"},
		{"one past an event", beside(at[4], 1), prefix(esdb.StreamFilterType, "x"), "Unknown/Unknown"},
		{"broken regex", start, &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Regex: "("}, "Unknown/Unknown"},
	} {
		sub, err := c.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{From: x.from, Filter: x.filter})
		got := key(err)
		if err == nil {
			got = traceUntil(t, sub, "caughtup")
			sub.Close()
		}
		if !matches(got, x.want) {
			t.Errorf("%s:\n  got  %s\n  want %s", x.name, got, x.want)
		}
	}
}

// matches compares traces; where checkpoints stand among the events is not what these cases are about.
func matches(got, want string) bool {
	strip := func(s string) []string {
		return slices.DeleteFunc(strings.Fields(s), func(w string) bool { return strings.HasPrefix(w, "checkpoint") })
	}
	return slices.Equal(strip(got), strip(want))
}

func TestWithoutFilterThereAreNoCheckpoints(t *testing.T) {
	t.Parallel()
	c := connect(t, patient(t))
	start := put(t, c, "a", sized(1, 1)...)
	put(t, c, "a", sized(200, 1)...)
	sub, err := c.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{From: start})
	if err != nil {
		t.Fatal(err)
	}
	got := traceUntil(t, sub, "caughtup")
	if strings.Contains(got, "checkpoint") || !strings.HasSuffix(got, "a:200 caughtup") {
		t.Errorf("got %s", got)
	}
}

// TestCheckpoints appends 640 events that don't match, one that does, 320 that don't, and then 320 more while the
// subscription is live; the recorded server sent so many checkpoints between them.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		window, interval int
		catchUp, live    string
	}{
		{0, 0, "checkpoint*20 mine:0 checkpoint*10 caughtup", "checkpoint*10 mine:1"},
		{32, 1, "checkpoint*20 mine:0 checkpoint*10 caughtup", "checkpoint*10 mine:1"},
		{100, 1, "checkpoint*6 mine:0 checkpoint*3 caughtup", "checkpoint*3 mine:1"},
		{32, 5, "checkpoint*4 mine:0 checkpoint*2 caughtup", "checkpoint*2 mine:1"},
		{10, 10, "checkpoint*6 mine:0 checkpoint*3 caughtup", "checkpoint*3 mine:1"},
		{1, 1, "checkpoint*640 mine:0 checkpoint*321 caughtup", "checkpoint*320 mine:1"},
		{500, 1, "checkpoint*1 mine:0 caughtup", "checkpoint*1 mine:1"},
		{esdb.NoMaxSearchWindow, 1, "checkpoint*20 mine:0 checkpoint*10 caughtup", "checkpoint*10 mine:1"},
	} {
		t.Run(fmt.Sprintf("window %d interval %d", x.window, x.interval), func(t *testing.T) {
			t.Parallel()
			c := connect(t, patient(t))
			start := put(t, c, "before", sized(1, 1)...)
			put(t, c, "noise", sized(640, 1)...)
			put(t, c, "mine", sized(1, 1)...)
			put(t, c, "noise", sized(320, 1)...)
			sub, err := c.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{From: start, MaxSearchWindow: x.window,
				CheckpointInterval: x.interval,
				Filter:             &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"mine"}}})
			if err != nil {
				t.Fatal(err)
			}
			if got := traceUntil(t, sub, "caughtup"); got != x.catchUp {
				t.Errorf("catching up: got %s, recorded %s", got, x.catchUp)
			}
			put(t, c, "noise", sized(320, 1)...)
			put(t, c, "mine", sized(1, 1)...)
			if got := traceUntil(t, sub, "mine:1"); got != x.live {
				t.Errorf("live: got %s, recorded %s", got, x.live)
			}
		})
	}
}

// TestCheckpointsAreNoPositionsOfEvents follows rule 15 of those who use EventStoreDB: one may subscribe from a
// checkpoint, and what one reads from it is another event, if anything.
func TestCheckpointsAreNoPositionsOfEvents(t *testing.T) {
	t.Parallel()
	c := connect(t, patient(t))
	start := put(t, c, "before", sized(1, 1)...)
	put(t, c, "noise", sized(100, 1)...)
	put(t, c, "mine", sized(1, 1)...)
	options := esdb.SubscribeToAllOptions{From: start, MaxSearchWindow: 10,
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"mine"}}}
	sub, err := c.SubscribeToAll(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	var at []esdb.Position
	within(t, "catching up", func() {
		for m := sub.Recv(); m.CaughtUp == nil && m.SubscriptionDropped == nil; m = sub.Recv() {
			if m.CheckPointReached != nil {
				at = append(at, *m.CheckPointReached)
			}
		}
	})
	if len(at) != 10 {
		t.Fatalf("%d checkpoints over 101 events with window 10, want 10", len(at))
	}
	for i, p := range at {
		read, err := drain(c.ReadAll(t.Context(), esdb.ReadAllOptions{From: p}, 1))
		if err != nil || len(read) != 1 || read[0].OriginalEvent().Position == p {
			t.Errorf("checkpoint %d, %v, is an event's position: %v, %v", i, p, names(read, err), err)
		}
		options.From = p
		again, err := c.SubscribeToAll(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if got := traceUntil(t, again, "caughtup"); !matches(got, "mine:0 caughtup") {
			t.Errorf("from checkpoint %d came %s, want the event that stands behind it", i, got)
		}
		again.Close()
	}
}

// TestReadAllWithFilter is about what the Go client can't ask for, and others can.
func TestReadAllWithFilter(t *testing.T) {
	t.Parallel()
	s := patient(t)
	c := connect(t, s)
	put(t, c, "a", sized(2, 1)...)
	put(t, c, "b", sized(2, 1)...)
	put(t, c, "a", sized(1, 1)...)
	o := allRequest(3)
	o.FilterOption = &streams.ReadReq_Options_Filter{Filter: &streams.ReadReq_Options_FilterOptions{
		Filter: &streams.ReadReq_Options_FilterOptions_StreamIdentifier{
			StreamIdentifier: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: []string{"a"}}},
		CheckpointIntervalMultiplier: 1}}
	if got := strings.Join(rawRead(t, dial(t, s), o), " "); got != "a:0 a:1 a:2 OK" {
		t.Errorf("got %s", got)
	}
}
