package esdbtest

import (
	"fmt"
	"slices"

	pp "github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/google/uuid"
)

// join adds a consumer, unless the group has as many as it may have, or is gone.
func (g *group) join(c *consumer) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return errGroupMissing(g.stream, g.name)
	}
	if n := int(g.settings.maxSubscribers); n > 0 && len(g.consumers) >= n {
		return errGroupFull(g)
	}
	g.consumers = append(g.consumers, c)
	g.strategy.joined(g.consumers)
	g.push()
	return nil
}

// leave takes a consumer out. What it had in flight is sent to the others first, as a retry that never parks.
func (g *group) leave(c *consumer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.consumers, c)
	if i < 0 {
		return // dropped before
	}
	g.consumers = slices.Delete(g.consumers, i, i+1)
	g.strategy.left(c, g.consumers)
	lost := c.lost()
	slices.SortFunc(lost, func(a, b *message) int { return int(int64(a.order) - int64(b.order)) }) //nolint:gosec // counts
	for _, m := range lost {
		if g.inFlight[m.event.id] == m {
			g.again(m)
		}
	}
	g.push()
}

// ack ends the messages of these ids, whoever has them. An id that is not in flight is nobody's fault: it may have
// timed out, and been acked by its second consumer.
func (g *group) ack(ids []uuid.UUID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		g.acked(id)
	}
	g.writeCheckpoint(false)
	g.push()
}

// acked settles one id. The caller holds the lock.
func (g *group) acked(id uuid.UUID) {
	m := g.inFlight[id]
	if m == nil {
		g.free(id)
		return
	}
	if g.faults.fires(RedeliverAcked) {
		g.again(m)
		m.retries-- // it was acked: nobody asked for another try
		return
	}
	g.free(id)
	g.finish(m)
}

// nack does with the messages of these ids what the consumer asks for.
func (g *group) nack(ids []uuid.UUID, action pp.ReadReq_Nack_Action, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		m := g.inFlight[id]
		if m == nil {
			continue
		}
		switch action {
		case pp.ReadReq_Nack_Retry, pp.ReadReq_Nack_Unknown:
			g.retryOrPark(m)
		case pp.ReadReq_Nack_Park:
			g.park(m, "Client explicitly NAK'ed message.\n"+reason)
		default: // skip; and stop, which a real server answers as it does skip
			g.free(id)
			g.finish(m)
		}
	}
	g.writeCheckpoint(false)
	g.push()
}

// retryOrPark sends a message once more, or parks it when it had its tries. The caller holds the lock.
func (g *group) retryOrPark(m *message) {
	if m.retries >= g.settings.maxRetries {
		g.park(m, fmt.Sprintf("Reached retry count of %d", g.settings.maxRetries))
		return
	}
	g.again(m)
}

// tick looks at the timeouts and the checkpoint, as a real server does once a second.
func (g *group) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return
	}
	now := g.clock()
	var late []*message
	for _, m := range g.inFlight {
		if m.expires.Before(now) {
			late = append(late, m)
		}
	}
	slices.SortFunc(late, func(a, b *message) int { return int(int64(a.order) - int64(b.order)) }) //nolint:gosec // counts
	for _, m := range late {
		g.retryOrPark(m)
	}
	g.writeCheckpoint(true)
	g.push()
}
