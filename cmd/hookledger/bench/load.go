package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"hookledger/domain"
)

// bareAtMost bounds one measurement of the bare loop: with a slow receiver its N would take hours.
const bareAtMost = 20 * time.Second

// eventType and eventData are what is sent: an envelope of about 350 bytes.
const (
	eventType = "agent.status_changed"
	eventData = `{"agentId":"agent_7f3a90c1","from":"online","to":"degraded","reason":"3 of the last 10 heartbeats ` +
		`were late by more than 30 s; the model's provider answers 529","observedBetween":["2026-02-01T08:00:00Z",` +
		`"2026-02-01T08:05:00Z"]}`
)

// post is the body of POST /v1/events.
func (c *Config) post(b []byte, id string) []byte { return c.postOf(b, id, eventType) }

// postOf is post with a type of its own.
func (c *Config) postOf(b []byte, id, event string) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, id...)
	b = append(b, `","event":"`...)
	b = append(b, event...)
	b = append(b, `",`...)
	if c.NewSubjects {
		b = append(b, `"subject":"subject of `...)
		b = append(b, id...)
		b = append(b, `",`...)
	}
	return append(b, `"data":`+eventData+`}`...)
}

// bare posts N signed envelopes to the receiver, as fast as conns connections can, and gives the rate.
func (s *stage) bare(ctx context.Context, conns int, prefix string) (float64, error) {
	client, done := loader(conns)
	defer done()
	url := "http://" + s.receiveAddr + "/e/0"
	keys := [][]byte{s.signing}
	deadline := time.Now().Add(bareAtMost)
	var sent atomic.Int64
	begin := time.Now()
	err := spread(ctx, conns, s.cfg.N, func(ctx context.Context, i int) error {
		if i%64 == 0 && time.Now().After(deadline) {
			return errStop
		}
		id := prefix + "-bare-" + strconv.Itoa(conns) + "-" + strconv.Itoa(i)
		now := time.Now()
		envelope := domain.Envelope{ID: id, Event: eventType, Timestamp: now, Data: []byte(eventData)}
		body := envelope.Bytes()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("make a request: %w", err)
		}
		ts := now.Unix()
		h := req.Header
		h.Set("Content-Type", "application/json")
		h.Set(domain.HeaderWebhookID, id)
		h.Set(domain.HeaderWebhookTimestamp, strconv.FormatInt(ts, 10))
		h.Set(domain.HeaderWebhookSignature, domain.Sign(keys, id, ts, body))
		sent.Add(1)
		return exchange(client, req, http.StatusOK)
	})
	took := time.Since(begin)
	if err != nil && !errors.Is(err, errStop) {
		return 0, err
	}
	return float64(sent.Load()) / took.Seconds(), s.resetReceiver(ctx)
}

// publish posts events, batch of them a request, on conns connections, and gives the time of each request.
func (s *stage) publish(ctx context.Context, title, prefix string, events, conns, batch int) (times, error) {
	client, done := loader(conns)
	defer done()
	bar := s.cfg.Bar(title, int64(events))
	defer bar.Done()
	requests := (events + batch - 1) / batch
	took := make(times, requests)
	err := spread(ctx, conns, requests, func(ctx context.Context, r int) error {
		from, to := r*batch, min((r+1)*batch, events)
		url, want := s.api("/v1/events"), http.StatusAccepted
		body := make([]byte, 0, (to-from)*512+2)
		if batch == 1 {
			body = s.cfg.post(body, prefix+strconv.Itoa(from))
		} else {
			url, want = s.api("/v1/events/batch"), http.StatusOK
			body = append(body, '[')
			for i := from; i < to; i++ {
				if i > from {
					body = append(body, ',')
				}
				body = s.cfg.post(body, prefix+strconv.Itoa(i))
			}
			body = append(body, ']')
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("make a request: %w", err)
		}
		s.authorize(req.Header)
		begin := time.Now()
		err = exchange(client, req, want)
		took[r] = time.Since(begin)
		bar.Add(to - from)
		return err
	})
	return took, err
}

// loader is a client with so many keep-alive connections.
func loader(conns int) (*http.Client, func()) {
	t := &http.Transport{MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns, MaxIdleConns: conns, DisableCompression: true}
	return &http.Client{Transport: t, Timeout: 5 * time.Minute}, t.CloseIdleConnections
}

func exchange(client *http.Client, req *http.Request, want int) error {
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 2048))
		return fmt.Errorf("post: status %d: %s", resp.StatusCode, text)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("post: %w", err)
	}
	return nil
}

var errStop = errors.New("the time is up")

// spread calls fn for 0 to n-1 on so many goroutines; the first error ends it.
func spread(ctx context.Context, goroutines, n int, fn func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := fn(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
