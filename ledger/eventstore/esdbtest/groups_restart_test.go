package esdbtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/ledger/eventstore/esdbtest"
)

// What a group loses with its node, and what it does not.
func TestGroupGoesOnFromItsCheckpoint(t *testing.T) {
	t.Parallel()
	now := newSteps()
	server := esdbtest.Start(t, now.options()...)
	c := clientOf(t, server.ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) { s.CheckpointLowerBound, s.CheckpointAfter = 1, 200 })
	mustAppend(t, c, "s", someEvents(40)...)
	m := join(t, c, "s", "g", 30)
	for i, e := range m.take(30) {
		switch i {
		case 20:
			m.nack(esdb.NackActionPark, e)
		case 25:
		default:
			m.ack(e)
		}
	}
	until(t, c, "s", "g", "all but one are settled",
		func(s *counters) bool { return s.TotalInFlightMessages == 11 })
	now.pass(time.Second)

	for name, again := range map[string]func(){
		"restart":           func() { must(t, server.Restart()) },
		"subsystem restart": func() { must(t, restartSubsystem(t, clientOf(t, server.ConnectionString()))) },
	} {
		again()
		c := clientOf(t, server.ConnectionString())
		same(t, name+": parked", 1, statsOf(t, c, "s", "g").ParkedMessagesCount)
		m := join(t, c, "s", "g", 100)
		same(t, name+": 25 was not acked, and 26 to 29 were, above the checkpoint",
			"25/0 26/0 27/0 28/0 29/0 30/0 31/0 32/0 33/0 34/0 35/0 36/0 37/0 38/0 39/0", told(m.take(15)))
	}
}

func restartSubsystem(t *testing.T, c *esdb.Client) error {
	return c.RestartPersistentSubscriptionSubsystem(context.WithoutCancel(t.Context()),
		esdb.RestartPersistentSubscriptionSubsystemOptions{})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A checkpoint needs enough events, and enough time; very many are written at once.
func TestCheckpointsAreRare(t *testing.T) {
	t.Parallel()
	now := newSteps()
	c := clientOf(t, esdbtest.Start(t, now.options()...).ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) {
		s.CheckpointLowerBound, s.CheckpointUpperBound, s.CheckpointAfter = 5, 20, 2000
	})
	m := join(t, c, "s", "g", 100)
	settle := func(n int) {
		t.Helper()
		mustAppend(t, c, "s", someEvents(n)...)
		m.ack(m.take(n)...)
		until(t, c, "s", "g", "acked", func(s *counters) bool { return s.TotalInFlightMessages == 0 })
	}
	last := func() string {
		t.Helper()
		all := contentsOf(t, c, "$persistentsubscription-s::g-checkpoint")
		if len(all) == 0 {
			return "none"
		}
		return string(all[len(all)-1].Event.Data)
	}
	settle(4)
	now.pass(time.Minute)
	same(t, "too few", "none", last())
	settle(1)
	now.pass(time.Second)
	same(t, "enough", `"4"`, last())
	settle(5)
	now.pass(time.Second)
	same(t, "too early", `"4"`, last())
	now.pass(time.Second)
	same(t, "later", `"9"`, last())
	settle(25)
	same(t, "very many", `"29"`, last())
}
