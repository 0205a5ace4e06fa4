package httpapi

import (
	"context"
	"time"

	"hookledger/domain"
	"hookledger/projections"
)

// Delivery is an event on its way to one endpoint.
type Delivery struct {
	ID            string           `json:"id" example:"dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	EventID       string           `json:"event_id" example:"evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Event         string           `json:"event" doc:"The event's type." example:"agent.budget_alert"`
	EndpointID    string           `json:"endpoint_id" example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Status        string           `json:"status" enum:"pending,in_flight,retrying,held,succeeded,exhausted,cancelled"`
	AttemptCount  int              `json:"attempt_count" doc:"Attempts begun so far."`
	Held          *Held            `json:"held,omitempty" doc:"Why it is held, and since when."`
	Waits         *Waits           `json:"waits,omitempty" doc:"While it is pending or retrying; not in lists."`
	NextAttemptAt *time.Time       `json:"next_attempt_at,omitempty" doc:"While it has not ended."`
	Code          int              `json:"code,omitempty" doc:"HTTP status of the last response." example:"200"`
	ErrorCode     string           `json:"error_code,omitempty" doc:"Why the last attempt failed." example:"timeout"`
	CreatedAt     time.Time        `json:"created_at"`
	UpdatedAt     time.Time        `json:"updated_at"`
	CompletedAt   *time.Time       `json:"completed_at,omitempty"`
	ReplayID      string           `json:"replay_id,omitempty" doc:"The replay that scheduled it; absent: it was routed."`
	Attempts      []AttemptSummary `json:"attempts,omitempty" doc:"All of them, the first one first; not in lists."`
	Retry         *RetryEffect     `json:"retry,omitempty" doc:"In the answer to a retry: what it does to the schedule."`
	Cancelled     *Cancellation    `json:"cancelled,omitempty" doc:"Why it was cancelled; not in lists."`
}

type deliveryOutput struct {
	Body Delivery
}

func (a *api) showDelivery(r *projections.DeliveryRow) Delivery {
	return Delivery{ID: r.ID, EventID: r.EventID, Event: r.EventType, EndpointID: r.EndpointID,
		Status: string(r.Status), Held: heldOf(r), AttemptCount: r.Attempts, NextAttemptAt: timeOrNil(r.DueAt),
		Code: r.LastCode, ErrorCode: string(r.LastError),
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, CompletedAt: timeOrNil(r.CompletedAt),
		ReplayID: r.Replay}
}

func (a *api) registerDeliveries() {
	register(a, operation{id: "list-deliveries", tag: "Deliveries", summary: "List deliveries"}, a.listDeliveries)
	register(a, operation{id: "get-delivery", tag: "Deliveries", summary: "Get a delivery with its attempts"},
		a.getDelivery)
	a.registerDeliveryWrites()
}

type listDeliveriesInput struct {
	PageInput
	FilterInput
	Status string `query:"status" enum:"pending,in_flight,retrying,held,succeeded,exhausted,cancelled"`
}

func (a *api) listDeliveries(ctx context.Context, c *caller, in *listDeliveriesInput) (*listOutput[Delivery], error) {
	if err := a.rowsAt(ctx, domain.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	where, err := in.where(false)
	if err != nil {
		return nil, err
	}
	if err := a.findText(ctx, c.tenant, in.Text, &where, projections.Span{}); err != nil {
		return nil, err
	}
	f := projections.DeliveryFilter{List: in.FilterInput.list(&in.PageInput, c), EndpointID: in.EndpointID,
		EventID: in.EventID, EventType: in.Event, Status: domain.DeliveryStatus(in.Status),
		Code: in.Code, Replay: in.ReplayID, Where: where}
	page, err := bySubject(ctx, a, &f.List, in.Subject, func() (projections.Page[projections.DeliveryRow], error) {
		return a.History.Deliveries(ctx, f)
	}, func(r *projections.DeliveryRow) string { return r.EventID })
	return answerPage(page, err, a.showDelivery)
}

type deliveryPath struct {
	ID string `path:"id" maxLength:"128" doc:"The delivery's id." example:"dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
}

// delivery finds a delivery's row.
func (a *api) delivery(ctx context.Context, tenant, id string) (projections.DeliveryRow, error) {
	return lookAgain(ctx, a, a.rowsAt, func() (projections.DeliveryRow, error) {
		return a.History.Delivery(ctx, tenant, id)
	})
}

func (a *api) getDelivery(ctx context.Context, c *caller, in *deliveryPath) (*deliveryOutput, error) {
	row, err := a.delivery(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	out := a.showDelivery(&row)
	out.Waits = a.waitsOf(&row)
	if out.Cancelled, err = a.cancellation(ctx, &row); err != nil {
		return nil, err
	}
	filter := projections.AttemptFilter{DeliveryID: row.ID,
		List: projections.List{Tenant: c.tenant, Limit: 250, Ascending: true}}
	for {
		page, err := a.History.Attempts(ctx, filter)
		if err != nil {
			return nil, err
		}
		for i := range page.Rows {
			out.Attempts = append(out.Attempts, showAttempt(&page.Rows[i]))
		}
		if !page.HasMore || page.NextCursor == "" {
			return &deliveryOutput{out}, nil
		}
		filter.Cursor = page.NextCursor
	}
}
