package esdbtest

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc"
)

// gossipService tells who belongs to the cluster, and who leads. The client asks it when its connection string names
// more than one node, or begins with esdb+discover.
type gossipService struct {
	gossip.UnimplementedGossipServer
	server   *Server
	instance uuid.UUID
	host     string
	port     uint32
}

func (s *gossipService) register(r grpc.ServiceRegistrar) {
	s.host, s.port = endpointOf(s.server.Address())
	gossip.RegisterGossipServer(r, s)
}

func (s *gossipService) stopped() {}

func (s *gossipService) Read(ctx context.Context, _ *shared.Empty) (*gossip.ClusterInfo, error) {
	if err := s.server.calls.before(ctx, newCall(ctx, gossip.Gossip_Read_FullMethodName)); err != nil {
		return nil, err
	}
	now := s.server.cfg.clock().UnixNano() / 100
	if m := s.server.cfg.member; m != nil {
		return &gossip.ClusterInfo{Members: m.cluster.members(now)}, nil
	}
	return &gossip.ClusterInfo{Members: []*gossip.MemberInfo{{
		InstanceId: wireUUID(s.instance, false), TimeStamp: now, State: gossip.MemberInfo_Leader, IsAlive: true,
		HttpEndPoint: &gossip.EndPoint{Address: s.host, Port: s.port},
	}}}, nil
}

// members lists the nodes as their gossip has them.
func (c *Cluster) members(now int64) []*gossip.MemberInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*gossip.MemberInfo
	for i, n := range c.nodes {
		m := &gossip.MemberInfo{
			InstanceId: wireUUID(n.instance, false), TimeStamp: now, State: gossip.MemberInfo_Follower, IsAlive: true,
			HttpEndPoint: &gossip.EndPoint{Address: n.host, Port: n.port},
		}
		switch {
		case n.state != nodeUp:
			m.State, m.IsAlive = gossip.MemberInfo_ShuttingDown, false // as recorded of a node that was killed
		case i == c.leader:
			m.State = gossip.MemberInfo_Leader
		case c.leader < 0:
			m.State = gossip.MemberInfo_Unknown
		}
		out = append(out, m)
	}
	return out
}
