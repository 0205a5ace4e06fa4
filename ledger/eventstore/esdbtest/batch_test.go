package esdbtest_test

import (
	"fmt"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestBatchAppend appends as the clients of other languages do: many appends over one call, in parts.
func TestBatchAppend(t *testing.T) {
	t.Parallel()
	c := dial(t, patient(t))
	call, err := c.BatchAppend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	some := func(n, size int) []*streams.BatchAppendReq_ProposedMessage {
		var out []*streams.BatchAppendReq_ProposedMessage
		for range n {
			out = append(out, &streams.BatchAppendReq_ProposedMessage{Data: make([]byte, size),
				Id:       &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}},
				Metadata: map[string]string{"type": "e", "content-type": "application/json"}})
		}
		return out
	}
	options := func(stream string, expect any) *streams.BatchAppendReq_Options {
		o := &streams.BatchAppendReq_Options{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)}}
		switch n := expect.(type) {
		case int:
			o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamPosition{StreamPosition: uint64(n)}
		case nil:
			o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_NoStream{NoStream: &emptypb.Empty{}}
		}
		return o
	}
	send := func(o *streams.BatchAppendReq_Options, parts ...[]*streams.BatchAppendReq_ProposedMessage) {
		t.Helper()
		id := &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}}
		for i, p := range parts {
			if err := call.Send(&streams.BatchAppendReq{CorrelationId: id, Options: o, ProposedMessages: p,
				IsFinal: i == len(parts)-1}); err != nil {
				t.Fatal(err)
			}
			o = nil
		}
	}
	for _, x := range []struct {
		o     *streams.BatchAppendReq_Options
		parts [][]*streams.BatchAppendReq_ProposedMessage
		want  string
	}{
		{options("a", nil), [][]*streams.BatchAppendReq_ProposedMessage{some(2, 10), some(1, 10)}, "a ok 2"},
		{options("a", nil), [][]*streams.BatchAppendReq_ProposedMessage{some(1, 10)}, "a WrongExpectedVersion 6"},
		{options("a", 2), [][]*streams.BatchAppendReq_ProposedMessage{some(1, 10)}, "a ok 3"},
		{options("b", nil), [][]*streams.BatchAppendReq_ProposedMessage{some(1, mib)}, "b MaximumAppendSizeExceeded 3"},
		{options("", nil), [][]*streams.BatchAppendReq_ProposedMessage{some(1, 1)},
			" Required field StreamIdentifier not set. 3"},
	} {
		send(x.o, x.parts...)
		m, err := call.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got := string(m.GetStreamIdentifier().GetStreamName())
		if e := m.GetError(); e != nil {
			got += fmt.Sprintf(" %s %d", e.GetMessage(), e.GetCode())
		} else {
			got += fmt.Sprintf(" ok %d", m.GetSuccess().GetCurrentRevision())
		}
		if got != x.want {
			t.Errorf("got %s, want %s", got, x.want)
		}
	}
	if err := call.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := call.Recv(); err == nil {
		t.Error("an answer without a question")
	}
}
