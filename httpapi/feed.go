package httpapi

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"hookledger/domain"
	"hookledger/projections"
	"hookledger/vault"
)

// FedEvent is an event with what is delivered of it.
type FedEvent struct {
	ID          string          `json:"id" example:"evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Event       string          `json:"event" example:"agent.budget_alert"`
	CreatedAt   time.Time       `json:"created_at"`
	Position    domain.Position `json:"position"`
	ContentType string          `json:"content_type" example:"application/json"`
	Body        string          `json:"body,omitempty" doc:"Byte for byte what is delivered."`
	Erased      bool            `json:"erased,omitempty"`
}

func (a *api) registerFeed() {
	query := func(name, doc string, s *huma.Schema) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Schema: s}
	}
	text := &huma.Schema{Type: huma.TypeString}
	a.addRaw(operation{id: "feed-events", tag: "Events", summary: "Read events with their bodies",
		description: "As NDJSON up to now; with Accept: text/event-stream as server-sent events, on and on, from now or " +
			"from where after, created_after or Last-Event-ID says: each one's id is its position. A stream that begins now says " +
			"first where that is, as an event \"begin\". " + endOfKeyDoc},
		[]*huma.Param{
			query("event", "A type, or a pattern such as agent.*", text),
			query("after", "Only events behind this position.", &huma.Schema{Type: huma.TypeInteger, Format: "int64"}),
			query("created_after", "Only events received after this time.", &huma.Schema{Type: huma.TypeString,
				Format: "date-time"}),
			{Name: "Last-Event-ID", In: "header", Description: "Takes the place of after and created_after.", Schema: text},
		}, nil, http.StatusOK, &huma.Response{Description: "One event a line.", Content: map[string]*huma.MediaType{
			"application/x-ndjson": {Schema: schemaOf[FedEvent](a)},
			"text/event-stream":    {Schema: &huma.Schema{Type: huma.TypeString}}}})
	a.mux.guard("GET /v1/feed", a.feedEvents)
}

// feedQuery is what GET /v1/feed was asked for.
type feedQuery struct {
	recordsQuery
	pattern string
	since   time.Time
}

func (a *api) parseFeed(r *http.Request, c *caller) (*feedQuery, error) {
	q := &feedQuery{recordsQuery: recordsQuery{recordFilter: recordFilter{tenant: c.tenant,
		types: []string{(*domain.EventReceived)(nil).RecordType()}}}, pattern: "*"}
	q.live = strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	values := r.URL.Query()
	if p := values.Get("event"); p != "" {
		if q.pattern = p; !domain.ValidPattern(p) {
			return nil, badQuery("event is no event type or pattern: use a type, a prefix with \".*\", or \"*\"")
		}
	}
	after, since := values.Get("after"), values.Get("created_after")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		after = id
	}
	if since != "" {
		t, err := time.Parse(time.RFC3339, since)
		if err != nil {
			return nil, badQuery("created_after is no time: write it like 2026-02-01T15:04:05Z")
		}
		q.since = t
	}
	switch {
	case after != "":
		n, err := strconv.ParseUint(after, 10, 64)
		if err != nil || n > math.MaxInt64 {
			return nil, badQuery("after (or Last-Event-ID) is no position: use the position of an event")
		}
		q.after = domain.Position(n)
	case since == "" && q.live:
		q.after = a.Store.Head()
		at := strconv.FormatUint(uint64(q.after), 10)
		q.preface = "id: " + at + "\nevent: begin\ndata: {\"position\":" + at + "}\n\n"
	}
	return q, nil
}

// begin finds where the events after a time begin: behind the last one before it.
func (a *api) beginFeed(ctx context.Context, q *feedQuery) error {
	if q.since.IsZero() || q.after > 0 {
		return nil
	}
	page, err := a.History.Events(ctx, projections.EventFilter{List: projections.List{Tenant: q.tenant, Limit: 1,
		CreatedBefore: q.since}})
	if err == nil && len(page.Rows) > 0 {
		q.after = page.Rows[0].Position
	}
	return err
}

// feedEvents streams events with their bodies.
func (a *api) feedEvents(w http.ResponseWriter, r *http.Request, c *caller) {
	q, err := a.parseFeed(r, c)
	if err == nil {
		err = a.checkPosition(q.after)
	}
	if err == nil {
		err = a.beginFeed(r.Context(), q)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	write := func(b []byte, rec *domain.Record) ([]byte, error) { return a.appendFed(r.Context(), b, q, rec) }
	a.stream(w, r, c, &q.recordsQuery, write)
}

// appendFed writes an event, nothing for one that is not asked for.
func (a *api) appendFed(ctx context.Context, b []byte, q *feedQuery, r *domain.Record) ([]byte, error) {
	f, ok := r.Fact.(*domain.EventReceived)
	if !ok || !domain.MatchType(q.pattern, f.Event) || !r.RecordedAt.After(q.since) {
		return b, nil
	}
	if q.live {
		b = append(strconv.AppendUint(append(b, "id: "...), uint64(r.Position), 10), "\nevent: event\ndata: "...)
	}
	var content domain.EventContent
	err := a.open(ctx, vault.PlaceOf(r), f.Content, &content)
	erased := errors.Is(err, vault.ErrErased)
	if err != nil && !erased {
		return b, err
	}
	b = append(append(b, `{"id":"`...), f.ID...)
	b = append(append(b, `","event":"`...), f.Event...)
	b = append(b, `","created_at":"`...)
	b = r.RecordedAt.UTC().AppendFormat(b, time.RFC3339Nano)
	b = strconv.AppendUint(append(b, `","position":`...), uint64(r.Position), 10)
	if b, err = jsontext.AppendQuote(append(b, `,"content_type":`...), f.ContentType); err != nil {
		return b, err
	}
	if erased {
		b = append(b, `,"erased":true}`...)
	} else {
		if b, err = jsontext.AppendQuote(append(b, `,"body":`...), content.Body); err != nil {
			return b, err
		}
		b = append(b, '}')
	}
	if q.live {
		b = append(b, '\n')
	}
	return append(b, '\n'), nil
}
