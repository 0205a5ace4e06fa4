package esdbtest

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// streamsService appends, deletes, reads and subscribes.
type streamsService struct {
	streams.UnimplementedStreamsServer
	server *Server
}

func (s *streamsService) register(r grpc.ServiceRegistrar) { streams.RegisterStreamsServer(r, s) }

func (s *streamsService) stopped() {}

func newCall(ctx context.Context, method string) *Call {
	md, _ := metadata.FromIncomingContext(ctx)
	return &Call{Method: method, Metadata: md}
}

// Append takes one message with the options and one per event.
func (s *streamsService) Append(stream streams.Streams_AppendServer) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return received(err)
	}
	options := first.GetOptions()
	if options == nil {
		return errHandler()
	}
	expected, err := expectedRevision(options, options.ExpectedStreamRevision == nil)
	if err != nil {
		return err
	}
	name := string(options.GetStreamIdentifier().GetStreamName())
	if name == "" {
		return errHandler()
	}
	events, err := proposed(stream)
	if err != nil {
		return err
	}
	call := newCall(ctx, streams.Streams_Append_FullMethodName)
	call.Stream, call.Events = name, len(events)
	if err := s.server.calls.before(ctx, call); err != nil {
		return err
	}
	w := s.server.engine.append(name, expected, events)
	if w.verdict == streamDeleted {
		return errStreamDeleted(name)
	}
	if w.verdict == wrongRevision {
		return stream.SendAndClose(wrongExpectedResponse(expected, w.current))
	}
	if err := s.server.calls.committed(ctx, call); err != nil {
		return err
	}
	return stream.SendAndClose(appendedResponse(w))
}

// proposed reads the events of an append. It refuses as soon as they are too many bytes, while the client still sends.
func proposed(stream streams.Streams_AppendServer) ([]newEvent, error) {
	var events []newEvent
	size := 0
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return nil, received(err)
		}
		p := message.GetProposedMessage()
		if p == nil {
			return nil, errHandler()
		}
		if size += len(p.Data); size > maxAppend {
			return nil, errAppendSize()
		}
		event, err := eventOf(p)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
}

// proposal is an event as an append or a batch append has it.
type proposal interface {
	GetId() *shared.UUID
	GetMetadata() map[string]string
	GetData() []byte
	GetCustomMetadata() []byte
}

func eventOf(p proposal) (newEvent, error) {
	md := p.GetMetadata()
	for _, key := range []string{"type", "content-type"} {
		if _, ok := md[key]; !ok {
			return newEvent{}, errMissingMetadata(key)
		}
	}
	e := newEvent{id: parseUUID(p.GetId()), typ: md["type"], json: md["content-type"] == "application/json",
		data: p.GetData(), meta: p.GetCustomMetadata()}
	if e.id == uuid.Nil || e.typ == "" {
		return newEvent{}, errHandler()
	}
	return e, nil
}

// received is the answer when the client's message could not be received.
func received(err error) error {
	if status.Code(err) == codes.ResourceExhausted {
		return failure(codes.ResourceExhausted, "Received message exceeds the maximum configured message size.")
	}
	return err
}

// expectation is what the requests of appends, deletes and tombstones have in common.
type expectation interface {
	GetRevision() uint64
	GetNoStream() *shared.Empty
	GetAny() *shared.Empty
	GetStreamExists() *shared.Empty
}

func expectedRevision(o expectation, missing bool) (int64, error) {
	switch {
	case missing:
		return 0, failure(codes.InvalidArgument,
			"'None' is not a valid EventStore.Client.Streams.AppendReq+Types+Options+ExpectedStreamRevisionOneofCase")
	case o.GetNoStream() != nil:
		return expectNoStream, nil
	case o.GetAny() != nil:
		return expectAny, nil
	case o.GetStreamExists() != nil:
		return expectStreamExists, nil
	case o.GetRevision() > math.MaxInt64:
		return 0, errHandler()
	}
	return int64(o.GetRevision()), nil
}

func (s *streamsService) Delete(ctx context.Context, req *streams.DeleteReq) (*streams.DeleteResp, error) {
	o := req.GetOptions()
	call := newCall(ctx, streams.Streams_Delete_FullMethodName)
	position, err := s.remove(ctx, call, o.GetStreamIdentifier(), o, o == nil || o.ExpectedStreamRevision == nil, false)
	if err != nil {
		return nil, err
	}
	return &streams.DeleteResp{PositionOption: &streams.DeleteResp_Position_{
		Position: &streams.DeleteResp_Position{CommitPosition: position, PreparePosition: position}}}, nil
}

func (s *streamsService) Tombstone(ctx context.Context, req *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	o := req.GetOptions()
	call := newCall(ctx, streams.Streams_Tombstone_FullMethodName)
	position, err := s.remove(ctx, call, o.GetStreamIdentifier(), o, o == nil || o.ExpectedStreamRevision == nil, true)
	if err != nil {
		return nil, err
	}
	return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_Position_{
		Position: &streams.TombstoneResp_Position{CommitPosition: position, PreparePosition: position}}}, nil
}

func (s *streamsService) remove(ctx context.Context, call *Call, id *shared.StreamIdentifier, o expectation,
	missing, forEver bool) (uint64, error) {
	expected, err := expectedRevision(o, missing)
	if err != nil {
		return 0, err
	}
	name := string(id.GetStreamName())
	if name == "" {
		return 0, errHandler()
	}
	call.Stream = name
	if err := s.server.calls.before(ctx, call); err != nil {
		return 0, err
	}
	w := s.server.engine.delete(name, expected, forEver)
	switch w.verdict {
	case streamDeleted:
		return 0, errStreamDeleted(name)
	case wrongRevision:
		return 0, errWrongExpected(name, expected, w.current)
	}
	return w.position, s.server.calls.committed(ctx, call)
}
