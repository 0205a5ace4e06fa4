package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/url"
)

// Item is one resource: the fields that a command reads, and the whole as the server wrote it.
type Item[T any] struct {
	Value T
	Raw   json.RawMessage
}

// UnmarshalJSON keeps both.
func (i *Item[T]) UnmarshalJSON(b []byte) error {
	i.Raw = bytes.Clone(b)
	return json.Unmarshal(b, &i.Value)
}

// MarshalJSON gives what the server wrote.
func (i Item[T]) MarshalJSON() ([]byte, error) { return i.Raw, nil }

// Page is one page of a list.
type Page[T any] struct {
	Data       []Item[T] `json:"data"`
	NextCursor string    `json:"next_cursor"`
	HasMore    bool      `json:"has_more"`
	Total      *Total    `json:"total"` // where it was asked for
}

// Total is how many resources a filter selects.
type Total struct {
	Count   int  `json:"count"`
	AtLeast bool `json:"at_least"` // there are more
}

// Fetch gets one resource.
func Fetch[T any](ctx context.Context, c *Client, path string) (Item[T], error) {
	var out Item[T]
	err := c.Get(ctx, path, nil, &out)
	return out, err
}

// List gets one page.
func List[T any](ctx context.Context, c *Client, path string, query url.Values) (Page[T], error) {
	var out Page[T]
	err := c.Get(ctx, path, query, &out)
	return out, err
}

// All yields every page from the query's cursor on, following the cursors. An error is yielded once, last.
func All[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[Page[T], error] {
	return func(yield func(Page[T], error) bool) {
		q := url.Values{}
		for k, v := range query {
			q[k] = v
		}
		for {
			page, err := List[T](ctx, c, path, q)
			if !yield(page, err) || err != nil || !page.HasMore || page.NextCursor == "" {
				return
			}
			q.Set("cursor", page.NextCursor)
		}
	}
}
