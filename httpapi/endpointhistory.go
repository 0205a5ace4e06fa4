package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"hookledger/domain"
)

// EndpointChange is one record of an endpoint's stream: who changed what.
type EndpointChange struct {
	Revision   domain.Revision `json:"revision"`
	Position   domain.Position `json:"position"`
	RecordID   string          `json:"record_id" example:"01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	RecordedAt time.Time       `json:"recorded_at"`
	Type       string          `json:"type" doc:"Of the record." example:"EndpointReconfigured"`
	Actor      domain.Actor    `json:"actor" doc:"Who made it."`
	Changes    []FieldChange   `json:"changes" nullable:"false"`
}

// FieldChange is a field of an endpoint that became another.
type FieldChange struct {
	Field  string `json:"field" example:"timeout"`
	Before any    `json:"before,omitempty" doc:"Absent where there was none."`
	After  any    `json:"after,omitempty" doc:"Absent where there is none."`
}

// unchanging are the fields that a change moves by being one.
var unchanging = []string{"id", "revision", "created_at", "updated_at"}

func (a *api) listEndpointHistory(ctx context.Context, c *caller, in *struct {
	ID string `path:"id" maxLength:"128" doc:"The endpoint's id." example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	PageInput
}) (*listOutput[EndpointChange], error) {
	stream := domain.EndpointStream(c.tenant, in.ID)
	if !stream.Valid() {
		return nil, errNoSuchEndpoint
	}
	var rows []placed[EndpointChange]
	e, before := &domain.Endpoint{}, map[string]any{}
	for r, err := range a.Store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return nil, err
		}
		e.Evolve(r)
		after, err := a.fieldsOf(ctx, c, e)
		if err != nil {
			return nil, err
		}
		change := EndpointChange{Revision: r.Revision, Position: r.Position, RecordID: r.ID.String(),
			RecordedAt: r.RecordedAt, Type: r.Fact.RecordType(), Actor: r.Actor, Changes: changes(before, after)}
		// Ids of records of a stream do not sort by themselves within a moment; its revisions do.
		rows = append(rows, placed[EndpointChange]{r.RecordedAt, fmt.Sprintf("%019d", r.Revision), change})
		before = after
	}
	if len(rows) == 0 {
		return nil, errNoSuchEndpoint
	}
	return pageOf(&in.PageInput, rows, a.Store.Head(), a.Now().UTC())
}

// fieldsOf is an endpoint as shown, by the names of its fields.
func (a *api) fieldsOf(ctx context.Context, c *caller, e *domain.Endpoint) (map[string]any, error) {
	out := map[string]any{}
	shown, err := a.showEndpoint(ctx, c, e)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(shown)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, err
	}
	for _, name := range unchanging {
		delete(out, name)
	}
	if e.Removed {
		out["status"] = "removed"
	}
	return out, nil
}

func changes(before, after map[string]any) []FieldChange {
	out := []FieldChange{}
	for name, v := range after {
		if !reflect.DeepEqual(before[name], v) {
			out = append(out, FieldChange{name, before[name], v})
		}
	}
	for name, v := range before {
		if _, still := after[name]; !still {
			out = append(out, FieldChange{name, v, nil})
		}
	}
	slices.SortFunc(out, func(a, b FieldChange) int { return strings.Compare(a.Field, b.Field) })
	return out
}
