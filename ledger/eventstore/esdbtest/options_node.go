package esdbtest

import (
	"crypto/tls"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// nodeConfig is what the options make of all that is not streams.
type nodeConfig struct {
	ticks        func() (<-chan time.Time, func()) // once a second; and what stops it
	groups       *groups                           // shared by the nodes of a cluster; nil: of its own
	member       *member                           // of a cluster; nil: alone
	faults       *Faults
	slowBy       time.Duration
	outage       time.Duration
	tls          *tls.Config // nil: no TLS, and no users
	certificates bool        // a client's certificate is a login
	users        map[string]*user
	forwards     bool // followers hand appends on to the leader
}

func defaultNodeConfig() nodeConfig {
	return nodeConfig{ticks: everySecond, slowBy: defaultSlow, outage: defaultOutage, users: defaultUsers()}
}

// everySecond is how often a real server looks at the timeouts and checkpoints of persistent subscriptions.
func everySecond() (<-chan time.Time, func()) {
	t := time.NewTicker(time.Second)
	return t.C, t.Stop
}

// WithTicks has the test say when a second is over: each time it sends, timeouts and checkpoints of persistent
// subscriptions are looked at. WithClock says what time it is then.
func WithTicks(ticks <-chan time.Time) Option {
	return func(c *config) error {
		c.ticks = func() (<-chan time.Time, func()) { return ticks, func() {} }
		return nil
	}
}

// defaultOutage is a bit more than the shortest deadline that a client would set.
const defaultOutage = time.Second

// WithOutage sets for how long a node stays away that the fault [FreezeLeader] froze; a second otherwise.
func WithOutage(d time.Duration) Option {
	return func(c *config) error {
		c.outage = d
		return nil
	}
}

// WithForwarding has the followers of a cluster hand appends on to the leader, unless the client asked for it with
// requires-leader. See [Cluster].
func WithForwarding() Option {
	return func(c *config) error {
		c.forwards = true
		return nil
	}
}

// prepare sets up what stands between a server's calls and its services: who may call, whether this node may answer,
// the hooks of its options, and its faults.
func (s *Server) prepare() {
	s.outages = outages{s}
	s.network = newNetwork(&s.cfg)
	if s.cfg.listen == nil && (s.cfg.faults != nil || s.cfg.member != nil) {
		s.cfg.listen = s.network.wrap
	}
	s.calls.use(Hooks{Before: s.authorize})
	if m := s.cfg.member; m != nil {
		s.calls.use(Hooks{Before: m.admit})
	}
	s.calls.use(s.cfg.hooks...)
	if s.cfg.faults != nil {
		s.calls.use(s.faultHooks())
	}
}

// nodeOptions are gRPC's, for what is not streams.
func (c *config) nodeOptions() []grpc.ServerOption {
	if c.tls == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(c.tls))}
}
