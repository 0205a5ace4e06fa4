package esdbtest

import (
	"net"
	"sync"
	"time"
)

// defaultSlow is for how long a slow connection holds back each write.
const defaultSlow = 50 * time.Millisecond

// WithSlow sets for how long a connection that [SlowConnection] slows holds back each write; 50 ms otherwise.
func WithSlow(d time.Duration) Option {
	return func(c *config) error {
		c.slowBy = d
		return nil
	}
}

// network is what lies between a node and its clients. It can be frozen: then nothing comes in or goes out while every
// connection stays up, as with a process that was stopped.
type network struct {
	faults *Faults
	slowBy time.Duration

	mu     sync.Mutex
	conns  map[string]*conn // by the client's address; guarded by mu
	thawed chan struct{}    // closed while nothing is frozen; guarded by mu
	dead   bool             // severed, and not listening again yet; guarded by mu
}

func newNetwork(cfg *config) *network {
	n := &network{faults: cfg.faults, slowBy: cfg.slowBy, conns: map[string]*conn{}, thawed: make(chan struct{})}
	close(n.thawed)
	return n
}

// freeze stops everything until the node listens again.
func (n *network) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.thawed:
		n.thawed = make(chan struct{})
	default:
	}
}

// sever closes every connection, without a word, and each that is made before the node listens again.
func (n *network) sever() {
	n.mu.Lock()
	n.dead = true
	var all []*conn
	for _, c := range n.conns {
		all = append(all, c)
	}
	n.mu.Unlock()
	for _, c := range all {
		c.Close() //nolint:errcheck // it is to break
	}
}

func (n *network) close(address string) {
	n.mu.Lock()
	c := n.conns[address]
	n.mu.Unlock()
	if c != nil {
		c.Close() //nolint:errcheck // it is to break
	}
}

// wrap has the connections of a new listener go through the network, which is not frozen then.
func (n *network) wrap(l net.Listener) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead = false
	select {
	case <-n.thawed:
	default:
		close(n.thawed)
	}
	return &listener{l, n}
}

type listener struct {
	net.Listener
	network *network
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.network.faults.fires(RefuseConnection) {
			if tcp, ok := inner.(*net.TCPConn); ok {
				tcp.SetLinger(0) //nolint:errcheck // then it ends politely
			}
			inner.Close() //nolint:errcheck // it is to break
			continue
		}
		c := &conn{Conn: inner, network: l.network, closed: make(chan struct{})}
		if l.network.faults.fires(SlowConnection) {
			c.slowBy = l.network.slowBy
		}
		if !l.network.add(c) {
			inner.Close() //nolint:errcheck // it is to break
			continue
		}
		return c, nil
	}
}

func (n *network) add(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.dead {
		n.conns[c.RemoteAddr().String()] = c
	}
	return !n.dead
}

// conn is a connection that the network can hold back.
type conn struct {
	net.Conn
	network *network
	slowBy  time.Duration
	once    sync.Once
	closed  chan struct{}
}

// wait lets through what the network lets through.
func (c *conn) wait() error {
	c.network.mu.Lock()
	thawed := c.network.thawed
	c.network.mu.Unlock()
	select {
	case <-thawed:
		return nil
	default:
	}
	select {
	case <-thawed:
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if waited := c.wait(); waited != nil {
		return 0, waited
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if c.slowBy > 0 {
		t := time.NewTimer(c.slowBy)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	if err := c.wait(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.closed)
		c.network.mu.Lock()
		delete(c.network.conns, c.RemoteAddr().String())
		c.network.mu.Unlock()
		err = c.Conn.Close()
	})
	return err
}
