package bench

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// arrival says when a load arrived at the receiver, and when the read models held all of it.
type arrival struct{ first, last, caughtUp time.Time }

// Bounds of the watch: how often it looks, and how long nothing may happen.
const (
	lookEvery = 20 * time.Millisecond
	stuckFor  = 2 * time.Minute
)

// await waits until the receiver has taken so many deliveries and the read models hold them all as ended.
func (s *stage) await(ctx context.Context, title string, deliveries int) (arrival, error) {
	bar := s.cfg.Bar(title, int64(deliveries))
	defer bar.Done()
	var got stats
	changed := time.Now()
	for got.Unique < int64(deliveries) {
		now, err := s.stats(ctx)
		if err != nil {
			return arrival{}, err
		}
		if now.Invalid > 0 {
			return arrival{}, fmt.Errorf("%d requests did not verify", now.Invalid)
		}
		if now.Unique != got.Unique {
			changed = time.Now()
		}
		if time.Since(changed) > stuckFor {
			return arrival{}, fmt.Errorf("nothing arrived for %s: %d of %d deliveries did\n%s", stuckFor, now.Unique, deliveries,
				s.serve.log)
		}
		got = now
		bar.Set(got.Unique)
		if err := wait(ctx, lookEvery); err != nil {
			return arrival{}, err
		}
	}
	at, err := s.caughtUp(ctx)
	return arrival{got.FirstAt, got.LastAt, at}, err
}

// caughtUp waits until the read models stand at the ledger's head and show no delivery that has not ended.
func (s *stage) caughtUp(ctx context.Context) (time.Time, error) {
	begin := time.Now()
	for {
		done, err := s.settled(ctx)
		if err != nil || done {
			return time.Now(), err
		}
		if time.Since(begin) > stuckFor {
			return time.Time{}, fmt.Errorf("the read models did not catch up within %s\n%s", stuckFor, s.serve.log)
		}
		if err := wait(ctx, lookEvery/4); err != nil {
			return time.Time{}, err
		}
	}
}

func (s *stage) settled(ctx context.Context) (bool, error) {
	var page struct {
		Data []struct {
			Position uint64 `json:"position"`
			Head     uint64 `json:"head"`
			Error    string `json:"error"`
		} `json:"data"`
	}
	if _, err := s.call(ctx, http.MethodGet, s.api("/v1/projections"), nil, &page); err != nil {
		return false, err
	}
	for _, p := range page.Data {
		if p.Error != "" {
			return false, fmt.Errorf("a projection stopped: %s", p.Error)
		}
		if p.Position < p.Head {
			return false, nil
		}
	}
	for _, status := range []string{"pending", "in_flight", "retrying"} {
		var open struct {
			Data []any `json:"data"`
		}
		if _, err := s.call(ctx, http.MethodGet, s.api("/v1/deliveries?limit=1&status="+status), nil, &open); err != nil {
			return false, err
		}
		if len(open.Data) > 0 {
			return false, nil
		}
	}
	return len(page.Data) > 0, nil
}

// endToEnd publishes and waits for the last delivery and the read models; it gives the times of the requests and the
// rate from the first request on.
func (s *stage) endToEnd(ctx context.Context, prefix string, events, conns, batch int) (times, float64, error) {
	if err := s.resetReceiver(ctx); err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	acks, err := s.publish(ctx, "publishing", prefix, events, conns, batch)
	if err != nil {
		return nil, 0, err
	}
	got, err := s.await(ctx, "delivering", events*s.cfg.Endpoints)
	if err != nil {
		return nil, 0, err
	}
	return acks, float64(events*s.cfg.Endpoints) / got.caughtUp.Sub(begin).Seconds(), nil
}

// The latency is measured at a load that nothing queues at: with many endpoints, at fewer events a second.
const (
	latencyRate       = 50  // events per second
	latencyDeliveries = 500 // per second, at most
	latencyEvents     = 1000
)

func (c *Config) latencyRate() int { return max(1, min(latencyRate, latencyDeliveries/c.Endpoints)) }

// latency publishes at a steady rate and gives the time from each ack to the arrival of its first delivery; both clocks
// are this machine's.
func (s *stage) latency(ctx context.Context, prefix string) (times, error) {
	if err := s.startReceiver(ctx, "--arrivals", "--latency", s.cfg.ReceiverLatency.String()); err != nil {
		return nil, err
	}
	acked, err := s.steady(ctx, prefix, min(latencyEvents, s.cfg.events()))
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, "latency", len(acked)*s.cfg.Endpoints); err != nil {
		return nil, err
	}
	return s.arrivals(ctx, prefix, acked)
}

// steady publishes so many events at a steady rate, and gives the time of each ack.
func (s *stage) steady(ctx context.Context, prefix string, events int) ([]time.Time, error) {
	return s.paced(ctx, events, s.cfg.latencyRate(), func(i int) []byte { return s.cfg.post(nil, fmt.Sprint(prefix, i)) })
}

// paced posts so many bodies, rate of them a second, and gives the time of each ack.
func (s *stage) paced(ctx context.Context, events, rate int, body func(i int) []byte) ([]time.Time, error) {
	client, done := loader(16)
	defer done()
	bar := s.cfg.Bar("latency", int64(events))
	defer bar.Done()
	acked := make([]time.Time, events)
	errs := make([]error, events)
	begin := time.Now()
	var all sync.WaitGroup
	for i := range events {
		if err := wait(ctx, time.Until(begin.Add(time.Duration(i)*time.Second/time.Duration(rate)))); err != nil {
			all.Wait()
			return nil, err
		}
		all.Go(func() {
			acked[i], errs[i] = s.postOne(ctx, client, body(i))
			bar.Add(1)
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return acked, nil
}

// arrivals is how long after its ack each event's first delivery arrived.
func (s *stage) arrivals(ctx context.Context, prefix string, acked []time.Time) (times, error) {
	arrivals := map[string]int64{}
	if _, err := s.call(ctx, http.MethodGet, "http://"+s.receiveAddr+"/arrivals", nil, &arrivals); err != nil {
		return nil, err
	}
	out := make(times, len(acked))
	for i := range out {
		at, ok := arrivals[fmt.Sprint(prefix, i)]
		if !ok {
			return nil, fmt.Errorf("event %s did not arrive", fmt.Sprint(prefix, i))
		}
		out[i] = time.Unix(0, at).Sub(acked[i])
	}
	return out, nil
}
