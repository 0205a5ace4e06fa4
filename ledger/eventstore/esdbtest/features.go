package esdbtest

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
)

// featuresService tells the client which version this is and what it can do.
type featuresService struct {
	serverfeatures.UnimplementedServerFeaturesServer
	server *Server
}

func (f *featuresService) register(r grpc.ServiceRegistrar) {
	serverfeatures.RegisterServerFeaturesServer(r, f)
}

func (f *featuresService) stopped() {}

// supported is what the recorded server listed: service, method, features.
var supported = func() []*serverfeatures.SupportedMethod {
	var out []*serverfeatures.SupportedMethod
	add := func(service string, features []string, methods ...string) {
		for _, m := range methods {
			out = append(out, &serverfeatures.SupportedMethod{ServiceName: "event_store.client." + service, MethodName: m,
				Features: features})
		}
	}
	add("persistent_subscriptions.persistentsubscriptions", []string{"stream", "all"},
		"create", "delete", "getinfo", "list", "read", "replayparked", "restartsubsystem", "update")
	add("streams.streams", nil, "append", "delete", "tombstone")
	add("streams.streams", []string{"position", "events"}, "read")
	add("streams.streams", []string{"deadline_duration"}, "batchappend")
	add("gossip.gossip", nil, "read")
	add("monitoring.monitoring", nil, "stats")
	add("operations.operations", nil, "mergeindexes", "resignnode", "restartpersistentsubscriptions", "setnodepriority",
		"shutdown", "startscavenge", "stopscavenge")
	add("redaction.redaction", nil, "geteventpositions", "switchchunks")
	add("server_features.serverfeatures", nil, "getsupportedmethods")
	add("users.users", nil, "changepassword", "create", "delete", "details", "disable", "enable",
		"resetpassword", "update")
	return out
}()

func (f *featuresService) GetSupportedMethods(ctx context.Context,
	_ *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	call := newCall(ctx, serverfeatures.ServerFeatures_GetSupportedMethods_FullMethodName)
	if err := f.server.calls.before(ctx, call); err != nil {
		return nil, err
	}
	return &serverfeatures.SupportedMethods{EventStoreServerVersion: f.server.cfg.version, Methods: supported}, nil
}
