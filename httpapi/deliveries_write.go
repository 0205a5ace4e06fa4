package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/projections"
	"hookledger/vault"
)

// RetryEffect is what a retry that was asked for does to the schedule.
type RetryEffect struct {
	N         int              `json:"n" doc:"The number of the attempt to come." example:"3"`
	InPlaceOf *time.Time       `json:"in_place_of,omitempty" doc:"When the attempt was due whose place it takes."`
	NextStep  int              `json:"next_step,omitempty" doc:"The step of the schedule, from 1, that a failure takes."`
	NextWait  *domain.Duration `json:"next_wait,omitempty" doc:"Its wait, before jitter." example:"30m"`
	Says      string           `json:"says" doc:"All of it in a sentence."`
}

// Cancellation is why a delivery was cancelled, and by whom.
type Cancellation struct {
	Reason string        `json:"reason" doc:"requested, endpoint_removed, erased or replay_cancelled." example:"requested"`
	Note   string        `json:"note,omitempty" doc:"Why, in the words of who asked for it."`
	Actor  *domain.Actor `json:"actor,omitempty"`
	At     time.Time     `json:"at"`
}

func (a *api) registerDeliveryWrites() {
	register(a, operation{id: "retry-delivery", tag: "Deliveries", summary: "Retry a delivery",
		status: http.StatusAccepted, description: "Makes it due at once, in place of its next retry, whose step of the " +
			"schedule it uses up; the answer says so in the field retry. One that was exhausted or cancelled is reopened " +
			"for one attempt. One that succeeded is sent again only with force, and the request is marked with the header " +
			"webhook-replay."}, a.retryDelivery)
	register(a, operation{id: "cancel-delivery", tag: "Deliveries", summary: "Cancel a delivery",
		description: "Ends a delivery that waits: for its first attempt, for a retry, or held. Nothing more is sent, " +
			"unless somebody retries it. While an attempt is in flight it is 409 attempt_in_flight. One that is cancelled " +
			"stays so."}, a.cancelDelivery)
}

type retryInput struct {
	ID   string `path:"id" maxLength:"128" doc:"The delivery's id." example:"dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Body *struct {
		Force bool `json:"force,omitempty" doc:"Send it again although it succeeded."`
	}
}

func (a *api) retryDelivery(ctx context.Context, c *caller, in *retryInput) (*deliveryOutput, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	row, err := a.delivery(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	e, ok := a.Directory.Endpoint(c.tenant, row.EndpointID)
	if !ok || !e.Exists() {
		return nil, domain.Refuse(domain.KindConflict, "endpoint_removed", "the delivery's endpoint was deleted",
			"send its event to another endpoint, under the id that it has: hookledger replay create --event-id "+row.EventID+
				" --to ENDPOINT")
	}
	force := in.Body != nil && in.Body.Force
	policy := domain.RetryPolicy{Schedule: e.Config.RetrySchedule, Jitter: domain.DefaultJitter}
	due := domain.Due{Tenant: c.tenant, Endpoint: row.EndpointID, Delivery: row.ID, Event: row.EventID,
		Replay: row.Replay, DueAt: row.DueAt}
	var effect *domain.RetryRequested
	parts := retryParts(c.tenant, row.ID, force, c.idempotency)
	other := retryParts(c.tenant, row.ID, !force, c.idempotency)
	_, done, err := ledger.Execute(ctx, a.Store, domain.DeliveryStream(c.tenant, row.ID),
		func() *origin[*origin[*domain.Delivery]] {
			return withOrigin(withOrigin(domain.NewDelivery(), other...), parts...)
		}, func(o *origin[*origin[*domain.Delivery]]) ([]domain.Record, error) {
			switch {
			case o.made != nil:
				effect = o.state.state.Requested
				c.repeated()
				return nil, nil
			case o.state.made != nil:
				return nil, errIdempotencyConflict
			}
			s := a.stamp(c)
			s.Base = a.base(s, parts...)
			records, err := o.state.state.RequestRetry(s, due, policy, force)
			if err != nil {
				return nil, err
			}
			effect, _ = records[len(records)-1].Fact.(*domain.RetryRequested)
			return records, nil
		})
	if err != nil {
		return nil, err
	}
	if err := a.rowsAt(ctx, done.Position); err != nil {
		return nil, err
	}
	if row, err = a.delivery(ctx, c.tenant, in.ID); err != nil {
		return nil, err
	}
	out := a.showDelivery(&row)
	out.Retry = showRetry(effect, &row)
	return &deliveryOutput{out}, nil
}

// retryParts are what the record of a retry derives its id from; the key stands last.
func retryParts(tenant, delivery string, force bool, key string) []string {
	body := "retry"
	if force {
		body = "force"
	}
	return []string{tenant, "retry-delivery", delivery, body, key}
}

// showRetry says what a retry does; row is its delivery's, which may be held all the same.
func showRetry(f *domain.RetryRequested, row *projections.DeliveryRow) *RetryEffect {
	if f == nil || f.N == 0 {
		return nil
	}
	e := &RetryEffect{N: f.N, InPlaceOf: timeOrNil(f.InPlaceOf), NextStep: f.NextStep}
	e.Says = fmt.Sprintf("attempt %d is due now", f.N)
	if row.Held != "" {
		e.Says = fmt.Sprintf("attempt %d is held (%s)", f.N, row.Held)
	}
	if e.InPlaceOf != nil {
		e.Says += ", in place of the one due at " + e.InPlaceOf.UTC().Format(time.RFC3339)
	} else {
		e.Says += "; the delivery had ended, and is reopened for this one"
	}
	if f.NextStep == 0 {
		e.Says += "; if it fails, the delivery is exhausted"
	} else {
		wait := f.NextWait
		e.NextWait = &wait
		e.Says += fmt.Sprintf("; if it fails, step %d of the schedule follows: %s", f.NextStep, wait)
	}
	if row.Held != "" {
		e.Says += ". It can't start, for it is held: " + goesOn(row.Held, row.EndpointID, row.Replay, row.HeldBehind)
	}
	return e
}

type cancelInput struct {
	ID   string `path:"id" maxLength:"128" doc:"The delivery's id." example:"dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why, in your own words. It is kept sealed."`
	}
}

func (a *api) cancelDelivery(ctx context.Context, c *caller, in *cancelInput) (*deliveryOutput, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	row, err := a.delivery(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	if row.Status != domain.StatusCancelled || c.idempotency != "" {
		if row, err = a.cancel(ctx, c, in, &row); err != nil {
			return nil, err
		}
	}
	out := a.showDelivery(&row)
	out.Cancelled, err = a.cancellation(ctx, &row)
	return &deliveryOutput{out}, err
}

// cancel decides on the end of a delivery, and gives its row behind that.
func (a *api) cancel(ctx context.Context, c *caller, in *cancelInput,
	row *projections.DeliveryRow) (projections.DeliveryRow, error) {
	note, policy := "", domain.RetryPolicy{Jitter: domain.DefaultJitter}
	if in.Body != nil {
		note = in.Body.Reason
	}
	if e, ok := a.Directory.Endpoint(c.tenant, row.EndpointID); ok {
		policy.Schedule = e.Config.RetrySchedule
	} else if err := a.rowsAt(ctx, a.Store.Head()); err != nil { // its removal is the end of what waits: see it first
		return *row, err
	} else if *row, err = a.delivery(ctx, c.tenant, row.ID); err != nil {
		return *row, err
	}
	due := domain.Due{Tenant: c.tenant, Endpoint: row.EndpointID, Delivery: row.ID, Event: row.EventID,
		Replay: row.Replay, DueAt: row.DueAt}
	parts, repeated := []string{c.tenant, "cancel-delivery", row.ID, c.idempotency}, false
	stream := domain.DeliveryStream(c.tenant, row.ID)
	_, done, err := ledger.Execute(ctx, a.Store, stream,
		func() *origin[*domain.Delivery] { return withOrigin(domain.NewDelivery(), parts...) },
		func(o *origin[*domain.Delivery]) ([]domain.Record, error) {
			if repeated = o.made != nil; repeated || row.Status == domain.StatusCancelled {
				c.replayed = repeated
				return nil, nil
			}
			s := a.stamp(c)
			s.Base = a.base(s, parts...)
			if records, err := o.state.RequestCancel(s, due, policy, nil); err != nil || len(records) == 0 {
				return nil, err
			}
			content, err := a.sealNote(ctx, c.tenant, row.EventID, vault.Place{Tenant: c.tenant, Stream: stream,
				Record: o.state.CancelledAs(s), Type: (*domain.DeliveryCancelled)(nil).RecordType()}, s.At, note)
			if err != nil {
				return nil, err
			}
			return o.state.RequestCancel(s, due, policy, content)
		})
	if err != nil {
		return *row, err
	}
	if err := a.rowsAt(ctx, done.Position); err != nil {
		return *row, err
	}
	next, err := a.delivery(ctx, c.tenant, row.ID)
	if err == nil && repeated {
		err = a.sameNote(ctx, &next, note)
	}
	return next, err
}

// sameNote refuses a key that was used with another reason.
func (a *api) sameNote(ctx context.Context, row *projections.DeliveryRow, note string) error {
	was, err := a.cancellation(ctx, row)
	if err == nil && was != nil && was.Reason == domain.CancelRequested && was.Note != note {
		return errIdempotencyConflict
	}
	return err
}

// sealNote seals why a delivery was cancelled under its event's key, so that it is erased with it. Where that is gone
// already, under one of the tenant's.
func (a *api) sealNote(ctx context.Context, tenant, event string, at vault.Place, now time.Time,
	note string) (*domain.Sealed, error) {
	if note == "" {
		return nil, nil
	}
	plain, err := json.Marshal(domain.CancelContent{Note: note})
	if err != nil {
		return nil, err
	}
	for r, err := range a.Store.ReadStream(ctx, domain.EventStream(tenant, event), 0) {
		if err != nil {
			return nil, err
		}
		if f, ok := r.Fact.(*domain.EventReceived); ok && !f.Content.Empty() {
			sealed, err := a.Vault.Seal(ctx, f.Content.KeyID, at, plain)
			if !errors.Is(err, vault.ErrErased) {
				return sealed, err
			}
		}
		break
	}
	keyID, err := a.Vault.DataKey(ctx, vault.Scope{Tenant: tenant, Type: "cancel", At: now})
	if err != nil {
		return nil, err
	}
	return a.Vault.Seal(ctx, keyID, at, plain)
}

// cancellation reads why a delivery was cancelled; nil where it was not.
func (a *api) cancellation(ctx context.Context, row *projections.DeliveryRow) (*Cancellation, error) {
	if row.Status != domain.StatusCancelled {
		return nil, nil
	}
	out := &Cancellation{Reason: domain.CancelEndpointRemoved, At: row.CompletedAt} // which has no record of its own
	for r, err := range a.Store.ReadStream(ctx, domain.DeliveryStream(row.Tenant, row.ID), 0) {
		if err != nil {
			return nil, err
		}
		f, ok := r.Fact.(*domain.DeliveryCancelled)
		if !ok {
			continue
		}
		var content domain.CancelContent
		if err := a.open(ctx, vault.PlaceOf(r), f.Content, &content); err != nil && !errors.Is(err, vault.ErrErased) {
			return nil, err
		}
		out = &Cancellation{Reason: f.Reason, Note: content.Note, At: r.RecordedAt,
			Actor: &r.Actor}
	}
	return out, nil
}
