package esdbtest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	pp "github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
)

// KillLeader ends the leader as SIGKILL would, and says which it was; -1: there was none. Start it again with
// StartNode.
func (c *Cluster) KillLeader() int {
	i := c.Leader()
	if i >= 0 {
		c.StopNode(i)
	}
	return i
}

// StopNode ends a node as SIGKILL would. It waits for the node's calls, so no hook may call it, or KillLeader.
func (c *Cluster) StopNode(i int) {
	n := c.nodes[i]
	n.life.Lock()
	defer n.life.Unlock()
	n.network.sever() // first of all: no call in flight is answered any more
	c.mu.Lock()
	n.state = nodeDown
	led := c.leader == i
	if led {
		c.depose()
	}
	c.mu.Unlock()
	n.server.Stop()
	// Only now: nothing is written by the old leader any more when the new one answers.
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost(i, led)
}

// FreezeLeader stops the leader without an end to its connections, and says which it was; -1: there was none. What it
// had begun may still be committed; nobody is answered. StartNode starts it again.
func (c *Cluster) FreezeLeader() int {
	i := c.Leader()
	if i >= 0 {
		c.freeze(i)
	}
	return i
}

// freeze freezes a node that leads; false: it does not.
func (c *Cluster) freeze(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != i {
		return false
	}
	c.nodes[i].network.freeze()
	c.nodes[i].state = nodeFrozen
	c.depose()
	c.lost(i, true)
	return true
}

// ChangeLeader has the leader resign in favour of the next node that is up, and says which leads now; -1: none does.
func (c *Cluster) ChangeLeader() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader >= 0 {
		old := c.leader
		c.depose()
		c.elect(old + 1)
	}
	return c.leader
}

// StartNode starts a node that is down or frozen. It follows, or leads if there was no leader.
func (c *Cluster) StartNode(i int) error {
	n := c.nodes[i]
	n.life.Lock()
	defer n.life.Unlock()
	c.mu.Lock()
	up := n.state == nodeUp
	c.mu.Unlock()
	if up {
		return nil
	}
	n.network.sever()
	if err := n.server.Restart(); err != nil {
		return fmt.Errorf("start node %d again: %w", i, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n.state = nodeUp
	if c.leader < 0 {
		c.elect(i)
	}
	return nil
}

// HoldElections keeps the cluster without a leader once it lost the one it has, until Elect.
func (c *Cluster) HoldElections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// Elect ends HoldElections, and says which node leads now; -1: too few are up.
func (c *Cluster) Elect() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = c.closed
	if c.leader < 0 {
		c.elect(0)
	}
	return c.leader
}

// lost takes note that a node is gone, and whether it led. The caller holds the lock.
func (c *Cluster) lost(i int, led bool) {
	switch {
	case led && c.leader < 0:
		c.elect(i + 1)
	case c.leader >= 0 && c.up() < c.majority():
		c.depose()
	}
}

// depose leaves the cluster without a leader. What a real leader has in memory only is gone. The caller holds the lock.
func (c *Cluster) depose() {
	c.leader = -1
	c.groups.halt()
	c.engine.forget()
}

// elect makes the first node from a number on that is up the leader. The caller holds the lock.
func (c *Cluster) elect(from int) {
	if c.held || c.closed || c.up() < c.majority() {
		return
	}
	for k := range c.nodes {
		if i := (from + k) % len(c.nodes); c.nodes[i].state == nodeUp {
			c.leader = i
			c.groups.start()
			return
		}
	}
}

func (c *Cluster) up() int {
	n := 0
	for _, x := range c.nodes {
		if x.state == nodeUp {
			n++
		}
	}
	return n
}

func (c *Cluster) majority() int { return len(c.nodes)/2 + 1 }

// need is who may answer a call.
type need int

const (
	anyNode    need = iota
	leaderNode      // others say who leads
	readyNode       // others are not ready
)

func needs(call *Call) need {
	switch {
	case strings.HasPrefix(call.Method, "/"+pp.PersistentSubscriptions_ServiceDesc.ServiceName+"/"):
		return readyNode
	case call.Method == streams.Streams_Read_FullMethodName && !requiresLeader(call),
		!strings.HasPrefix(call.Method, "/"+streams.Streams_ServiceDesc.ServiceName+"/"):
		return anyNode
	}
	return leaderNode
}

func requiresLeader(call *Call) bool {
	v := call.Metadata.Get("requires-leader")
	return len(v) > 0 && strings.EqualFold(v[0], "true")
}

func errNotLeader(host string, port uint32) *Error {
	return failure(codes.NotFound, "Leader info available", "exception", "not-leader",
		"leader-endpoint-host", host, "leader-endpoint-port", strconv.FormatUint(uint64(port), 10))
}

// outages are how the faults KillLeader and FreezeLeader take a node away, for a while.
type outages struct{ server *Server }

// spare says whether the database survives that.
func (o outages) spare() bool {
	m := o.server.cfg.member
	if m == nil {
		return true
	}
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed && c.leader == m.index && (len(c.nodes) == 1 || c.up() > c.majority())
}

func (o outages) kill() {
	m := o.server.cfg.member
	o.server.network.sever()
	if m == nil {
		go o.server.Restart() //nolint:errcheck // it can't listen: then clients see that
		return
	}
	go func() {
		m.cluster.StopNode(m.index)
		m.cluster.StartNode(m.index) //nolint:errcheck // as above
	}()
}

// freeze is over after a while: then the node starts again.
func (o outages) freeze() {
	m := o.server.cfg.member
	if m == nil {
		o.server.network.freeze()
		time.AfterFunc(o.server.cfg.outage, func() { o.kill() })
		return
	}
	if m.cluster.freeze(m.index) {
		time.AfterFunc(o.server.cfg.outage, func() { m.cluster.StartNode(m.index) }) //nolint:errcheck // as above
	}
}
