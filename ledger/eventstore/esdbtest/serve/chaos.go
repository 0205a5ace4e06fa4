package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"hookledger/ledger/eventstore/esdbtest"
)

// database is a node or a cluster.
type database interface {
	ConnectionString() string
	Close() error
}

func (s *settings) start() (database, *esdbtest.Faults, error) {
	options, faults, err := s.options()
	if err != nil {
		return nil, nil, err
	}
	if s.nodes == 1 {
		server, err := esdbtest.New(options...)
		if err != nil {
			return nil, nil, err
		}
		return server, faults, nil
	}
	cluster, err := esdbtest.NewCluster(s.nodes, options...)
	if err != nil {
		return nil, nil, err
	}
	return cluster, faults, nil
}

// chaos takes nodes away and brings them back, one at a time, so that a cluster keeps its majority.
type chaos struct {
	settings *settings
	database database
	draw     *rand.Rand
	done     map[string]int // how often what was done
}

func newChaos(s *settings, db database) *chaos {
	return &chaos{settings: s, database: db, draw: rand.New(rand.NewPCG(s.seed, 1)), done: map[string]int{}}
}

// run ends with ctx.
func (c *chaos) run(ctx context.Context) error {
	leader, restart := c.after(c.settings.leaderChange), c.after(c.settings.restart)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-leader:
			if err := c.changeLeader(ctx); err != nil {
				return err
			}
			leader = c.after(c.settings.leaderChange)
		case <-restart:
			if err := c.restartNode(); err != nil {
				return err
			}
			restart = c.after(c.settings.restart)
		}
	}
}

// after fires between half of d and half more than d from now; never if d is 0.
func (c *chaos) after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d/2 + time.Duration(c.draw.Int64N(int64(d))))
}

func (c *chaos) changeLeader(ctx context.Context) error {
	cluster, ok := c.database.(*esdbtest.Cluster)
	if !ok {
		return nil
	}
	switch c.draw.IntN(3) {
	case 0:
		c.done["leader killed"]++
		return startAgain(cluster, cluster.KillLeader())
	case 1:
		c.done["leader frozen"]++
		i := cluster.FreezeLeader()
		select {
		case <-ctx.Done():
		case <-time.After(c.settings.outage):
		}
		return startAgain(cluster, i)
	default:
		c.done["leader resigned"]++
		cluster.ChangeLeader()
		return nil
	}
}

func (c *chaos) restartNode() error {
	c.done["node restarted"]++
	if cluster, ok := c.database.(*esdbtest.Cluster); ok {
		i := c.draw.IntN(c.settings.nodes)
		cluster.StopNode(i)
		return startAgain(cluster, i)
	}
	if server, ok := c.database.(*esdbtest.Server); ok {
		return server.Restart()
	}
	return nil
}

func startAgain(cluster *esdbtest.Cluster, i int) error {
	if i < 0 {
		return nil // there was no leader to take away
	}
	return cluster.StartNode(i)
}

// String lists what was done.
func (c *chaos) String() string {
	var parts []string
	for _, what := range []string{"leader killed", "leader frozen", "leader resigned", "node restarted"} {
		if n := c.done[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", what, n))
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
