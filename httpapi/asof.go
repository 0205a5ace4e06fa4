package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"hookledger/domain"
	"hookledger/projections"
)

// AsOfInput names a moment of the past.
type AsOfInput struct {
	AsOf string `query:"as_of" maxLength:"64" doc:"A position or a time (RFC 3339)." example:"2026-02-01T15:04:05Z"`
}

// cut reads the moment, and waits until the rows hold everything up to it; without one it is now.
func (a *api) cut(ctx context.Context, in AsOfInput) (projections.Cut, error) {
	head := a.Store.Head()
	if in.AsOf == "" {
		return projections.Cut{Position: head}, a.rowsAt(ctx, head)
	}
	if n, err := strconv.ParseUint(in.AsOf, 10, 63); err == nil && n > 0 {
		return projections.Cut{Position: domain.Position(n)}, a.rowsAt(ctx, domain.Position(n))
	}
	t, err := time.Parse(time.RFC3339Nano, in.AsOf)
	switch {
	case err != nil:
		return projections.Cut{}, newProblem(http.StatusBadRequest, "invalid_moment",
			"as_of is neither a position nor a time: write it like 4711, or like 2026-02-01T15:04:05Z")
	case t.After(a.Now()):
		return projections.Cut{}, newProblem(http.StatusBadRequest, "invalid_moment",
			"as_of is in the future: what will be on the ledger then is not known; leave it out for now")
	}
	return projections.Cut{Time: t}, a.rowsAt(ctx, head)
}

// Routing is who gets events of a type.
type Routing struct {
	Event      string     `json:"event" doc:"The type." example:"agent.budget_alert"`
	RoutedAsOf string     `json:"routed_as_of" doc:"The newest configuration record that it was decided on."`
	Matches    []RoutedTo `json:"matches" nullable:"false" doc:"Who gets it."`
	LeftOut    []LeftOut  `json:"left_out" nullable:"false" doc:"Who subscribes to it and does not get it, and why."`
}

// RoutedTo is an endpoint that gets an event.
type RoutedTo struct {
	EndpointID string          `json:"endpoint_id" example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Revision   domain.Revision `json:"endpoint_revision" doc:"The configuration that matched."`
}

type routingOutput struct {
	Body Routing
}

func (a *api) registerAsOf() {
	register(a, operation{id: "get-routing", tag: "Events", summary: "Say who gets events of a type",
		description: "The decision that is made now, or that was made at a moment of the past: the configuration is folded " +
			"up to it from its records."}, a.getRouting)
	register(a, operation{id: "list-open", tag: "Deliveries", summary: "List what had not ended at a moment",
		description: "Deliveries that were pending, in flight, retrying or held then, each folded from its records on the " +
			"ledger: status, held, attempt_count and next_attempt_at are those of then, without a last code. A page may hold fewer rows than the limit, " +
			"even none, and still have more behind it."}, a.listOpen)
	register(a, operation{id: "list-endpoint-history", tag: "Endpoints", summary: "List an endpoint's changes",
		description: "Each with who made it, and with each field before and after. A removed endpoint keeps its history."},
		a.listEndpointHistory)
	a.registerHealth()
}

func (a *api) getRouting(ctx context.Context, c *caller, in *struct {
	AsOfInput
	Event string `query:"event" required:"true" maxLength:"128" doc:"The type." example:"agent.budget_alert"`
}) (*routingOutput, error) {
	cut, err := a.cut(ctx, in.AsOfInput)
	if err != nil {
		return nil, err
	}
	table, ok, err := a.History.RoutingAt(ctx, c.tenant, cut)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNotYet("tenant")
	}
	decision := table.Route("", in.Event, a.Now())
	out := Routing{Event: in.Event, RoutedAsOf: decision.RoutedAsOf.String(), Matches: []RoutedTo{}, LeftOut: []LeftOut{}}
	for _, m := range decision.Matches {
		out.Matches = append(out.Matches, RoutedTo{m.Endpoint, m.EndpointRevision})
	}
	for _, l := range decision.LeftOut {
		out.LeftOut = append(out.LeftOut, LeftOut{l.Endpoint, l.Reason})
	}
	return &routingOutput{out}, nil
}

func errNotYet(what string) error {
	return domain.Refuse(domain.KindNotFound, what+"_not_found", "there was no such "+what+" at that moment",
		"choose a later as_of, or look at what happened with: hookledger record list")
}

func (a *api) listOpen(ctx context.Context, c *caller, in *struct {
	AsOfInput
	PageInput
	EndpointID string `query:"endpoint_id" maxLength:"128"`
}) (*listOutput[Delivery], error) {
	cut, err := a.cut(ctx, in.AsOfInput)
	if err != nil {
		return nil, err
	}
	if in.AsOf == "" {
		cut = projections.Cut{} // what is open now is held by what holds it now
	}
	page, err := a.History.OpenAt(ctx, projections.OpenFilter{List: in.list(c.tenant), EndpointID: in.EndpointID,
		Cut: cut})
	return answerPage(page, err, a.showDelivery) // of then, what later attempts brought is empty
}

// endpointThen shows an endpoint as it stood.
func (a *api) endpointThen(ctx context.Context, c *caller, id string, in AsOfInput) (*endpointOutput, error) {
	cut, err := a.cut(ctx, in)
	if err != nil {
		return nil, err
	}
	if !domain.EndpointStream(c.tenant, id).Valid() {
		return nil, errNoSuchEndpoint
	}
	e, ok, err := a.History.EndpointAt(ctx, c.tenant, id, cut)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNotYet("endpoint")
	}
	return a.answerEndpoint(ctx, c, e)
}
