package esdbtest

import (
	"fmt"
	"net"
	"time"
)

// config is what the options make.
type config struct {
	address string
	version string
	clock   func() time.Time
	// patience is how long a live subscription's full buffer may stand still.
	patience time.Duration
	hooks    []Hooks
	engine   *engine                         // shared by the nodes of a cluster; nil: one of its own
	listen   func(net.Listener) net.Listener // wraps what accepts connections; nil: as it is
	nodeConfig
}

func defaultConfig() config {
	return config{address: "127.0.0.1:0", version: "23.10.8", clock: time.Now,
		patience: 20 * time.Millisecond, nodeConfig: defaultNodeConfig()}
}

// Option sets how a server is.
type Option func(*config) error

// WithAddress makes it listen on host:port instead of a free port of 127.0.0.1.
func WithAddress(address string) Option {
	return func(c *config) error {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("esdbtest: the address %q is not host:port: %w", address, err)
		}
		c.address = address
		return nil
	}
}

// WithVersion makes it report another version than 23.10.8; it behaves the same.
func WithVersion(version string) Option {
	return func(c *config) error {
		c.version = version
		return nil
	}
}

// WithClock gives it the time, by which events are dated and $maxAge is judged.
func WithClock(now func() time.Time) Option {
	return func(c *config) error {
		c.clock = now
		return nil
	}
}

// WithHooks has calls pass through hooks, in the order in which they were given.
func WithHooks(h Hooks) Option {
	return func(c *config) error {
		c.hooks = append(c.hooks, h)
		return nil
	}
}

// WithPatience sets for how long a live subscription may take nothing while 32 messages wait for it, before it is
// dropped with Aborted, "Consumer too slow". A real node has no patience; the default, 20 ms, spares a reader that
// reads all the time.
func WithPatience(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("esdbtest: the patience %v is not positive", d)
		}
		c.patience = d
		return nil
	}
}
