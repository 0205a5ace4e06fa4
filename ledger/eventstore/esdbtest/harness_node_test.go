package esdbtest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"hookledger/ledger/eventstore/esdbtest"
)

// What the client calls a group's settings, and what it counts.
type (
	tuning   = esdb.PersistentSubscriptionSettings
	counters = esdb.PersistentSubscriptionStats
)

// patience is how long a test waits for what must come; it is never waited for in vain.
const patience = 30 * time.Second

// clientOf gives a client of a connection string.
func clientOf(t *testing.T, to string) *esdb.Client {
	t.Helper()
	config, err := esdb.ParseConnectionString(to)
	if err != nil {
		t.Fatalf("parse %s: %v", to, err)
	}
	config.Logger = esdb.NoopLogging()
	config.DiscoveryInterval = 5
	config.MaxDiscoverAttempts = 1_000_000
	client, err := esdb.NewClient(config)
	if err != nil {
		t.Fatalf("connect to %s: %v", to, err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// dial gives a bare gRPC connection, for calls that the client can't make.
func rawTo(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatalf("dial %s: %v", address, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// batch makes n events of type e.
func someEvents(n int) []esdb.EventData {
	out := make([]esdb.EventData, n)
	for i := range out {
		out[i] = esdb.EventData{EventID: uuid.New(), EventType: "e", ContentType: esdb.ContentTypeJson,
			Data: fmt.Appendf(nil, `{"n":%d}`, i)}
	}
	return out
}

// write appends events, which must succeed.
func mustAppend(t *testing.T, c *esdb.Client, stream string, events ...esdb.EventData) *esdb.WriteResult {
	t.Helper()
	w, err := c.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, events...)
	if err != nil {
		t.Fatalf("append to %s: %v", stream, err)
	}
	return w
}

// contents reads a whole stream: what is in it, "none" if there is no such stream.
func contentsOf(t *testing.T, c *esdb.Client, stream string) []*esdb.ResolvedEvent {
	t.Helper()
	r, err := c.ReadStream(t.Context(), stream, esdb.ReadStreamOptions{}, 1000)
	if err != nil {
		t.Fatalf("read %s: %v", stream, err)
	}
	defer r.Close()
	var out []*esdb.ResolvedEvent
	for {
		e, err := r.Recv()
		var missing *esdb.Error
		if errors.As(err, &missing) && missing.Code() == esdb.ErrorCodeResourceNotFound {
			return nil
		}
		if err != nil && err.Error() == "EOF" {
			return out
		}
		if err != nil {
			t.Fatalf("read %s: %v", stream, err)
		}
		out = append(out, e)
	}
}

// answer is an error as the recordings have it: the client's code and gRPC's.
func answerOf(err error) string {
	if err == nil {
		return "ok"
	}
	var e *esdb.Error
	code := "plain"
	if errors.As(err, &e) {
		code = fmt.Sprint(int(e.Code()))
		for name, c := range map[string]esdb.ErrorCode{"Unknown": esdb.ErrorCodeUnknown, "Aborted": esdb.ErrorAborted,
			"ResourceNotFound": esdb.ErrorCodeResourceNotFound, "AccessDenied": esdb.ErrorCodeAccessDenied,
			"ResourceAlreadyExists": esdb.ErrorCodeResourceAlreadyExists, "Unavailable": esdb.ErrorUnavailable,
			"NotLeader": esdb.ErrorCodeNotLeader, "Unauthenticated": esdb.ErrorCodeUnauthenticated,
			"DeadlineExceeded": esdb.ErrorCodeDeadlineExceeded} {
			if e.Code() == c {
				code = name
			}
		}
	}
	var g interface{ GRPCStatus() *status.Status }
	if errors.As(err, &g) {
		code += "/" + g.GRPCStatus().Code().String()
	}
	return code
}

func same[T comparable](t *testing.T, what string, want, got T) {
	t.Helper()
	if want != got {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// steps is the server's time, which stands still until the test moves it.
type steps struct {
	ticks chan time.Time

	mu  sync.Mutex
	now time.Time
}

func newSteps() *steps {
	return &steps{now: time.Date(2026, 11, 23, 18, 5, 38, 0, time.UTC), ticks: make(chan time.Time)}
}

func (c *steps) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *steps) options() []esdbtest.Option {
	return []esdbtest.Option{esdbtest.WithClock(c.time), esdbtest.WithTicks(c.ticks)}
}

// pass lets time go by, and the server look at what is due. When it returns the server has done so.
func (c *steps) pass(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	now := c.now
	c.mu.Unlock()
	c.ticks <- now
	c.ticks <- now // taken only when the first one is done with
}

// eater is a consumer of a group.
type eater struct {
	t  *testing.T
	ps *esdb.PersistentSubscription
	mu sync.Mutex // of acks, nacks and Close
	ch chan *esdb.PersistentSubscriptionEvent
}

// join connects to a group of a stream, "" for $all.
func join(t *testing.T, c *esdb.Client, stream, group string, room uint32) *eater {
	t.Helper()
	m, err := tryJoin(t, c, stream, group, room)
	if err != nil {
		t.Fatalf("connect to group %s of %q: %v", group, stream, err)
	}
	return m
}

func tryJoin(t *testing.T, c *esdb.Client, stream, group string, room uint32) (*eater, error) {
	t.Helper()
	o := esdb.SubscribeToPersistentSubscriptionOptions{BufferSize: room}
	ctx := context.WithoutCancel(t.Context())
	var ps *esdb.PersistentSubscription
	var err error
	if stream == "" {
		ps, err = c.SubscribeToPersistentSubscriptionToAll(ctx, group, o)
	} else {
		ps, err = c.SubscribeToPersistentSubscription(ctx, stream, group, o)
	}
	if err != nil {
		return nil, err
	}
	m := &eater{t: t, ps: ps, ch: make(chan *esdb.PersistentSubscriptionEvent, 1<<12)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			e := ps.Recv()
			m.ch <- e
			if e.SubscriptionDropped != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		m.close()
		<-done
	})
	return m, nil
}

func (m *eater) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ps.Close()
}

// next is the next thing that comes.
func (m *eater) next() *esdb.PersistentSubscriptionEvent {
	m.t.Helper()
	select {
	case e := <-m.ch:
		return e
	case <-time.After(patience):
		m.t.Fatal("nothing came")
		return nil
	}
}

// take is the next n events.
func (m *eater) take(n int) []*esdb.EventAppeared {
	m.t.Helper()
	out := make([]*esdb.EventAppeared, 0, n)
	for range n {
		e := m.next()
		if e.EventAppeared == nil {
			m.t.Fatalf("dropped: %v", e.SubscriptionDropped.Error)
		}
		out = append(out, e.EventAppeared)
	}
	return out
}

// idle fails if anything came that was not taken.
func (m *eater) idle() {
	m.t.Helper()
	select {
	case e := <-m.ch:
		m.t.Errorf("came, and should not: %+v", e)
	default:
	}
}

func (m *eater) ack(events ...*esdb.EventAppeared) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range events {
		if err := m.ps.Ack(e.Event); err != nil {
			m.t.Fatalf("ack: %v", err)
		}
	}
}

func (m *eater) nack(action esdb.NackAction, events ...*esdb.EventAppeared) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range events {
		if err := m.ps.Nack("test", action, e.Event); err != nil {
			m.t.Fatalf("nack: %v", err)
		}
	}
}

// told writes events as "number/retries".
func told(events []*esdb.EventAppeared) string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%d/%d", e.Event.OriginalEvent().EventNumber, e.RetryCount))
	}
	return strings.Join(out, " ")
}

// newGroup makes a group with settings, from the start.
func newGroup(t *testing.T, c *esdb.Client, stream, name string, change func(*tuning)) {
	t.Helper()
	if err := makeGroup(t, c, stream, name, change); err != nil {
		t.Fatalf("create group %s of %s: %v", name, stream, err)
	}
}

func makeGroup(t *testing.T, c *esdb.Client, stream, name string, change func(*tuning)) error {
	t.Helper()
	return c.CreatePersistentSubscription(t.Context(), stream, name,
		esdb.PersistentStreamSubscriptionOptions{StartFrom: esdb.Start{}, Settings: groupSettings(change)})
}

func groupSettings(change func(*tuning)) *tuning {
	s := esdb.SubscriptionSettingsDefault()
	if change != nil {
		change(&s)
	}
	return &s
}

// stats asks for a group's counters.
func statsOf(t *testing.T, c *esdb.Client, stream, name string) *counters {
	t.Helper()
	return infoOf(t, c, stream, name).Stats
}

func infoOf(t *testing.T, c *esdb.Client, stream, name string) *esdb.PersistentSubscriptionInfo {
	t.Helper()
	i, err := c.GetPersistentSubscriptionInfo(t.Context(), stream, name, esdb.GetPersistentSubscriptionOptions{})
	if err != nil {
		t.Fatalf("info of group %s of %s: %v", name, stream, err)
	}
	return i
}

// until asks for a group's counters until they are as wanted: acks and nacks arrive when they arrive.
func until(t *testing.T, c *esdb.Client, stream, name, what string, ok func(*counters) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		s := statsOf(t, c, stream, name)
		if ok(s) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about: %+v", what, s)
		}
	}
}
