package esdbtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Server is a node. Its methods may be called at once.
//
//	New       a server that listens and answers
//	Start     the same for a test, which ends it
//	Stop      refuses new connections and cuts the old ones; the data stay, and the port is kept
//	Restart   stops it if need be, and listens on the same address with the same data; what a real node has in memory
//	          only, such as the ids of recent appends with Any, is forgotten
//	Close     stops it for good
type Server struct {
	cfg    config
	engine *engine
	parts  []part
	calls  calls
	// What stands between it and its clients, and how faults take it away for a while.
	network *network
	outages outages

	life    sync.Mutex   // held while it starts or stops, and by no call that it serves
	grpc    *grpc.Server // nil: stopped
	served  chan error   // what Serve said
	failure error        // what it said when it should not have ended
	release func()       // gives the port up
	closed  bool

	mu      sync.Mutex
	address string // of the listener; kept over a restart
}

// part is a group of services with a life of their own.
type part interface {
	// register adds the services to a server that is about to listen.
	register(grpc.ServiceRegistrar)
	// stopped is called after each stop, when no call runs: what a real node has in memory only is forgotten.
	stopped()
}

// newParts makes the server's parts.
func newParts(s *Server) []part {
	groups := s.cfg.groups
	if groups == nil {
		groups = newGroups(s.engine, &s.cfg)
	}
	return []part{&streamsService{server: s}, &featuresService{server: s}, &groupsService{server: s, groups: groups},
		&gossipService{server: s, instance: uuid.New()}}
}

// TB is what Start needs of a testing.TB.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Start starts a server that ends with the test.
func Start(tb TB, options ...Option) *Server {
	tb.Helper()
	s, err := New(options...)
	if err != nil {
		tb.Fatalf("start an EventStoreDB: %v", err)
		return nil
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close the EventStoreDB: %v", err)
		}
	})
	return s
}

// New starts a server, which the caller closes.
func New(options ...Option) (*Server, error) {
	cfg := defaultConfig()
	for _, set := range options {
		if err := set(&cfg); err != nil {
			return nil, err
		}
	}
	return newServer(cfg)
}

func newServer(cfg config) (*Server, error) {
	s := &Server{cfg: cfg, engine: cfg.engine, address: cfg.address}
	if s.engine == nil {
		s.engine = newEngine(cfg.clock)
	}
	s.prepare()
	s.parts = newParts(s)
	if err := s.Restart(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Address is host:port; the same before and after a restart.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

// ConnectionString is what the client is given.
func (s *Server) ConnectionString() string { return "esdb://" + s.Address() + s.cfg.query() }

// Restart starts the server again, on the same address and with the same data. A server that runs is stopped first.
func (s *Server) Restart() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return errors.New("esdbtest: the server is closed: make a new one")
	}
	s.stop()
	s.hold()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.Address())
	if err != nil {
		return fmt.Errorf("esdbtest: listen on %s: %w", s.Address(), err)
	}
	s.mu.Lock()
	s.address = listener.Addr().String()
	s.mu.Unlock()
	if s.cfg.listen != nil {
		listener = s.cfg.listen(listener)
	}
	s.grpc, s.served = grpc.NewServer(s.grpcOptions()...), make(chan error, 1)
	for _, p := range s.parts {
		p.register(s.grpc)
	}
	go func(g *grpc.Server, served chan<- error) {
		err := g.Serve(listener)
		if errors.Is(err, grpc.ErrServerStopped) {
			err = nil // it was stopped before it began
		}
		served <- err
	}(s.grpc, s.served)
	return nil
}

// hold keeps the port over restarts. Where that does not work, another may take it meanwhile, and Restart says so.
func (s *Server) hold() {
	if s.release != nil {
		return
	}
	held, release, err := holdPort(s.Address())
	if err != nil {
		s.release = func() {}
		return
	}
	s.release = release
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = held
}

// Stop ends the server as the end of its process would: its connections are cut, calls in flight end without an
// answer, though what they have written stays. Restart starts it again. It waits for the calls, so no hook may call it.
func (s *Server) Stop() {
	s.life.Lock()
	defer s.life.Unlock()
	s.stop()
}

func (s *Server) stop() {
	if s.grpc == nil {
		return
	}
	s.network.sever()
	s.grpc.Stop()
	s.failure = errors.Join(s.failure, <-s.served)
	s.grpc = nil
	for _, p := range s.parts {
		p.stopped()
	}
	if s.cfg.engine == nil {
		s.engine.forget()
	}
}

// Close stops the server for good. It may be called more than once. An error says that the server had ended before.
func (s *Server) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	s.stop()
	s.closed = true
	if s.release != nil {
		s.release()
		s.release = nil
	}
	return s.failure
}

const (
	maxAppend   = 1 << 20  // the data of all events of an append
	maxMessage  = 16 << 20 // one message on the wire
	maxCalls    = 100      // at once on one connection; the next one waits in the client
	minPingTime = 5 * time.Second
)

func (s *Server) grpcOptions() []grpc.ServerOption {
	return append(s.cfg.nodeOptions(),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingTime, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(trailUnary),
		grpc.ChainStreamInterceptor(trailStream),
	)
}
