package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
)

// JSONObject is a JSON object that is carried as it is.
type JSONObject json.RawMessage

// MarshalJSON writes the object.
func (o JSONObject) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

// UnmarshalJSON keeps the object; null is none.
func (o *JSONObject) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*o = nil
		return nil
	}
	*o = append((*o)[:0], b...)
	return nil
}

// Schema makes a JSONObject a huma.SchemaProvider.
func (JSONObject) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// EventType is an event type as shown.
type EventType struct {
	Type        string     `json:"type" doc:"Words of a-z 0-9 _ separated by dots." example:"order.paid"`
	Version     int        `json:"version" doc:"Of the schema, from 1."`
	Description string     `json:"description,omitempty"`
	Schema      JSONObject `json:"schema,omitempty" doc:"JSON Schema of data; absent: any object."`
	Example     JSONObject `json:"example,omitempty" doc:"An example of data."`
	BuiltIn     bool       `json:"built_in" doc:"Every tenant knows it from the start."`
}

// eventTypeConfig is what of an event type can be changed.
type eventTypeConfig struct {
	Description string     `json:"description,omitempty" maxLength:"1024"`
	Schema      JSONObject `json:"schema,omitempty" doc:"JSON Schema of data; absent: any object. Replaced as a whole."`
	Example     JSONObject `json:"example,omitempty" doc:"An example of data. Replaced as a whole."`
}

func (t *eventTypeConfig) equal(u *eventTypeConfig) bool {
	return t.Description == u.Description && sameJSON(t.Schema, u.Schema) && sameJSON(t.Example, u.Example)
}

func showEventType(t *domain.EventType) EventType {
	return EventType{Type: t.Type, Version: t.Version, Description: t.Description, Schema: JSONObject(t.Schema),
		Example: JSONObject(t.Example), BuiltIn: t.BuiltIn}
}

type eventTypeOutput struct {
	ETag string `header:"ETag"`
	Body EventType
}

const maxEventTypeBody = 256 << 10

func (a *api) registerEventTypes() {
	register(a, operation{id: "list-event-types", tag: "Event types", summary: "List event types",
		description: "The built-in ones and those that the tenant registered, by name."}, a.listEventTypes)
	register(a, operation{id: "create-event-type", tag: "Event types", summary: "Register an event type",
		status: http.StatusCreated, maxBody: maxEventTypeBody,
		description: "From the answer on, events of this type are taken, and checked against the schema."}, a.createEventType)
	register(a, operation{id: "get-event-type", tag: "Event types", summary: "Get an event type"}, a.getEventType)
	register(a, operation{id: "update-event-type", tag: "Event types", summary: "Change an event type",
		maxBody: maxEventTypeBody, description: mergePatchDoc + " Each change is a new version.",
		document: patchOf[eventTypeConfig](a, "EventTypePatch")}, a.updateEventType)
}

func (a *api) listEventTypes(ctx context.Context, c *caller, in *NameInput) (*listOutput[EventType], error) {
	at, now, err := a.tableNow(ctx, in.MinPosition)
	if err != nil {
		return nil, err
	}
	routing, ok := a.Directory.Routing(c.tenant)
	if !ok {
		return nil, errNoSuchTenant
	}
	var rows []placed[EventType]
	for _, t := range routing.Tenant.EventTypes() {
		rows = append(rows, placed[EventType]{id: t.Type, row: showEventType(&t)})
	}
	return pageOf(in.page(), rows, at, now)
}

type eventTypePath struct {
	Type string `path:"type" maxLength:"128" doc:"The type's name." example:"agent.budget_alert"`
}

func (a *api) getEventType(ctx context.Context, c *caller, in *eventTypePath) (*eventTypeOutput, error) {
	return lookAgain(ctx, a, a.configAt, func() (*eventTypeOutput, error) {
		routing, ok := a.Directory.Routing(c.tenant)
		if !ok {
			return nil, errNoSuchTenant
		}
		for _, t := range routing.Tenant.EventTypes() {
			if t.Type == in.Type {
				return &eventTypeOutput{etag(routing.Tenant.Revision), showEventType(&t)}, nil
			}
		}
		return nil, domain.Refuse(domain.KindNotFound, "event_type_not_found", "there is no such event type",
			"list them with: hookledger event-type list")
	})
}

type createEventTypeInput struct {
	Body struct {
		Type        string     `json:"type" doc:"Words of a-z 0-9 _ separated by dots." example:"order.paid"`
		Description string     `json:"description,omitempty" maxLength:"1024"`
		Schema      JSONObject `json:"schema,omitempty" doc:"JSON Schema of data; absent: any object."`
		Example     JSONObject `json:"example,omitempty" doc:"An example of data."`
	}
}

func (a *api) createEventType(ctx context.Context, c *caller,
	in *createEventTypeInput) (*createdOutput[EventType], error) {
	parts := []string{c.tenant, "create-event-type", c.idempotency}
	want := eventTypeConfig{in.Body.Description, in.Body.Schema, in.Body.Example}
	t, before, err := a.registerType(ctx, c, parts, func(o *origin[*domain.Tenant]) ([]domain.Fact, error) {
		if o.made != nil {
			f, ok := o.made.Fact.(*domain.EventTypeRegistered)
			if !ok || f.Type != in.Body.Type || !want.equal(&eventTypeConfig{f.Description, JSONObject(f.Schema),
				JSONObject(f.Example)}) {
				return nil, errIdempotencyConflict
			}
			return nil, nil
		}
		return o.state.RegisterEventType(in.Body.Type, want.Description, json.RawMessage(want.Schema),
			json.RawMessage(want.Example), false)
	}, &want)
	if err != nil {
		return nil, err
	}
	et, _ := t.EventType(in.Body.Type)
	return answerCreated(c, before, "/v1/event-types/"+et.Type, etag(t.Revision), showEventType(&et)), nil
}

// registerType decides on an event type in the tenant's stream. Where its schema and example are known before the
// decision, they must fit.
func (a *api) registerType(ctx context.Context, c *caller, parts []string,
	decide func(*origin[*domain.Tenant]) ([]domain.Fact, error), want *eventTypeConfig) (*domain.Tenant, bool, error) {
	if err := a.Room(); err != nil {
		return nil, false, err
	}
	if want != nil {
		if err := ingest.CheckSchema(json.RawMessage(want.Schema), json.RawMessage(want.Example)); err != nil {
			return nil, false, err
		}
	}
	var before bool
	stream := domain.TenantStream(c.tenant)
	folded, done, err := ledger.Execute(ctx, a.Store, stream, func() *origin[*domain.Tenant] {
		return withOrigin(&domain.Tenant{Revision: domain.NoStream}, parts...)
	}, func(o *origin[*domain.Tenant]) ([]domain.Record, error) {
		before = o.made != nil
		facts, err := decide(o)
		if err != nil || len(facts) == 0 {
			return nil, err
		}
		s := a.stamp(c)
		s.Base = a.base(s, parts...)
		return s.Records(stream, c.tenant, "", ulid.ULID{}, facts...), nil
	})
	if err != nil {
		return nil, false, err
	}
	return folded.state, before, a.configAt(ctx, done.Position)
}

type updateEventTypeInput struct {
	Type    string `path:"type" maxLength:"128" doc:"The type's name." example:"order.paid"`
	IfMatch string `header:"If-Match" doc:"The revision, of the ETag, that the change is based on."`
	RawBody []byte `contentType:"application/merge-patch+json"`
}

func (a *api) updateEventType(ctx context.Context, c *caller, in *updateEventTypeInput) (*eventTypeOutput, error) {
	expected, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	t, _, err := a.registerType(ctx, c, []string{""}, func(o *origin[*domain.Tenant]) ([]domain.Fact, error) {
		if err := atRevision(expected, o.state.Revision, "tenant's catalogue"); err != nil {
			return nil, err
		}
		var have eventTypeConfig
		for _, t := range o.state.EventTypes() {
			if t.Type == in.Type {
				have = eventTypeConfig{t.Description, JSONObject(t.Schema), JSONObject(t.Example)}
			}
		}
		next, err := mergePatch(have, in.RawBody, "schema", "example")
		if err != nil {
			return nil, err
		}
		if err := ingest.CheckSchema(json.RawMessage(next.Schema), json.RawMessage(next.Example)); err != nil {
			return nil, err
		}
		facts, err := o.state.RegisterEventType(in.Type, next.Description, json.RawMessage(next.Schema),
			json.RawMessage(next.Example), true)
		if err != nil || next.equal(&have) {
			return nil, err
		}
		return facts, nil
	}, nil)
	if err != nil {
		return nil, err
	}
	et, _ := t.EventType(in.Type)
	return &eventTypeOutput{etag(t.Revision), showEventType(&et)}, nil
}
