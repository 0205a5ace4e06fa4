package esdbtest

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
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
