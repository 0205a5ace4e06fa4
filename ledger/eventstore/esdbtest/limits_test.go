package esdbtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"hookledger/ledger/eventstore/esdbtest"
)

const mib = 1 << 20

// TestSizes: the data of all events of an append count, and nothing else, up to 1 MiB; from 16 MiB on a message is too
// large.
func TestSizes(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		events, data, meta int
		want               string // alternatives; who is refused while it still sends may see EOF
	}{
		{1, mib - 1, 0, "ok"},
		{1, mib, 0, "ok"},
		{1, mib + 1, 0, "Unknown/InvalidArgument Unknown/EOF"},
		{1, 600 << 10, 600 << 10, "ok"},
		{1, 10, 2 * mib, "ok"},
		{1, 4*mib + 1024, 0, "Unknown/InvalidArgument Unknown/EOF"},
		{1, 16 * mib, 0, "Unknown/ResourceExhausted Unknown/EOF"},
		{2, 600 << 10, 0, "Unknown/InvalidArgument Unknown/EOF"},
		{1000, 1000, 0, "ok"},
		{1100, 1000, 0, "Unknown/InvalidArgument Unknown/EOF"},
		{10_000, 100, 0, "ok"},
		{10_000, 200, 0, "Unknown/InvalidArgument Unknown/EOF"},
	} {
		t.Run(fmt.Sprintf("%d of %d and %d", x.events, x.data, x.meta), func(t *testing.T) {
			t.Parallel()
			c := connect(t, patient(t))
			batch := sized(x.events, x.data)
			for i := range batch {
				batch[i].Metadata = make([]byte, x.meta)
			}
			options := esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}
			_, err := c.AppendToStream(t.Context(), "a", options, batch...)
			if got := key(err); !strings.Contains(" "+x.want+" ", " "+got+" ") {
				t.Fatalf("got %s (%v), recorded %s", got, err, x.want)
			}
			read, err := drain(c.ReadStream(t.Context(), "a", esdb.ReadStreamOptions{}, 1<<20))
			if x.want != "ok" {
				if key(err) != "ResourceNotFound" {
					t.Errorf("something of it was written: %d events, %v", len(read), err)
				}
				return
			}
			if err != nil || len(read) != x.events || len(read[0].Event.Data) != x.data ||
				len(read[0].Event.UserMetadata) != x.meta {
				t.Errorf("read back %d events, %v", len(read), err)
			}
			if w, err := c.AppendToStream(t.Context(), "a", options, batch...); err != nil ||
				w.NextExpectedVersion != uint64(x.events-1) {
				t.Errorf("the same again: %v, %v", w, err)
			}
		})
	}
}

func dial(t *testing.T, s *esdbtest.Server) streams.StreamsClient {
	t.Helper()
	conn, err := grpc.NewClient(s.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return streams.NewStreamsClient(conn)
}

// proposedMessage is a valid event; breakIt makes it another.
func proposedMessage(breakIt func(*streams.AppendReq_ProposedMessage)) *streams.AppendReq_ProposedMessage {
	id := uuid.New()
	p := &streams.AppendReq_ProposedMessage{Data: []byte("{}"),
		Id:       &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}},
		Metadata: map[string]string{"type": "e", "content-type": "application/json"}}
	if breakIt != nil {
		breakIt(p)
	}
	return p
}

func rawAppend(t *testing.T, c streams.StreamsClient, o *streams.AppendReq_Options,
	events ...*streams.AppendReq_ProposedMessage) (*streams.AppendResp, metadata.MD, error) {
	t.Helper()
	call, err := c.Append(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = call.Send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: o}})
	for _, e := range events {
		_ = call.Send(&streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: e}})
	}
	answer, err := call.CloseAndRecv()
	return answer, call.Trailer(), err
}

func anyOf(stream string) *streams.AppendReq_Options {
	return &streams.AppendReq_Options{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)},
		ExpectedStreamRevision: &streams.AppendReq_Options_Any{Any: &shared.Empty{}}}
}

// trailers shows the trailers that a client looks at.
func trailers(md metadata.MD) string {
	var out []string
	for _, k := range []string{"exception", "stream-name", "expected-version", "actual-version", "maximum-append-size",
		"required-metadata-properties"} {
		for _, v := range md.Get(k) {
			out = append(out, k+"="+v)
		}
	}
	return strings.Join(out, " ")
}

// TestInvalidAppends has the recorded answers to appends that the Go client does not make.
func TestInvalidAppends(t *testing.T) {
	t.Parallel()
	c := dial(t, patient(t))
	without := func(key string) func(*streams.AppendReq_ProposedMessage) {
		return func(p *streams.AppendReq_ProposedMessage) { delete(p.Metadata, key) }
	}
	revision := func(n uint64) *streams.AppendReq_Options {
		o := anyOf("a")
		o.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: n}
		return o
	}
	nothing := anyOf("a")
	nothing.ExpectedStreamRevision = nil
	const handler = "Unknown Exception was thrown by handler."
	const missing = " exception=missing-required-metadata-property required-metadata-properties=type,content-type"
	for _, x := range []struct {
		name  string
		o     *streams.AppendReq_Options
		event *streams.AppendReq_ProposedMessage
		want  string
	}{
		{"id as text", anyOf("a"), proposedMessage(nil), "OK"},
		{"no type", anyOf("a"), proposedMessage(without("type")),
			"InvalidArgument Required Metadata Property 'type' is missing" + missing},
		{"no content type", anyOf("a"), proposedMessage(without("content-type")),
			"InvalidArgument Required Metadata Property 'content-type' is missing" + missing},
		{"empty type", anyOf("a"), proposedMessage(func(p *streams.AppendReq_ProposedMessage) {
			p.Metadata["type"] = ""
		}), handler},
		{"no id", anyOf("a"), proposedMessage(func(p *streams.AppendReq_ProposedMessage) { p.Id = nil }), handler},
		{"nil id", anyOf("a"), proposedMessage(func(p *streams.AppendReq_ProposedMessage) {
			p.Id = &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{}}}
		}), handler},
		{"no expectation", nothing, proposedMessage(nil), "InvalidArgument 'None' is not a valid " +
			"EventStore.Client.Streams.AppendReq+Types+Options+ExpectedStreamRevisionOneofCase"},
		{"empty stream name", anyOf(""), proposedMessage(nil), handler},
		{"revision 2^63", revision(1 << 63), proposedMessage(nil), handler},
		{"more than 1 MiB", anyOf("a"), proposedMessage(func(p *streams.AppendReq_ProposedMessage) {
			p.Data = make([]byte, mib+1)
		}), "InvalidArgument Maximum Append Size of 1048576 Exceeded. " +
			"exception=maximum-append-size-exceeded maximum-append-size=1048576"},
	} {
		_, md, err := rawAppend(t, c, x.o, x.event)
		got := strings.TrimSpace(status.Code(err).String() + " " + status.Convert(err).Message())
		if more := trailers(md); more != "" {
			got += " " + more
		}
		if got != x.want {
			t.Errorf("%s:\n  got      %s\n  recorded %s", x.name, got, x.want)
		}
	}
}

// TestConflictOnTheWire: a conflict is an answer and no error, and says it twice, for old clients.
func TestConflictOnTheWire(t *testing.T) {
	t.Parallel()
	c := dial(t, patient(t))
	e := proposedMessage(nil)
	if _, _, err := rawAppend(t, c, anyOf("a"), e, proposedMessage(nil), proposedMessage(nil)); err != nil {
		t.Fatal(err)
	}
	o := anyOf("a")
	o.ExpectedStreamRevision = &streams.AppendReq_Options_NoStream{NoStream: &shared.Empty{}}
	answer, _, err := rawAppend(t, c, o, proposedMessage(nil))
	w := answer.GetWrongExpectedVersion()
	if err != nil || w.GetCurrentRevision() != 2 || w.GetExpectedNoStream() == nil || w.GetCurrentRevision_20_6_0() != 2 ||
		w.GetExpectedRevision_20_6_0() != ^uint64(0) {
		t.Errorf("got %v, %v", answer, err)
	}
	o.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: 7}
	answer, _, err = rawAppend(t, c, o, proposedMessage(nil))
	w = answer.GetWrongExpectedVersion()
	if err != nil || w.GetCurrentRevision() != 2 || w.GetExpectedRevision() != 7 || w.GetExpectedRevision_20_6_0() != 7 {
		t.Errorf("got %v, %v", answer, err)
	}
}

func allRequest(count uint64) *streams.ReadReq_Options {
	return &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{
			AllOption: &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}},
		CountOption:  &streams.ReadReq_Options_Count{Count: count},
		FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption: &streams.ReadReq_Options_UUIDOption{
			Content: &streams.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}},
	}
}

func streamRequest(stream string, count uint64, compatibility uint32) *streams.ReadReq_Options {
	o := allRequest(count)
	o.StreamOption = &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{
		StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)},
		RevisionOption:   &streams.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}}}}
	o.ControlOption = &streams.ReadReq_Options_ControlOption{Compatibility: compatibility}
	return o
}

// rawRead gives the messages of a read, and its status.
func rawRead(t *testing.T, c streams.StreamsClient, o *streams.ReadReq_Options) []string {
	t.Helper()
	call, err := c.Read(t.Context(), &streams.ReadReq{Options: o})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return append(out, "OK")
		}
		if err != nil {
			return append(out, status.Code(err).String(), trailers(call.Trailer()))
		}
		switch x := m.GetContent().(type) {
		case *streams.ReadResp_Event:
			e := x.Event.GetEvent()
			out = append(out, fmt.Sprintf("%s:%d", e.GetStreamIdentifier().GetStreamName(), e.GetStreamRevision()))
		case *streams.ReadResp_StreamNotFound_:
			out = append(out, "not-found")
		case *streams.ReadResp_LastStreamPosition:
			out = append(out, fmt.Sprintf("last=%d", x.LastStreamPosition))
		default:
			out = append(out, fmt.Sprintf("%T", x))
		}
	}
}

// TestReadsOnTheWire: a missing stream is a message, a tombstoned one an error with trailers, and only clients that
// say that they know it are sent the last position.
func TestReadsOnTheWire(t *testing.T) {
	t.Parallel()
	c := dial(t, patient(t))
	for range 10 {
		if _, _, err := rawAppend(t, c, anyOf("a"), proposedMessage(nil)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Tombstone(context.Background(), &streams.TombstoneReq{Options: &streams.TombstoneReq_Options{
		StreamIdentifier:       &shared.StreamIdentifier{StreamName: []byte("dead")},
		ExpectedStreamRevision: &streams.TombstoneReq_Options_Any{Any: &shared.Empty{}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		o    *streams.ReadReq_Options
		want string
	}{
		{streamRequest("none", 10, 0), "not-found OK"},
		{streamRequest("a", 3, 0), "a:0 a:1 a:2 OK"},
		{streamRequest("a", 3, 1), "a:0 a:1 a:2 last=9 OK"},
		{streamRequest("dead", 3, 0), "FailedPrecondition exception=stream-deleted stream-name=dead"},
	} {
		if got := strings.Join(rawRead(t, c, x.o), " "); got != x.want {
			t.Errorf("got %s, recorded %s", got, x.want)
		}
	}
}
