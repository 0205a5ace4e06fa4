package esdbtest

import (
	"slices"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
)

// allStream is the name by which hooks and access lists know the whole log.
const allStream = "$all"

// Read reads a stream or $all, once or for ever.
func (s *streamsService) Read(req *streams.ReadReq, out streams.Streams_ReadServer) error {
	o := req.GetOptions()
	if o.GetUuidOption().GetContent() == nil {
		return failure(codes.InvalidArgument,
			"'None' is not a valid EventStore.Client.Streams.ReadReq+Types+Options+UUIDOption")
	}
	call := newCall(out.Context(), streams.Streams_Read_FullMethodName)
	call.Stream, call.Subscription = allStream, o.GetSubscription() != nil
	if of := o.GetStream(); of != nil {
		call.Stream = string(of.GetStreamIdentifier().GetStreamName())
	}
	if err := s.server.calls.before(out.Context(), call); err != nil {
		return err
	}
	w := &reader{engine: s.server.engine, links: o.GetResolveLinks(), text: o.GetUuidOption().GetString_() != nil}
	switch {
	case call.Subscription && o.GetStream() != nil:
		return s.subscribeToStream(call, o.GetStream(), w, out)
	case call.Subscription:
		return s.subscribeToAll(call, o, w, out)
	case o.GetStream() != nil:
		return s.readStream(o, w, out)
	}
	return s.readAll(o, w, out)
}

func (s *streamsService) readStream(o *streams.ReadReq_Options, w *reader, out streams.Streams_ReadServer) error {
	of := o.GetStream()
	name := string(of.GetStreamIdentifier().GetStreamName())
	backwards := o.GetReadDirection() == streams.ReadReq_Options_Backwards
	v := s.server.engine.look(name)
	switch {
	case v.deleted:
		return errStreamDeleted(name)
	case o.GetCount() == 0, !backwards && of.GetEnd() != nil:
		return errRead("ReadStreamResult")
	case !v.found:
		return out.Send(notFoundMessage(name))
	}
	events := v.events
	switch {
	case backwards && of.GetEnd() == nil:
		events = v.upTo(of.GetRevision())
	case !backwards:
		events = v.from(of.GetRevision())
	}
	if err := send(events, nil, o.GetCount(), backwards, w, out); err != nil {
		return err
	}
	if o.GetControlOption().GetCompatibility() >= 1 && !backwards {
		return out.Send(&streams.ReadResp{Content: &streams.ReadResp_LastStreamPosition{LastStreamPosition: v.next - 1}})
	}
	return nil
}

// send sends the first of the events, or the last ones in reverse.
func send(events []*event, f filter, count uint64, backwards bool, w *reader, out streams.Streams_ReadServer) error {
	each := slices.All(events)
	if backwards {
		each = slices.Backward(events)
	}
	for _, r := range each {
		if count == 0 {
			return nil
		}
		if r.hidden || f != nil && !f(r) {
			continue
		}
		if err := out.Send(w.message(r)); err != nil {
			return err
		}
		count--
	}
	return nil
}

func (s *streamsService) readAll(o *streams.ReadReq_Options, w *reader, out streams.Streams_ReadServer) error {
	f, _, err := filterOf(o)
	if err != nil {
		return err
	}
	backwards := o.GetReadDirection() == streams.ReadReq_Options_Backwards
	var events []*event
	switch p := o.GetAll().GetPosition(); {
	case o.GetCount() == 0:
		return errRead("ReadAllResult")
	case p == nil && (o.GetAll().GetEnd() != nil) == backwards:
		events, _ = s.server.engine.all()
	case p == nil:
		return nil // forwards from the end, or backwards from the start
	case p.GetPreparePosition() > p.GetCommitPosition():
		return errHandler()
	default:
		before, from, ok := s.server.engine.split(p.GetCommitPosition())
		if !ok {
			return errRead("ReadAllResult")
		}
		if events = from; backwards {
			events = before
		}
	}
	return send(events, f, o.GetCount(), backwards, w, out)
}
