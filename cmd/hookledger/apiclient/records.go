package apiclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Record is a record as the API shows it.
type Record struct {
	ID            string          `json:"record_id"`
	Type          string          `json:"type"`
	Version       int             `json:"version"`
	Stream        string          `json:"stream"`
	Revision      int64           `json:"revision"`
	Position      uint64          `json:"position"`
	RecordedAt    time.Time       `json:"recorded_at"`
	Tenant        string          `json:"tenant"`
	CorrelationID string          `json:"correlation_id"`
	CausationID   string          `json:"causation_id"`
	Data          json.RawMessage `json:"data"`
}

// maxRecord bounds a line of the records' stream: an append holds at most 1 MiB.
const maxRecord = 4 << 20

// Records reads what there is now behind the query's "after" and hands it to fn, in order. It returns fn's error.
func (c *Client) Records(ctx context.Context, query url.Values, fn func(Item[Record]) error) error {
	resp, err := c.do(ctx, http.MethodGet, withQuery("/v1/records", query), nil, WithHeader("Accept",
		"application/x-ndjson"))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxRecord)
	for lines.Scan() && lines.Err() == nil { // a line at which the stream broke off is no record
		if err := c.record(lines.Bytes(), resp.StatusCode, fn); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return c.unreachable(fmt.Errorf("read the records: %w", err))
	}
	return nil
}

func (c *Client) record(line []byte, status int, fn func(Item[Record]) error) error {
	var r Item[Record]
	if err := json.Unmarshal(line, &r); err != nil {
		return c.foreign(status, err)
	}
	return fn(r)
}

// Follow hands every record behind the position to fn, in order and without repeats, and those to come, until ctx ends
// (nil) or fn fails (its error). A stream that breaks off is taken up again behind the last record; only a refusal, or
// a server that can't be reached again within patience, ends it.
func (c *Client) Follow(ctx context.Context, after uint64, query url.Values, patience time.Duration,
	fn func(Item[Record]) error) error {
	return c.resume(ctx, after, patience, func(after *uint64) error { return c.follow(ctx, query, after, fn) })
}

// resume reads a stream again and again behind the last position that it came to, until ctx ends (nil), it is refused,
// or it can't be read within patience.
func (c *Client) resume(ctx context.Context, after uint64, patience time.Duration, read func(*uint64) error) error {
	const wait = 250 * time.Millisecond
	lost := time.Duration(0)
	for {
		before := after
		err := read(&after)
		var p *Problem
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.As(err, &p):
			return err
		case p != nil && p.Status != 0 && p.Status != http.StatusServiceUnavailable && p.Status != http.StatusTooManyRequests:
			return err
		case after > before:
			lost = 0
		case err != nil && lost >= patience:
			return err
		}
		lost += wait
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// follow reads one stream of server-sent events to its end, which is always an error or nil for a clean end.
func (c *Client) follow(ctx context.Context, query url.Values, after *uint64, fn func(Item[Record]) error) error {
	q := url.Values{}
	maps.Copy(q, query)
	q.Set("after", strconv.FormatUint(*after, 10)) // also 0: the records from the first
	return c.events(ctx, withQuery("/v1/records", q), *after, func(data []byte, status int) error {
		return c.record(data, status, func(r Item[Record]) error {
			if err := fn(r); err != nil {
				return err
			}
			*after = r.Value.Position
			return nil
		})
	})
}

// readSSE reads server-sent events (WHATWG HTML, section 9.2) and hands each event's data to fn. What stands behind the
// last empty line is no whole event, and is left out.
func readSSE(r io.Reader, fn func(data []byte) error, broken func(error) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRecord)
	var data []byte
	some := false
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if some {
				if err := fn(data); err != nil {
					return err
				}
			}
			data, some = data[:0], false
			continue
		}
		field, value, _ := strings.Cut(string(line), ":")
		if field != "data" {
			continue // ids are in the data as well; comments and retry say nothing to us
		}
		if some {
			data = append(data, '\n')
		}
		data, some = append(data, strings.TrimPrefix(value, " ")...), true
	}
	if err := lines.Err(); err != nil {
		return broken(fmt.Errorf("read the records: %w", err))
	}
	return nil
}

func withQuery(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}
