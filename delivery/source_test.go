package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"hookledger/domain"
	"hookledger/ledger"
)

// fill makes n deliveries of an endpoint due.
func fill(b *memBacklog, tenant, endpoint string, n int, now time.Time) {
	for i := range n {
		b.add(domain.Due{Tenant: tenant, Endpoint: endpoint, Event: "evt", DueAt: now, Revision: domain.NoStream,
			Delivery: fmt.Sprintf("dlv_%s_%s_%06d", tenant, endpoint, i)})
	}
}

// consumer takes messages of a Source and acks them at will.
type consumer struct {
	t    *testing.T
	w    *world
	s    *Source
	msgs <-chan *message.Message
	stop context.CancelFunc
	open []*message.Message
}

func newConsumer(t *testing.T, change ...func(*Config)) *consumer {
	w := newWorld(t, change...)
	return &consumer{t: t, w: w, s: w.d.source}
}

func (c *consumer) subscribe() {
	ctx, cancel := context.WithCancel(context.Background())
	msgs, err := c.s.Subscribe(ctx, "due")
	if err != nil {
		c.t.Fatal(err)
	}
	c.msgs, c.stop = msgs, cancel
}

// next gives the next message, nil when the source gives none (in a bubble: when all rest).
func (c *consumer) next() *message.Message {
	synctest.Wait()
	select {
	case m := <-c.msgs:
		if m != nil {
			c.open = append(c.open, m)
		}
		return m
	default:
		return nil
	}
}

// takeAll takes until the source gives no more.
func (c *consumer) takeAll() (n int) {
	for c.next() != nil {
		n++
	}
	return n
}

// settle acks a message as one whose attempt came to an end.
func (c *consumer) settle(m *message.Message, timedOut bool) {
	it := itemOf(m.Context())
	it.tried, it.timedOut = true, timedOut
	c.ack(m)
}

// ack acks a message, again where it was, as the handler and the Router do.
func (c *consumer) ack(m *message.Message) {
	if it := itemOf(m.Context()); !it.over {
		c.s.settle(it, nil)
	}
	m.Ack()
}

func (c *consumer) nack(m *message.Message) {
	c.s.settle(itemOf(m.Context()), errors.New("the ledger could not be written"))
	m.Nack()
}

func (c *consumer) end() {
	for _, m := range c.open {
		c.ack(m)
	}
	c.stop()
	if err := c.s.Close(); err != nil {
		c.t.Error(err)
	}
	synctest.Wait()
}

func TestSemantics_FairAcrossTenantsFirstThenEndpoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t, func(cfg *Config) { cfg.Window = 8 })
		now := time.Now()
		for i := range 20 { // one tenant crowds in with 20 endpoints, the other has one
			fill(c.w.backlog, "crowd", fmt.Sprintf("ep%02d", i), 50, now)
		}
		fill(c.w.backlog, "alone", "ep", 50, now)
		c.subscribe()
		got, perEndpoint := map[string]int{}, map[string]int{}
		for range 80 {
			m := c.next()
			if m == nil {
				t.Fatal("the source gave nothing")
			}
			it := itemOf(m.Context())
			got[it.due.Tenant]++
			perEndpoint[it.due.Tenant+it.due.Endpoint]++
			c.settle(m, false)
		}
		if got["alone"] != 40 || got["crowd"] != 40 {
			t.Errorf("of 80 turns the tenants got %v", got)
		}
		for i := range 20 {
			if n := perEndpoint[fmt.Sprintf("crowdep%02d", i)]; n != 2 {
				t.Errorf("of its tenant's 40 turns endpoint %d got %d", i, n)
			}
		}
		c.end()
	})
}

// Between two turns of a healthy endpoint at most one turn of each other endpoint lies, and endpoints that hang come to
// hold no more than their quarter of the window.
func TestSemantics_TimedOutEndpointsShareAQuarterOfTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window, hung = 64, 5
		c := newConsumer(t, func(cfg *Config) { cfg.Window = window })
		now := time.Now()
		for i := range hung {
			fill(c.w.backlog, "t", fmt.Sprintf("hung%d", i), 1000, now)
		}
		fill(c.w.backlog, "t", "healthy", 1000, now)
		c.subscribe()
		isHung := func(m *message.Message) bool { return itemOf(m.Context()).due.Endpoint != "healthy" }

		// They fill the window but for a place: then all that was sent to the hung ones times out.
		c.takeAll()
		for range 3 {
			open := c.open
			c.open = nil
			for _, m := range open {
				c.settle(m, isHung(m))
			}
			c.takeAll()
		}
		// From now on they hang for good; the healthy one is answered at once.
		between, turns := 0, 0
		for turns < 200 {
			var rest []*message.Message
			for _, m := range c.open {
				if isHung(m) {
					rest = append(rest, m)
				} else {
					c.settle(m, false)
				}
			}
			if len(rest) > window/4 {
				t.Fatalf("the hung endpoints hold %d of %d places", len(rest), window)
			}
			c.open = rest
			m := c.next()
			if m == nil {
				t.Fatal("the healthy endpoint waits for the hung ones")
			}
			if isHung(m) {
				if between++; between > hung {
					t.Fatalf("%d turns of hung endpoints before one of the healthy one", between)
				}
				continue
			}
			between, turns = 0, turns+1
		}
		c.end()
	})
}

// One endpoint with a great backlog leaves room, before anything is known of it.
func TestOneEndpointNeverHoldsTheWholeWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window = 256
		c := newConsumer(t, func(cfg *Config) { cfg.Window = window })
		for i := range 3 {
			fill(c.w.backlog, "t", fmt.Sprintf("hog%d", i), 1000, time.Now())
			if i == 0 {
				c.subscribe()
				if n := c.takeAll(); n != window*3/4 {
					t.Errorf("the first took %d places", n)
				}
				continue
			}
			if n := c.takeAll(); n == 0 {
				t.Errorf("endpoint %d found no place", i)
			}
		}
		c.end()
	})
}

func TestSourceKeepsTheWindowAndTheEndpointsBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t, func(cfg *Config) { cfg.Window = 40 })
		c.w.endpoint("bounded", hook, func(e *domain.EndpointConfig) { e.MaxInFlight = 3 })
		fill(c.w.backlog, "default", "bounded", 100, time.Now())
		c.subscribe()
		if n := c.takeAll(); n != 3 || c.s.InUse() != 3 {
			t.Fatalf("%d under way, %d in use", n, c.s.InUse())
		}
		c.settle(c.open[0], false)
		if n := c.takeAll(); n != 1 {
			t.Fatalf("%d came after one ended", n)
		}
		for i := range 20 {
			fill(c.w.backlog, "other", fmt.Sprintf("ep%d", i), 100, time.Now())
		}
		c.takeAll()
		if n := c.s.InUse(); n != 40 {
			t.Fatalf("%d in a window of 40", n)
		}
		c.end()
	})
}

func TestSourceKeepsTheEndpointsRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t)
		c.w.endpoint("slow", hook, func(e *domain.EndpointConfig) { e.RateLimit = 2 })
		fill(c.w.backlog, "default", "slow", 100, time.Now())
		c.subscribe()
		start := time.Now()
		for i := range 9 {
			m := <-c.msgs
			if at := time.Since(start).Round(time.Millisecond); at != time.Duration(i)*500*time.Millisecond {
				t.Fatalf("number %d came after %s", i, at)
			}
			c.settle(m, false)
		}
		// A changed limit is seen within a second.
		c.w.house.change("slow", func(e *domain.Endpoint) { e.Config.RateLimit = 0 })
		<-time.After(maxPark)
		if n := c.takeAll(); n < 50 {
			t.Fatalf("%d came when the limit was lifted", n)
		}
		c.end()
	})
}

func TestSemantics_NoAttemptStartsWithoutRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		c := newConsumer(t, func(cfg *Config) {
			cfg.Room = func() error {
				if full.Load() {
					return domain.Refuse(domain.KindNoRoom, "no_room", "the disk is nearly full", "make room")
				}
				return nil
			}
		})
		fill(c.w.backlog, "t", "ep", 3, time.Now())
		c.subscribe()
		<-time.After(time.Minute)
		if n := c.takeAll(); n != 0 {
			t.Fatalf("%d were taken without room", n)
		}
		full.Store(false)
		<-time.After(roomPoll)
		if n := c.takeAll(); n != 3 {
			t.Fatalf("%d were taken when there was room again", n)
		}
		c.end()
	})
}

// A Nack says that the ledger could not be written: what comes then is slow, never a hot loop.
func TestSourceRedeliversANackSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t)
		fill(c.w.backlog, "t", "ep", 10, time.Now())
		c.subscribe()
		stop := time.After(10 * time.Minute)
		nacks := 0
		for open := true; open; {
			select {
			case m := <-c.msgs:
				nacks++
				c.nack(m)
			case <-stop:
				open = false
			}
		}
		if most := 10 * int(10*time.Minute/nackDelay); nacks < 20 || nacks > most {
			t.Errorf("%d nacks in ten minutes", nacks)
		}
		synctest.Wait()
		// When the ledger can be written again, all ten come.
		done := map[string]bool{}
		for len(done) < 10 {
			m := <-c.msgs
			done[m.UUID] = true
			c.settle(m, false)
		}
		c.end()
	})
}

func TestSourceEndsAsWatermillAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t)
		fill(c.w.backlog, "t", "ep", 3, time.Now())
		c.subscribe()
		if _, err := c.s.Subscribe(context.Background(), "due"); err == nil {
			t.Error("a second subscription was taken")
		}
		acked, nacked, held := c.next(), c.next(), c.next()
		early := acked.Context().Done()
		if acked.Context().Err() != nil {
			t.Error("the context ended before the ack")
		}
		c.ack(acked)
		c.nack(nacked)
		synctest.Wait()
		for _, m := range []*message.Message{acked, nacked} {
			if m.Context().Err() == nil {
				t.Error("the context lives on after the ack")
			}
			<-m.Context().Done()
		}
		<-early
		if held.Context().Err() != nil {
			t.Error("another message's context ended")
		}
		for range 2 {
			if err := c.s.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, open := <-c.msgs; open {
			t.Error("the channel is open after Close")
		}
		<-held.Context().Done()
		c.ack(held)
		synctest.Wait()
		if n := c.s.InUse(); n != 0 {
			t.Errorf("%d places are taken after the end", n)
		}
		if _, err := c.s.Subscribe(context.Background(), "due"); err == nil {
			t.Error("a closed source took a subscription")
		}
		c.stop()
	})
}

// What was picked and not handed out when the flow ends goes back.
func TestSourceReturnsWhatItDidNotHandOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsumer(t)
		fill(c.w.backlog, "t", "ep", 1, time.Now())
		c.subscribe()
		synctest.Wait() // it is offered now, and nobody takes it
		c.stop()
		synctest.Wait()
		if _, ok := c.w.backlog.Take(domain.EndpointKey{Tenant: "t", Endpoint: "ep"}, time.Now()); !ok || c.s.InUse() != 0 {
			t.Fatal("the delivery was lost")
		}
	})
}

// Through the Router, a ledger that can't be written makes no hot loop either, and nothing is sent.
func TestRouterDoesNotLoopWhileTheLedgerIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoint("ep", hook)
		sent := w.counted(ok200)
		tries := 0
		w.store.setFault(func(int, []domain.Record) (bool, error) {
			tries++
			return false, fmt.Errorf("the disk is on holiday: %w", ledger.ErrUnavailable)
		})
		ids := []string{w.due("ep"), w.due("ep"), w.due("ep")}
		stop := w.run()
		<-time.After(10 * time.Minute)
		synctest.Wait()
		if tries > 600 || *sent != 0 {
			t.Errorf("%d appends were tried in ten minutes, %d requests sent", tries, *sent)
		}
		w.store.setFault(nil)
		<-time.After(time.Minute)
		synctest.Wait()
		for _, id := range ids {
			sameTypes(t, w.store.types(id), all(first, success)...)
		}
		stop()
		if errors.Is(w.d.recording.Err(), nil) {
			t.Error("the end left the recording context open")
		}
	})
}
