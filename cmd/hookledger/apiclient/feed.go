package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// FedEvent is an event with what is delivered of it.
type FedEvent struct {
	ID          string    `json:"id"`
	Event       string    `json:"event"`
	CreatedAt   time.Time `json:"created_at"`
	Position    uint64    `json:"position"`
	ContentType string    `json:"content_type"`
	Body        string    `json:"body"`
	Erased      bool      `json:"erased"`
}

// Feed hands every event that the query asks for to fn, in order and without repeats, and those to come, as Follow does
// with records. A query that does not say where to begin begins now: an event without an id says that it has.
func (c *Client) Feed(ctx context.Context, query url.Values, patience time.Duration, fn func(FedEvent) error) error {
	return c.resume(ctx, 0, patience, func(after *uint64) error {
		return c.events(ctx, withQuery("/v1/feed", query), *after, func(data []byte, status int) error {
			var e FedEvent
			if err := json.Unmarshal(data, &e); err != nil {
				return c.foreign(status, err)
			}
			if err := fn(e); err != nil {
				return err
			}
			*after = e.Position
			return nil
		})
	})
}

// events reads one stream of server-sent events to its end, which is always an error or nil for a clean end. after 0
// leaves it to the server where to begin.
func (c *Client) events(ctx context.Context, path string, after uint64, fn func(data []byte, status int) error) error {
	last := ""
	if after > 0 {
		last = strconv.FormatUint(after, 10)
	}
	resp, err := c.do(ctx, http.MethodGet, path, nil, WithHeader("Accept", "text/event-stream"),
		WithHeader("Last-Event-ID", last))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if t := resp.Header.Get("Content-Type"); !strings.HasPrefix(t, "text/event-stream") {
		return c.foreign(resp.StatusCode, fmt.Errorf("content type %q", t))
	}
	return readSSE(resp.Body, func(data []byte) error { return fn(data, resp.StatusCode) }, c.unreachable)
}
