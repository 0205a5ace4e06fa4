package esdbtest

import (
	"context"

	pp "github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
)

// groupsService is what a node answers about persistent subscriptions. The groups are the database's: in a cluster the
// nodes share them, and only the leader runs them.
type groupsService struct {
	pp.UnimplementedPersistentSubscriptionsServer
	server *Server
	groups *groups
}

func (s *groupsService) register(r grpc.ServiceRegistrar) {
	pp.RegisterPersistentSubscriptionsServer(r, s)
	if s.server.cfg.groups == nil {
		s.groups.start()
	}
}

func (s *groupsService) stopped() {
	if s.server.cfg.groups == nil {
		s.groups.halt()
	}
}

// source is how requests name what a group reads.
type source interface {
	GetStreamIdentifier() *shared.StreamIdentifier
	GetAll() *shared.Empty
}

// streamOf gives "" for $all, however it is named.
func streamOf(o source) string {
	if name := string(o.GetStreamIdentifier().GetStreamName()); o.GetAll() == nil && name != allStream {
		return name
	}
	return ""
}

// enter passes a call about a group through the hooks.
func (s *groupsService) enter(ctx context.Context, method, stream, group string) error {
	call := newCall(ctx, method)
	call.Stream, call.Group = groupSource(stream), group
	return s.server.calls.before(ctx, call)
}

func (s *groupsService) Create(ctx context.Context, req *pp.CreateReq) (*pp.CreateResp, error) {
	g, err := s.newGroup(req.GetOptions())
	if err != nil {
		return nil, err
	}
	if err := s.enter(ctx, pp.PersistentSubscriptions_Create_FullMethodName, g.stream, g.name); err != nil {
		return nil, err
	}
	if !s.groups.add(g) {
		return nil, errGroupExists(g)
	}
	return &pp.CreateResp{}, nil
}

// Update gives a group new settings. Its consumers are dropped, it goes on from its checkpoint, or from the new start
// if it never wrote one, and keeps its filter.
func (s *groupsService) Update(ctx context.Context, req *pp.UpdateReq) (*pp.UpdateResp, error) {
	o := req.GetOptions()
	stream, start := s.updatedStart(o)
	if err := s.enter(ctx, pp.PersistentSubscriptions_Update_FullMethodName, stream, o.GetGroupName()); err != nil {
		return nil, err
	}
	g := s.groups.find(stream, o.GetGroupName())
	if g == nil {
		return nil, errGroupMissing(stream, o.GetGroupName())
	}
	strategy := o.GetSettings().GetNamedConsumerStrategy().String()
	settings, err := settingsOf(stream, o.GetGroupName(), o.GetSettings(), strategy)
	if err != nil {
		return nil, err
	}
	g.update(settings, start)
	return &pp.UpdateResp{}, nil
}

func (s *groupsService) Delete(ctx context.Context, req *pp.DeleteReq) (*pp.DeleteResp, error) {
	stream, name := streamOf(req.GetOptions()), req.GetOptions().GetGroupName()
	if err := s.enter(ctx, pp.PersistentSubscriptions_Delete_FullMethodName, stream, name); err != nil {
		return nil, err
	}
	if !s.groups.remove(stream, name) {
		return nil, errGroupMissing(stream, name)
	}
	return &pp.DeleteResp{}, nil
}

func (s *groupsService) GetInfo(ctx context.Context, req *pp.GetInfoReq) (*pp.GetInfoResp, error) {
	stream, name := streamOf(req.GetOptions()), req.GetOptions().GetGroupName()
	if err := s.enter(ctx, pp.PersistentSubscriptions_GetInfo_FullMethodName, stream, name); err != nil {
		return nil, err
	}
	g := s.groups.find(stream, name)
	if g == nil {
		return nil, errGroupMissing(stream, name)
	}
	return &pp.GetInfoResp{SubscriptionInfo: g.info()}, nil
}

func (s *groupsService) List(ctx context.Context, req *pp.ListReq) (*pp.ListResp, error) {
	source := ""
	if of := req.GetOptions().GetListForStream(); of != nil {
		if source = allStream; of.GetAll() == nil {
			source = string(of.GetStream().GetStreamName())
		}
	}
	call := newCall(ctx, pp.PersistentSubscriptions_List_FullMethodName)
	call.Stream = source
	if err := s.server.calls.before(ctx, call); err != nil {
		return nil, err
	}
	resp := &pp.ListResp{}
	for _, g := range s.groups.list(source) {
		resp.Subscriptions = append(resp.Subscriptions, g.info())
	}
	if resp.Subscriptions == nil {
		return nil, errGroupMissing(source, "")
	}
	return resp, nil
}

func (s *groupsService) ReplayParked(ctx context.Context, req *pp.ReplayParkedReq) (*pp.ReplayParkedResp, error) {
	stream, name := streamOf(req.GetOptions()), req.GetOptions().GetGroupName()
	if err := s.enter(ctx, pp.PersistentSubscriptions_ReplayParked_FullMethodName, stream, name); err != nil {
		return nil, err
	}
	g := s.groups.find(stream, name)
	if g == nil {
		return nil, errGroupMissing(stream, name)
	}
	g.replay(req.GetOptions().GetStopAt())
	return &pp.ReplayParkedResp{}, nil
}

func (s *groupsService) RestartSubsystem(ctx context.Context, _ *shared.Empty) (*shared.Empty, error) {
	call := newCall(ctx, pp.PersistentSubscriptions_RestartSubsystem_FullMethodName)
	if err := s.server.calls.before(ctx, call); err != nil {
		return nil, err
	}
	s.groups.restart()
	return &shared.Empty{}, nil
}
