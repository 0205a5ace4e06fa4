package esdbtest

import (
	"context"
	"errors"
	"io"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// BatchAppend takes many appends over one call, each in one or more messages with an id of its own, and answers each
// when its last message has come. The Go client does not use it; those of other languages do.
func (s *streamsService) BatchAppend(stream streams.Streams_BatchAppendServer) error {
	ctx := stream.Context()
	open := map[string]*batch{}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return received(err)
		}
		id := parseUUID(message.GetCorrelationId()).String()
		if o := message.GetOptions(); o != nil && open[id] == nil {
			open[id] = newBatch(message.GetCorrelationId(), o)
		}
		b := open[id]
		if b == nil {
			continue // the rest of one that was refused
		}
		refused := b.add(message.GetProposedMessages())
		if refused == nil && !message.GetIsFinal() {
			continue
		}
		delete(open, id)
		if refused == nil {
			if refused, err = s.appendBatch(ctx, b); err != nil {
				return err
			}
		}
		if refused != nil {
			b.answer.Result = &streams.BatchAppendResp_Error{Error: refused}
		}
		if err := stream.Send(b.answer); err != nil {
			return err
		}
	}
}

// batch is an append of which not all messages have come.
type batch struct {
	stream   string
	expected int64
	events   []newEvent
	size     int
	answer   *streams.BatchAppendResp
}

func newBatch(id *shared.UUID, o *streams.BatchAppendReq_Options) *batch {
	b := &batch{stream: string(o.GetStreamIdentifier().GetStreamName()), answer: &streams.BatchAppendResp{
		CorrelationId: id, StreamIdentifier: o.GetStreamIdentifier()}}
	switch o.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_NoStream:
		b.expected = expectNoStream
	case *streams.BatchAppendReq_Options_StreamExists:
		b.expected = expectStreamExists
	case *streams.BatchAppendReq_Options_StreamPosition:
		b.expected = int64(o.GetStreamPosition())
	default:
		b.expected = expectAny
	}
	return b
}

// add takes events in; what it gives back is why they are refused. Here metadata and types count towards the size, too.
func (b *batch) add(messages []*streams.BatchAppendReq_ProposedMessage) *rpcstatus.Status {
	for _, m := range messages {
		e, err := eventOf(m)
		if err != nil {
			return refusal(codes.InvalidArgument, err.Error(), &shared.BadRequest{Message: err.Error()})
		}
		if b.size += len(e.data) + len(e.meta) + 2*len(e.typ); b.size > maxAppend {
			return refusal(codes.InvalidArgument, "MaximumAppendSizeExceeded",
				&shared.MaximumAppendSizeExceeded{MaxAppendSize: maxAppend})
		}
		b.events = append(b.events, e)
	}
	if b.stream == "" {
		const why = "Required field StreamIdentifier not set."
		return refusal(codes.InvalidArgument, why, &shared.BadRequest{Message: why})
	}
	return nil
}

// appendBatch writes it, and fills the answer or says why not; an error ends the whole call.
func (s *streamsService) appendBatch(ctx context.Context, b *batch) (*rpcstatus.Status, error) {
	call := newCall(ctx, streams.Streams_BatchAppend_FullMethodName)
	call.Stream, call.Events = b.stream, len(b.events)
	if err := s.server.calls.before(ctx, call); err != nil {
		var e *Error
		if errors.As(err, &e) && e.Code == codes.PermissionDenied {
			return refusal(codes.PermissionDenied, "AccessDenied", &shared.AccessDenied{}), nil
		}
		return nil, err
	}
	w := s.server.engine.append(b.stream, b.expected, b.events)
	switch w.verdict {
	case streamDeleted:
		return refusal(codes.NotFound, "StreamDeleted",
			&shared.StreamDeleted{StreamIdentifier: b.answer.GetStreamIdentifier()}), nil
	case wrongRevision:
		return refusal(codes.AlreadyExists, "WrongExpectedVersion", wrongExpectedDetail(b.expected, w.current)), nil
	}
	ok := &streams.BatchAppendResp_Success{
		CurrentRevisionOption: &streams.BatchAppendResp_Success_NoStream{NoStream: &emptypb.Empty{}},
		PositionOption:        &streams.BatchAppendResp_Success_NoPosition{NoPosition: &emptypb.Empty{}},
	}
	if w.revision >= 0 {
		ok.CurrentRevisionOption = &streams.BatchAppendResp_Success_CurrentRevision{CurrentRevision: uint64(w.revision)}
	}
	if w.located {
		ok.PositionOption = &streams.BatchAppendResp_Success_Position{
			Position: &shared.AllStreamPosition{CommitPosition: w.position, PreparePosition: w.position}}
	}
	b.answer.Result = &streams.BatchAppendResp_Success_{Success: ok}
	return nil, s.server.calls.committed(ctx, call)
}

func wrongExpectedDetail(expected, current int64) *shared.WrongExpectedVersion {
	w := &shared.WrongExpectedVersion{
		CurrentStreamRevisionOption: &shared.WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &emptypb.Empty{}}}
	if current >= 0 {
		w.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentStreamRevision{
			CurrentStreamRevision: uint64(current)}
	}
	switch expected {
	case expectNoStream:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &emptypb.Empty{}}
	case expectAny:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedAny{ExpectedAny: &emptypb.Empty{}}
	case expectStreamExists:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamExists{
			ExpectedStreamExists: &emptypb.Empty{}}
	default:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamPosition{
			ExpectedStreamPosition: uint64(expected)}
	}
	return w
}

func refusal(c codes.Code, message string, detail proto.Message) *rpcstatus.Status {
	s := &rpcstatus.Status{Code: int32(c), Message: message}
	if packed, err := anypb.New(detail); err == nil {
		s.Details = []*anypb.Any{packed}
	}
	return s
}
