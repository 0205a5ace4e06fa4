package esdbtest

import (
	"context"
	"errors"

	pp "github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
)

// Read is a consumer's call: first its options, then its acks and nacks, against the group's events.
func (s *groupsService) Read(stream pp.PersistentSubscriptions_ReadServer) error {
	first, err := stream.Recv()
	if err != nil {
		return received(err)
	}
	o := first.GetOptions()
	if o == nil {
		return errHandler()
	}
	from, name := streamOf(o), o.GetGroupName()
	call := newCall(stream.Context(), pp.PersistentSubscriptions_Read_FullMethodName)
	call.Stream, call.Group, call.Subscription = groupSource(from), name, true
	if err := s.server.calls.before(stream.Context(), call); err != nil {
		return err
	}
	g := s.groups.find(from, name)
	if g == nil {
		return errGroupMissing(from, name)
	}
	ctx := stream.Context()
	c := newConsumer(int(o.GetBufferSize()), s.groups.clock())
	c.user = s.server.userOf(ctx)
	if err := g.join(c); err != nil {
		return err
	}
	defer g.leave(c)
	if err := stream.Send(&pp.ReadResp{Content: &pp.ReadResp_SubscriptionConfirmation_{
		SubscriptionConfirmation: &pp.ReadResp_SubscriptionConfirmation{SubscriptionId: g.key}}}); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- g.listen(stream) }()
	w := &groupWriter{group: g, text: o.GetUuidOption().GetString_() != nil, out: stream,
		deliver: func() error { return s.server.calls.deliver(ctx, call) }}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-failed:
			return err
		case <-c.wake:
			if err := w.send(c.next()); err != nil {
				return err
			}
		}
	}
}

// listen takes a consumer's answers until its call ends.
func (g *group) listen(stream pp.PersistentSubscriptions_ReadServer) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		if a := req.GetAck(); a != nil {
			g.ack(parseUUIDs(a.GetIds()))
		}
		if n := req.GetNack(); n != nil {
			g.nack(parseUUIDs(n.GetIds()), n.GetAction(), n.GetReason())
		}
	}
}

func parseUUIDs(ids []*shared.UUID) []uuid.UUID {
	out := make([]uuid.UUID, len(ids))
	for i, id := range ids {
		out[i] = parseUUID(id)
	}
	return out
}

// groupWriter sends a consumer its events.
type groupWriter struct {
	group   *group
	text    bool // ids as text
	out     pp.PersistentSubscriptions_ReadServer
	deliver func() error // the hooks
}

func (w *groupWriter) send(batch []delivery, ended error) error {
	for _, d := range batch {
		if err := w.deliver(); errors.Is(err, ErrWithhold) {
			continue
		} else if err != nil {
			return err
		}
		target, link := d.event, (*event)(nil)
		if d.resolve {
			target, link = w.group.engine.resolve(d.event)
		}
		if err := w.out.Send(&pp.ReadResp{Content: &pp.ReadResp_Event{Event: &pp.ReadResp_ReadEvent{
			Event: w.recorded(target), Link: w.recorded(link),
			Position: &pp.ReadResp_ReadEvent_CommitPosition{CommitPosition: d.event.position},
			Count:    &pp.ReadResp_ReadEvent_RetryCount{RetryCount: d.retries},
		}}}); err != nil {
			return err
		}
	}
	return ended
}

func (w *groupWriter) recorded(e *event) *pp.ReadResp_ReadEvent_RecordedEvent {
	if e == nil {
		return nil
	}
	r := recorded(e, w.text)
	return &pp.ReadResp_ReadEvent_RecordedEvent{Id: r.Id, StreamIdentifier: r.StreamIdentifier,
		StreamRevision: r.StreamRevision, PreparePosition: r.PreparePosition, CommitPosition: r.CommitPosition,
		Metadata: r.Metadata, CustomMetadata: r.CustomMetadata, Data: r.Data}
}
