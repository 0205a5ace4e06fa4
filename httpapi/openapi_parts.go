package httpapi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/projections"
	"hookledger/vault"
)

// PostedEvent is the body of POST /v1/events.
type PostedEvent struct {
	ID        string     `json:"id,omitempty" pattern:"^[A-Za-z0-9_-]{1,128}$"`
	Event     string     `json:"event" maxLength:"128" doc:"A registered type." example:"agent.budget_alert"`
	Timestamp *time.Time `json:"timestamp,omitempty" nullable:"false" doc:"When it happened; absent: now."`
	Subject   string     `json:"subject,omitempty"`
	Source    string     `json:"source,omitempty" doc:"Where it comes from."`
	Sequence  *uint64    `json:"sequence,omitempty" nullable:"false" doc:"Your own number within source."`
	Data      JSONObject `json:"data" doc:"Delivered byte for byte as you send it."`
}

// Receipt is the answer to an event that was accepted, now or before.
type Receipt struct {
	ID         string          `json:"id" example:"evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Event      string          `json:"event" example:"agent.budget_alert"`
	Timestamp  time.Time       `json:"timestamp"`
	Duplicate  bool            `json:"duplicate" doc:"The same event was accepted before; this is its first result."`
	Erased     bool            `json:"erased,omitempty" doc:"Its content was erased since."`
	Position   domain.Position `json:"position" doc:"For min_position: a list that has reached it knows the event."`
	Deliveries []DeliveryRef   `json:"deliveries" nullable:"false"`
}

// BatchResult is one event's result: the fields of a receipt with status 202, or an error.
type BatchResult struct {
	Status     int             `json:"status" example:"202"`
	Error      *Problem        `json:"error,omitempty"`
	ID         string          `json:"id,omitempty"`
	Event      string          `json:"event,omitempty"`
	Timestamp  *time.Time      `json:"timestamp,omitempty" nullable:"false"`
	Duplicate  bool            `json:"duplicate,omitempty"`
	Erased     bool            `json:"erased,omitempty"`
	Position   domain.Position `json:"position,omitempty"`
	Deliveries []DeliveryRef   `json:"deliveries,omitempty" nullable:"false"`
}

// BatchAnswer is the answer to a batch.
type BatchAnswer struct {
	Accepted int           `json:"accepted"`
	Refused  int           `json:"refused"`
	Data     []BatchResult `json:"data" nullable:"false" doc:"One result per event, in order."`
}

func schemaOf[T any](a *api) *huma.Schema {
	var v T
	return a.huma.OpenAPI().Components.Schemas.Schema(typeOf(v), true, "")
}

// addRaw documents a route whose handler is not huma's.
func (a *api) addRaw(o operation, parameters []*huma.Param, body *huma.RequestBody, status int, ok *huma.Response) {
	op := a.describe(o)
	op.Parameters = append(op.Parameters, parameters...)
	op.RequestBody = body
	op.Responses = map[string]*huma.Response{statusText(status): ok}
	problem := schemaOf[Problem](a)
	for _, code := range append(op.Errors, http.StatusInternalServerError) {
		response := &huma.Response{Description: http.StatusText(code),
			Content: map[string]*huma.MediaType{problemType: {Schema: problem}}}
		if code == http.StatusTooManyRequests {
			response.Headers = map[string]*huma.Header{"Retry-After": {Schema: &huma.Schema{Type: huma.TypeInteger},
				Description: "In how many seconds the same request can be taken.", Example: 2}}
		}
		op.Responses[statusText(code)] = response
	}
	a.huma.OpenAPI().AddOperation(&op)
}

func (a *api) documentPosts() {
	examples := map[string]*huma.Example{}
	for _, t := range domain.BuiltInEventTypes() {
		examples[t.Type] = &huma.Example{Summary: t.Description, Value: map[string]any{"event": t.Type, "data": t.Example}}
	}
	event := schemaOf[PostedEvent](a)
	a.addRaw(operation{id: "post-event", tag: "Events", summary: "Post an event",
		description: "The answer follows once the event and the decision who gets it are durable. The same id with the " +
			"same content is answered again, with duplicate: true; with other content it is 409. Without an id, one is derived " +
			"from the Idempotency-Key; with an id the key has no effect, for the id does what it would. At most 512 KiB. A " +
			"CloudEvent (1.0, structured or binary) is taken too: its id is derived from source and id, unless that is a UUID " +
			"or a ULID."},
		nil,
		&huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json":             {Schema: event, Examples: examples},
			"application/cloudevents+json": {Schema: &huma.Schema{Type: huma.TypeObject}}}},
		http.StatusAccepted, &huma.Response{Description: "It is on the ledger.", Content: map[string]*huma.MediaType{
			"application/json": {Schema: schemaOf[Receipt](a)}}})
	a.addRaw(operation{id: "post-events", tag: "Events", summary: "Post up to 1,000 events",
		description: "As a JSON array, or one event a line. Each stands on its own: one that is refused does not keep the " +
			"others out. Only when all fail by the server's fault, or by the tenant's rate, does the request. Events without an " +
			"id derive one from the Idempotency-Key and their place in the batch. At most 16 MiB."},
		nil,
		&huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeArray, Items: event, MinItems: ptr(1),
				MaxItems: ptr(ingest.MaxBatch)}},
			"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString,
				Description: "One event a line."}}}},
		http.StatusOK, &huma.Response{Description: "One result per event.", Content: map[string]*huma.MediaType{
			"application/json": {Schema: schemaOf[BatchAnswer](a)}}})
}

func (a *api) registerRecords() {
	query := func(name, doc string, s *huma.Schema) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Schema: s}
	}
	text := &huma.Schema{Type: huma.TypeString}
	record := schemaOf[Record](a)
	a.addRaw(operation{id: "list-records", tag: "Records", summary: "Read the ledger",
		description: "As NDJSON up to the ledger's head; with Accept: text/event-stream as server-sent events, on and on: " +
			"each event's id is the record's position, and Last-Event-ID resumes behind it. " + endOfKeyDoc},
		[]*huma.Param{
			query("after", "Only records behind this position, which may be the ledger's last.",
				&huma.Schema{Type: huma.TypeInteger, Format: "int64"}),
			query("stream", "Only this stream's.", text),
			{Name: "type", In: "query", Description: "Only these types', separated by commas.", Explode: ptr(false),
				Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString, Enum: recordTypes()}}},
			query("limit", "At most so many records.", &huma.Schema{Type: huma.TypeInteger, Minimum: ptr(1.0)}),
			{Name: "Last-Event-ID", In: "header", Description: "Takes the place of after.", Schema: text},
		}, nil, http.StatusOK, &huma.Response{Description: "One record a line.", Content: map[string]*huma.MediaType{
			"application/x-ndjson": {Schema: record},
			"text/event-stream":    {Schema: &huma.Schema{Type: huma.TypeString}}}})
	a.mux.guard("GET /v1/records", a.listRecords)
}

// documentHealth documents what needs no key.
func (a *api) documentHealth() {
	plain := func(id, summary, contentType string, schema *huma.Schema, extra ...int) {
		rt := routeOf(id)
		op := &huma.Operation{OperationID: rt.id, Method: rt.method, Path: rt.path, Summary: summary,
			Tags: []string{"Server"}, Security: []map[string][]string{{}}, Responses: map[string]*huma.Response{}}
		for _, code := range append([]int{http.StatusOK}, extra...) {
			op.Responses[statusText(code)] = &huma.Response{Description: http.StatusText(code),
				Content: map[string]*huma.MediaType{contentType: {Schema: schema}}}
			if code >= 400 {
				op.Responses[statusText(code)].Content = map[string]*huma.MediaType{problemType: {Schema: schemaOf[Problem](a)}}
			}
		}
		op.Responses["4XX"] = &huma.Response{Description: "The request is wrong.",
			Content: map[string]*huma.MediaType{problemType: {Schema: schemaOf[Problem](a)}}}
		a.huma.OpenAPI().AddOperation(op)
	}
	health := schemaOf[Health](a)
	plain("livez", "Whether the process lives", "application/json", health)
	plain("readyz", "Whether it answers and takes events", "application/json", health, http.StatusServiceUnavailable)
	if !a.HideMetrics {
		plain("metrics", "Metrics for Prometheus", "text/plain", &huma.Schema{})
	}
	plain("openapi", "This document", "application/vnd.oai.openapi+json", &huma.Schema{})
	plain("docs", "This document as a page", "text/html", &huma.Schema{})
}

// documentWebhooks documents what endpoints get: one webhook per built-in type.
func (a *api) documentWebhooks() {
	doc := a.huma.OpenAPI()
	doc.Webhooks = map[string]*huma.PathItem{}
	header := func(name, text, example string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: text,
			Schema: &huma.Schema{Type: huma.TypeString}, Example: example}
	}
	headers := []*huma.Param{
		header(domain.HeaderWebhookID, "The event's id: the same on every attempt.", "evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"),
		header(domain.HeaderWebhookTimestamp, "The time of the attempt in unix seconds. Refuse what is more than 300 s away "+
			"from your clock.", "1773734444"),
		header(domain.HeaderWebhookSignature, "v1, and the base64 of HMAC-SHA256 over id.timestamp.body under the "+
			"endpoint's secret; several are separated by a space (Standard Webhooks 1.0.0).",
			"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
	}
	replay := header(domain.HeaderWebhookReplay, "Only on a request that is sent again on purpose, and on each of its "+
		"attempts: the id of the replay (rpl_…), whether the event was confirmed before or never; or, where a delivery "+
		"that was confirmed with a 2xx is retried by force, the delivery's (dlv_…). Other retries have none.",
		"rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C")
	replay.Required, replay.Schema = false, &huma.Schema{Type: huma.TypeString, Pattern: "^(rpl|dlv)_[A-Za-z0-9_-]+$"}
	for _, t := range append(domain.BuiltInEventTypes(), domain.OperationalEventTypes()...) {
		doc.Webhooks[t.Type] = &huma.PathItem{Post: &huma.Operation{
			OperationID: "webhook-" + t.Type, Summary: t.Description, Tags: []string{"Webhooks"},
			Security: []map[string][]string{{}}, Parameters: append(append([]*huma.Param{}, headers...), replay),
			RequestBody: &huma.RequestBody{Required: true, Description: "The event, the same bytes on every attempt.",
				Content: map[string]*huma.MediaType{"application/json": {Schema: a.envelopeSchema(t),
					Example: map[string]any{"id": "evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", "event": t.Type,
						"timestamp": "2026-03-17T08:00:44Z", "data": t.Example}}}},
			Responses: map[string]*huma.Response{
				"2XX": {Description: "Taken: it is not sent again."},
				"4XX": {Description: "Not taken: it is tried again by the endpoint's schedule."},
			}}}
	}
}

// envelopeSchema is the schema of a type's body as delivered. The catalogue's schema of data goes in as it is.
func (a *api) envelopeSchema(t domain.EventType) *huma.Schema {
	var data map[string]any
	if err := json.Unmarshal(t.Schema, &data); err != nil {
		panic("httpapi: the schema of " + t.Type + " is no JSON object: " + err.Error())
	}
	delete(data, "$schema") // OpenAPI 3.1's own dialect is the same
	return &huma.Schema{Type: huma.TypeObject, Required: []string{"id", "event", "timestamp", "data"},
		Properties: map[string]*huma.Schema{
			"id":        {Type: huma.TypeString, Pattern: "^[A-Za-z0-9_-]{1,128}$"},
			"event":     {Type: huma.TypeString, Extensions: map[string]any{"const": t.Type}},
			"timestamp": {Type: huma.TypeString, Format: "date-time", Description: "When it happened."},
			"data":      {Extensions: data},
		}}
}

// documentConfig is enough of a Config to write the document; nothing of it is ever called.
func documentConfig(version string) Config {
	return Config{Store: struct{ ledger.Store }{}, Vault: (*vault.Vault)(nil), Ingest: (*ingest.Ingest)(nil),
		Projections: noProjections{}, Replays: struct{ Replays }{}, Now: time.Now,
		NewID: func() ulid.ULID { return ulid.ULID{} }, Version: version}
}

type noProjections struct{ Projections }

func (noProjections) Directory() *projections.Directory { return nil }
