package esdbtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"google.golang.org/grpc/status"

	"hookledger/ledger/eventstore/esdbtest"
)

// connect gives a client of the server.
func connect(t *testing.T, s *esdbtest.Server) *esdb.Client {
	t.Helper()
	config, err := esdb.ParseConnectionString(s.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// clock is a clock that stands until it is told how much later it is.
type clock struct {
	mu    sync.Mutex
	later time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Date(2026, 11, 23, 18, 4, 8, 0, time.UTC).Add(c.later)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.later += d
}

// events makes an event of each name: the same name, the same id. A star changes data and type.
func events(names []string) []esdb.EventData {
	var out []esdb.EventData
	for _, n := range names {
		id, other := strings.CutSuffix(n, "*")
		e := esdb.EventData{EventID: uuid.NewSHA1(uuid.NameSpaceOID, []byte(id)), EventType: "e",
			ContentType: esdb.ContentTypeJson, Data: fmt.Appendf(nil, `{"n":%q}`, id)}
		if other {
			e.EventType, e.Data = "other", []byte(`{"other":true}`)
		}
		out = append(out, e)
	}
	return out
}

func links(to []string) []esdb.EventData {
	var out []esdb.EventData
	for _, l := range to {
		out = append(out, esdb.EventData{EventID: uuid.New(), EventType: "$>", ContentType: esdb.ContentTypeBinary,
			Data: []byte(l)})
	}
	return out
}

// sized makes n events of so many bytes of data.
func sized(n, size int) []esdb.EventData {
	out := make([]esdb.EventData, n)
	for i := range out {
		out[i] = esdb.EventData{EventID: uuid.New(), EventType: "e", ContentType: esdb.ContentTypeBinary,
			Data: make([]byte, size)}
	}
	return out
}

func expected(s string) esdb.ExpectedRevision {
	switch s {
	case "any":
		return esdb.Any{}
	case "no_stream":
		return esdb.NoStream{}
	case "exists":
		return esdb.StreamExists{}
	}
	n, _ := strconv.ParseUint(s, 10, 64)
	return esdb.Revision(n)
}

func from(s string) esdb.StreamPosition {
	switch s {
	case "start":
		return esdb.Start{}
	case "end":
		return esdb.End{}
	}
	n, _ := strconv.ParseUint(s, 10, 64)
	return esdb.Revision(n)
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func drain(r *esdb.ReadStream, err error) ([]*esdb.ResolvedEvent, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []*esdb.ResolvedEvent
	for {
		e, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
}

func revisions(read []*esdb.ResolvedEvent) string {
	if len(read) == 0 {
		return "none"
	}
	var out []string
	for _, r := range read {
		out = append(out, strconv.FormatUint(r.OriginalEvent().EventNumber, 10))
	}
	return strings.Join(out, " ")
}

// received reads so many messages of a subscription.
func received(sub *esdb.Subscription, n int) string {
	var out []string
	for len(out) < n {
		m := sub.Recv()
		switch {
		case m.EventAppeared != nil:
			e := m.EventAppeared.OriginalEvent()
			out = append(out, fmt.Sprintf("%s:%d", e.EventType, e.EventNumber))
		case m.CheckPointReached != nil:
			out = append(out, "checkpoint")
		case m.CaughtUp != nil:
			out = append(out, "caughtup")
		case m.SubscriptionDropped != nil:
			return strings.Join(append(out, "dropped/"+status.Code(m.SubscriptionDropped.Error).String()), " ")
		}
	}
	return strings.Join(out, " ")
}

var codeNames = map[esdb.ErrorCode]string{
	esdb.ErrorCodeUnknown: "Unknown", esdb.ErrorCodeResourceNotFound: "ResourceNotFound",
	esdb.ErrorCodeStreamDeleted: "StreamDeleted", esdb.ErrorCodeWrongExpectedVersion: "WrongExpectedVersion",
	esdb.ErrorCodeUnauthenticated: "Unauthenticated", esdb.ErrorCodeAccessDenied: "AccessDenied",
	esdb.ErrorCodeNotLeader: "NotLeader", esdb.ErrorAborted: "Aborted", esdb.ErrorUnavailable: "Unavailable",
	esdb.ErrorCodeDeadlineExceeded: "DeadlineExceeded", esdb.ErrorCodeResourceAlreadyExists: "ResourceAlreadyExists"}

var (
	appendConflict = regexp.MustCompile(`expecting '([^']*)' but got '([^']*)'`)
	deleteConflict = regexp.MustCompile(`Expected version: (-?\d+), Actual version: (-?\d+)`)
)

// key is an error's short form: the client's code, with what the server's text adds to it.
func key(err error) string {
	if err == nil {
		return "ok"
	}
	if m := deleteConflict.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Sprintf("FailedPrecondition(%s,%s)", m[1], m[2])
	}
	var e *esdb.Error
	if !errors.As(err, &e) {
		return "grpc/" + status.Code(err).String()
	}
	name := codeNames[e.Code()]
	if m := appendConflict.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Sprintf("%s(%s,%s)", name, strings.TrimPrefix(m[1], "stream_"), m[2])
	}
	switch {
	case e.Code() == esdb.ErrorCodeUnknown && errors.Is(err, io.EOF):
		return name + "/EOF"
	case e.Code() == esdb.ErrorCodeUnknown:
		return name + "/" + status.Code(e.Err()).String()
	}
	return name
}

// within fails the test if f has not ended in a minute, which is no measure of speed, but an end to waiting for ever.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%s has not ended in a minute", what)
	}
}
