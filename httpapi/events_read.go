package httpapi

import (
	"context"
	"errors"
	"time"

	"hookledger/domain"
	"hookledger/projections"
	"hookledger/vault"
)

// Event is an event as shown: what was posted, and who gets it.
type Event struct {
	ID            string          `json:"id" example:"evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Event         string          `json:"event" doc:"The type." example:"agent.budget_alert"`
	SchemaVersion int             `json:"schema_version"`
	Timestamp     time.Time       `json:"timestamp" doc:"When it happened."`
	CreatedAt     time.Time       `json:"created_at" doc:"When it was accepted."`
	Subject       string          `json:"subject,omitempty"`
	Source        string          `json:"source,omitempty"`
	Sequence      *uint64         `json:"sequence,omitempty"`
	Size          int             `json:"size" doc:"Of the body as delivered, in bytes."`
	Erased        bool            `json:"erased,omitempty"`
	Body          JSONObject      `json:"body,omitempty" doc:"The body as it is delivered."`
	RoutedAsOf    string          `json:"routed_as_of"`
	Deliveries    []DeliveryRef   `json:"deliveries" nullable:"false" doc:"Whom it was routed to; list-event-deliveries has those of replays as well."`
	LeftOut       []LeftOut       `json:"left_out" nullable:"false"`
	Position      domain.Position `json:"position"`
}

// DeliveryRef names a delivery.
type DeliveryRef struct {
	ID         string `json:"id" example:"dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	EndpointID string `json:"endpoint_id" example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
}

// LeftOut is an endpoint that subscribes and does not get the event.
type LeftOut struct {
	EndpointID string `json:"endpoint_id"`
	Reason     string `json:"reason" example:"disabled"`
}

// EventSummary is an event in a list.
type EventSummary struct {
	ID            string          `json:"id" example:"evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Event         string          `json:"event" doc:"The type." example:"agent.budget_alert"`
	SchemaVersion int             `json:"schema_version"`
	Timestamp     time.Time       `json:"timestamp"`
	CreatedAt     time.Time       `json:"created_at"`
	Source        string          `json:"source,omitempty"`
	Sequence      *uint64         `json:"sequence,omitempty"`
	Size          int             `json:"size"`
	Deliveries    int             `json:"delivery_count" doc:"How many endpoints it was routed to."`
	Position      domain.Position `json:"position"`
}

var errNoSuchEvent = domain.Refuse(domain.KindNotFound, "event_not_found", "there is no such event",
	"list them with: hookledger event list")

func (a *api) registerEvents() {
	a.documentPosts()
	a.mux.guard("POST /v1/events", a.postEvent)
	a.mux.guard("POST /v1/events/batch", a.postEvents)
	register(a, operation{id: "list-events", tag: "Events", summary: "List events"}, a.listEvents)
	register(a, operation{id: "get-event", tag: "Events", summary: "Get an event",
		description: "Read from the ledger: what a 202 named is there at once."}, a.getEvent)
	register(a, operation{id: "list-event-deliveries", tag: "Events", summary: "List an event's deliveries"},
		a.listEventDeliveries)
	register(a, operation{id: "list-event-records", tag: "Records", summary: "List an event's records",
		description: "All that the ledger holds about the event: its own stream, then each delivery's, those of replays last."},
		a.listEventRecords)
}

type listEventsInput struct {
	PageInput
	FilterInput
	Status string `query:"status" enum:"pending,in_flight,retrying,succeeded,exhausted,cancelled" doc:"Of a delivery."`
	Sort   string `query:"sort" enum:"received,occurred" default:"received" doc:"occurred: by their own timestamps."`
}

func (a *api) listEvents(ctx context.Context, c *caller, in *listEventsInput) (*listOutput[EventSummary], error) {
	if err := a.rowsAt(ctx, domain.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	where, err := in.where(false)
	if err != nil {
		return nil, err
	}
	where.DeliveryStatus, where.EndpointID, where.Replay = domain.DeliveryStatus(in.Status), in.EndpointID, in.ReplayID
	where.LastCode = in.Code
	created := projections.Span{After: in.CreatedAfter, Before: in.CreatedBefore}
	if err := a.findText(ctx, c.tenant, in.Text, &where, created); err != nil {
		return nil, err
	}
	f := projections.EventFilter{List: in.FilterInput.list(&in.PageInput, c), ID: in.EventID, Type: in.Event,
		ByTimestamp: in.Sort == "occurred", Where: where}
	page, err := bySubject(ctx, a, &f.List, in.Subject, func() (projections.Page[projections.EventRow], error) {
		return a.History.Events(ctx, f)
	}, func(r *projections.EventRow) string { return r.ID })
	return answerPage(page, err, func(r *projections.EventRow) EventSummary {
		return EventSummary{ID: r.ID, Event: r.Event, SchemaVersion: r.SchemaVersion, Timestamp: r.Timestamp,
			CreatedAt: r.CreatedAt, Source: r.Source, Sequence: r.Sequence, Size: r.Size, Deliveries: r.Deliveries,
			Position: r.Position}
	})
}

// eventRecords are the two records that make an event.
type eventRecords struct {
	received *domain.EventReceived
	routed   *domain.EventRouted
	record   *domain.Record // of received
	position domain.Position
}

func (a *api) readEvent(ctx context.Context, tenant, id string) (eventRecords, error) {
	var e eventRecords
	if !domain.ValidEventID(id) { // it names a stream
		return e, errNoSuchEvent
	}
	for r, err := range a.Store.ReadStream(ctx, domain.EventStream(tenant, id), 0) {
		if err != nil {
			return e, err
		}
		switch f := r.Fact.(type) {
		case *domain.EventReceived:
			e.received, e.record = f, r
		case *domain.EventRouted:
			e.routed = f
		}
		e.position = r.Position
	}
	if e.received == nil || e.routed == nil {
		return e, errNoSuchEvent
	}
	return e, nil
}

type eventPath struct {
	ID string `path:"id" maxLength:"128" doc:"As it was posted or given." example:"evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
}

type eventOutput struct {
	Body Event
}

func (a *api) getEvent(ctx context.Context, c *caller, in *eventPath) (*eventOutput, error) {
	e, err := a.readEvent(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	f := e.received
	out := Event{ID: f.ID, Event: f.Event, SchemaVersion: f.SchemaVersion, Timestamp: f.Timestamp,
		CreatedAt: e.record.RecordedAt, Source: f.Source, Sequence: f.Sequence, Size: f.Size, Position: e.position,
		RoutedAsOf: e.routed.RoutedAsOf.String(), Deliveries: []DeliveryRef{}, LeftOut: []LeftOut{}}
	for _, m := range e.routed.Matches {
		out.Deliveries = append(out.Deliveries, DeliveryRef{m.Delivery, m.Endpoint})
	}
	for _, l := range e.routed.LeftOut {
		out.LeftOut = append(out.LeftOut, LeftOut{l.Endpoint, l.Reason})
	}
	var content domain.EventContent
	switch err := a.open(ctx, vault.PlaceOf(e.record), f.Content, &content); {
	case errors.Is(err, vault.ErrErased):
		out.Erased = true
	case err != nil:
		return nil, err
	default:
		out.Subject, out.Body = content.Subject, JSONObject(content.Body)
	}
	return &eventOutput{out}, nil
}

func (a *api) listEventDeliveries(ctx context.Context, c *caller, in *eventPath) (*listOutput[Delivery], error) {
	e, err := a.readEvent(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	if err := a.rowsAt(ctx, e.position); err != nil {
		return nil, err
	}
	at := a.rowsPosition()
	rows, err := a.History.EventDeliveries(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	out := &listOutput[Delivery]{Body: List[Delivery]{Data: make([]Delivery, len(rows)),
		AsOfPosition: max(at, e.position), AsOf: a.now()}}
	for i := range rows {
		out.Body.Data[i] = a.showDelivery(&rows[i])
	}
	return out, nil
}
