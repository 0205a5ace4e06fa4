package delivery

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hookledger/domain"
)

// storm counts the requests that reach a receiver, by second.
type storm struct {
	mu       sync.Mutex
	up       time.Time
	perSec   map[int64]int
	inFlight int
	most     int
}

func (s *storm) RoundTrip(*http.Request) (*http.Response, error) {
	s.mu.Lock()
	if time.Now().Before(s.up) {
		s.mu.Unlock()
		return nil, errors.New("connection refused")
	}
	s.perSec[time.Now().Unix()]++
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	s.mu.Unlock()
	<-time.After(50 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	return answer(http.StatusOK, ""), nil
}

// TestSemantics_NoRetryStormAfterAnOutage: everything was down for an hour, and a thousand deliveries failed for the
// first time in one moment. When all is up again, their retries come spread over time, within the endpoint's limit, and
// what happens from then on goes out at once.
func TestSemantics_NoRetryStormAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const pending, limit = 1000, 8
		random := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		w := newWorld(t, func(c *Config) {
			c.Jitter = func() float64 { mu.Lock(); defer mu.Unlock(); return 2*random.Float64() - 1 }
		})
		w.endpoint("ep", "http://receiver.example/", func(e *domain.EndpointConfig) {
			e.MaxInFlight, e.RetrySchedule = limit, domain.DefaultRetrySchedule()
		})
		receiver := &storm{up: time.Now().Add(time.Hour), perSec: map[int64]int{}}
		w.d.sender.transport = receiver
		var deliveries []string
		for range pending {
			deliveries = append(deliveries, w.due("ep"))
		}
		stop := w.run()
		<-time.After(time.Hour + time.Second)
		fresh := w.due("ep")
		<-time.After(time.Second)
		if got := w.state(fresh).Status; got != domain.StatusSucceeded {
			t.Errorf("what was posted after the outage is %s a second later", got)
		}
		<-time.After(4 * time.Hour)
		stop()
		for _, id := range deliveries {
			if got := w.state(id); got.Status != domain.StatusSucceeded {
				t.Fatalf("%s is %s, due %v", id, got.Status, got.DueAt)
			}
		}
		busiest := 0
		for _, n := range receiver.perSec {
			busiest = max(busiest, n)
		}
		if busiest > pending/50 {
			t.Errorf("%d of %d retries came in one second", busiest, pending)
		}
		if receiver.most > limit {
			t.Errorf("%d requests at once: the endpoint's bound is %d", receiver.most, limit)
		}
	})
}
