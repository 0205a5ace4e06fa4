package esdbtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// Cluster is a database of several nodes, one of which leads. The nodes have one log, so a follower is never behind.
// What a follower can't do it leaves to the leader: it answers an append with not-leader and the leader's address, and
// everything about groups with Unavailable, "Server Is Not Ready". A new leader is elected at once when a majority of
// the nodes is up; with HoldElections a test has the time in between for itself.
//
//	KillLeader     its connections break, what was in flight has no answer
//	FreezeLeader   its connections stay up and silent, as with SIGSTOP
//	ChangeLeader   it resigns: its connections stay up, and it answers not-leader from now on
//	StopNode       the same as KillLeader for any node
//	StartNode      starts a node that is down or frozen; a frozen one loses its connections then
//
// A real follower says not-leader to clients that ask for the leader, and hands the appends of others on to it. The Go
// client v4.2.0 means to ask and does not (it puts requires-leader where only a server would read it). By default every
// client is taken to have asked; WithForwarding goes by what was sent.
type Cluster struct {
	forwards bool // see WithForwarding
	groups   *groups
	engine   *engine

	mu     sync.Mutex
	nodes  []*node // set once, when all of them are there
	leader int     // -1: none
	held   bool    // no elections
	closed bool
}

// node is guarded by the cluster's lock, except for what never changes.
type node struct {
	server   *Server
	network  *network
	instance uuid.UUID
	host     string
	port     uint32
	life     sync.Mutex // held while it is started or stopped; taken before the cluster's lock
	state    nodeState
}

type nodeState int

const (
	nodeUp nodeState = iota
	nodeDown
	nodeFrozen
)

// StartCluster starts a cluster that ends with the test.
func StartCluster(tb TB, nodes int, options ...Option) *Cluster {
	tb.Helper()
	c, err := NewCluster(nodes, options...)
	if err != nil {
		tb.Fatalf("start a cluster of EventStoreDB: %v", err)
		return nil
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("close the cluster of EventStoreDB: %v", err)
		}
	})
	return c
}

// NewCluster starts a cluster, which the caller closes. Every option is every node's; with a port in the address the
// nodes take it and those behind it.
func NewCluster(size int, options ...Option) (*Cluster, error) {
	if size < 1 {
		return nil, fmt.Errorf("esdbtest: a cluster of %d nodes: it needs at least one, and an odd number is of use", size)
	}
	base := defaultConfig()
	for _, set := range options {
		if err := set(&base); err != nil {
			return nil, err
		}
	}
	c := &Cluster{leader: -1, engine: newEngine(base.clock), forwards: base.forwards}
	c.groups = newGroups(c.engine, &base)
	var nodes []*node
	for i := range size {
		n, err := c.newNode(i, base)
		if err != nil {
			for _, n := range nodes {
				err = errors.Join(err, n.server.Close())
			}
			return nil, err
		}
		nodes = append(nodes, n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = nodes
	c.elect(0)
	return c, nil
}

func (c *Cluster) newNode(i int, cfg config) (*node, error) {
	host, port, err := net.SplitHostPort(cfg.address)
	if err != nil {
		return nil, fmt.Errorf("esdbtest: the address %q is not host:port: %w", cfg.address, err)
	}
	if first, err := strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("esdbtest: the port %q is no number: %w", port, err)
	} else if first > 0 {
		cfg.address = net.JoinHostPort(host, strconv.Itoa(first+i))
	}
	cfg.engine, cfg.groups, cfg.member = c.engine, c.groups, &member{cluster: c, index: i}
	server, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	n := &node{server: server, network: server.network, instance: uuid.New()}
	n.host, n.port = endpointOf(server.Address())
	return n, nil
}

// endpointOf splits what a listener says of itself.
func endpointOf(address string) (host string, port uint32) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return host, 0
	}
	return host, uint32(n)
}

// ConnectionString names all nodes, so that the client asks them which one leads.
func (c *Cluster) ConnectionString() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, n := range c.nodes {
		all = append(all, net.JoinHostPort(n.host, strconv.Itoa(int(n.port))))
	}
	return "esdb://" + strings.Join(all, ",") + c.nodes[0].server.cfg.query()
}

// Node gives a node, to add hooks or to connect to it alone. Stop and start it by the cluster's methods.
func (c *Cluster) Node(i int) *Server {
	return c.nodes[i].server
}

// Leader is the number of the node that leads; -1: none does.
func (c *Cluster) Leader() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// Close stops all nodes for good.
func (c *Cluster) Close() error {
	c.mu.Lock()
	c.closed, c.held, c.leader = true, true, -1
	nodes := c.nodes
	c.mu.Unlock()
	c.groups.halt()
	var errs []error
	for _, n := range nodes {
		n.network.sever()
		errs = append(errs, n.server.Close())
	}
	return errors.Join(errs...)
}

// member is a node's place in its cluster; nil for a node that is alone.
type member struct {
	cluster *Cluster
	index   int
}

// admit says whether a node may answer a call itself.
func (m *member) admit(_ context.Context, call *Call) error {
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader == m.index {
		return nil
	}
	switch needs(call) {
	case anyNode:
		return nil
	case leaderNode:
		if c.leader >= 0 && c.forwards && !requiresLeader(call) {
			return nil // there is one log: it is as if the leader did it
		}
		if c.leader >= 0 {
			l := c.nodes[c.leader]
			return errNotLeader(l.host, l.port)
		}
	}
	return errNotReady()
}
