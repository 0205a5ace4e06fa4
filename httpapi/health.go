package httpapi

import (
	"context"
	"time"

	"hookledger/domain"
	"hookledger/projections"
)

// EndpointHealth is how an endpoint does, as folded from its records.
type EndpointHealth struct {
	EndpointID string                  `json:"endpoint_id" example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	State      string                  `json:"state" enum:"healthy,degraded,failing,disabled"`
	Since      *time.Time              `json:"since,omitempty" doc:"Of the state; absent: it was always healthy."`
	Reason     string                  `json:"reason,omitempty" doc:"Why the state is what it is." example:"success_rate"`
	Because    []string                `json:"because" nullable:"false" doc:"Ids of the records that led to the state."`
	Causes     []Cause                 `json:"causes" nullable:"false" doc:"The same, with where they stand."`
	Breaker    string                  `json:"breaker" enum:"closed,open,half_open"`
	Hold       *Hold                   `json:"hold,omitempty" doc:"Nothing is sent for now."`
	Places     int                     `json:"places,omitempty"`
	InFlight   int                     `json:"in_flight" doc:"Attempts without an outcome."`
	Windows    map[string]HealthWindow `json:"windows" doc:"By length: 5m, 1h, 24h."`
	Failures   int                     `json:"consecutive_failures"`
	LastCode   string                  `json:"last_failure_code,omitempty" doc:"A status or an error code." example:"503"`
	LastOK     *time.Time              `json:"last_success_at,omitempty"`
	LastFailed *time.Time              `json:"last_failure_at,omitempty"`
	Pending    *int                    `json:"pending,omitempty"`
	Oldest     *time.Time              `json:"oldest_pending_at,omitempty"`
	Changes    []HealthChange          `json:"changes" nullable:"false" doc:"The last ones, oldest first; 16 are kept."`
	Position   domain.Position         `json:"as_of_position" doc:"Up to which the ledger was folded; 0 with a time."`
	At         time.Time               `json:"as_of" doc:"The moment that this is the health of."`
}

// Hold is why nothing is sent to an endpoint. Where an ordered one's line waits behind an exhausted delivery, it is
// that: it waits for a person.
type Hold struct {
	Reason     string     `json:"reason" enum:"breaker_open,slowed_down,behind_exhausted"`
	Since      time.Time  `json:"since"`
	Until      *time.Time `json:"until,omitempty" doc:"When it ends by itself at the latest; absent: it does not."`
	RecordID   string     `json:"record_id,omitempty" doc:"The record that caused it."`
	DeliveryID string     `json:"delivery_id,omitempty" doc:"With behind_exhausted: which one."`
	Says       string     `json:"says" doc:"How it goes on."`
}

// HealthWindow is what the attempts of a time came to.
type HealthWindow struct {
	Attempts    int            `json:"attempts"`
	Succeeded   int            `json:"succeeded"`
	Failed      int            `json:"failed"`
	SuccessRate float64        `json:"success_rate" doc:"From 0 to 1; 1 where nothing was attempted."`
	P50         float64        `json:"p50_ms"`
	P95         float64        `json:"p95_ms"`
	P99         float64        `json:"p99_ms"`
	Errors      map[string]int `json:"errors" doc:"Failed attempts by status or error code."`
}

// HealthChange is a change of an endpoint's state or breaker.
type HealthChange struct {
	At      time.Time `json:"at"`
	State   string    `json:"state" enum:"healthy,degraded,failing,disabled"`
	Breaker string    `json:"breaker" enum:"closed,open"`
	Reason  string    `json:"reason"`
	Because []string  `json:"because" nullable:"false" doc:"Ids of records: of a row of failures the first and the last."`
	Causes  []Cause   `json:"causes" nullable:"false" doc:"The same, with where they stand."`
}

// Cause is a record that led to something.
type Cause struct {
	RecordID string          `json:"record_id" example:"01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Stream   domain.Stream   `json:"stream,omitempty" example:"delivery-default.dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Revision domain.Revision `json:"revision" doc:"Its place in the stream."`
}

type healthOutput struct {
	Body EndpointHealth
}

func (a *api) registerHealth() {
	register(a, operation{id: "get-endpoint-health", tag: "Endpoints", summary: "Say how an endpoint does",
		description: "Folded from the records of its attempts, with the records that led to the state. With as_of it is " +
			"the health of a moment of the past, computed from the ledger by the thresholds of now."}, a.getEndpointHealth)
}

func (a *api) getEndpointHealth(ctx context.Context, c *caller, in *struct {
	ID string `path:"id" maxLength:"128" doc:"The endpoint's id." example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	AsOfInput
}) (*healthOutput, error) {
	if !domain.EndpointStream(c.tenant, in.ID).Valid() {
		return nil, errNoSuchEndpoint
	}
	if in.AsOf != "" {
		return a.healthThen(ctx, c, in.ID, in.AsOfInput)
	}
	if err := a.configAt(ctx, a.Store.Head()); err != nil { // what is folded live
		return nil, err
	}
	v, err := a.History.EndpointHealth(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	out := showHealth(in.ID, &v)
	out.Pending, out.Oldest = &v.Pending, timeOrNil(v.OldestPending)
	return &healthOutput{out}, nil
}

func (a *api) healthThen(ctx context.Context, c *caller, id string, in AsOfInput) (*healthOutput, error) {
	cut, err := a.cut(ctx, in)
	if err != nil {
		return nil, err
	}
	v, err := a.History.HealthAt(ctx, c.tenant, id, cut)
	if domain.Code(err) == errNoSuchEndpoint.Code {
		return nil, errNotYet("endpoint")
	}
	if err != nil {
		return nil, err
	}
	return &healthOutput{showHealth(id, &v)}, nil
}

func showHealth(id string, v *projections.HealthView) EndpointHealth {
	out := EndpointHealth{EndpointID: id, State: string(v.State), Since: timeOrNil(v.Since.At), Reason: v.Since.Reason,
		Because: idsOf(v.Since.Because), Causes: causesOf(v.Since.Because), Breaker: v.Breaker,
		Places: v.Gate.Places, InFlight: v.InFlight,
		Windows: map[string]HealthWindow{}, Failures: v.Failures, LastCode: v.LastCode, LastOK: timeOrNil(v.LastSuccess),
		LastFailed: timeOrNil(v.LastFailure), Changes: []HealthChange{}, Position: v.Position, At: v.At}
	switch g := v.Gate; {
	case v.Blocked.Delivery != "":
		out.Hold = &Hold{Reason: projections.HeldBehind, Since: v.Blocked.Since, DeliveryID: v.Blocked.Delivery,
			Says: goesOn(projections.HeldBehind, id, "", v.Blocked.Delivery)}
	case g.Hold != "":
		out.Hold = &Hold{Reason: g.Hold, Since: g.Since, Until: timeOrNil(g.Until), RecordID: g.Because.String(),
			Says: goesOn(g.Hold, id, "", "")}
	}
	for name, w := range v.Windows {
		out.Windows[name] = HealthWindow(w)
	}
	for _, c := range v.Changes {
		out.Changes = append(out.Changes, HealthChange{At: c.At, State: string(c.State), Breaker: c.Breaker,
			Reason: c.Reason, Because: idsOf(c.Because), Causes: causesOf(c.Because)})
	}
	return out
}

func idsOf(records []domain.RecordRef) []string {
	out := make([]string, 0, len(records))
	for _, r := range records {
		out = append(out, r.Record.String())
	}
	return out
}

func causesOf(records []domain.RecordRef) []Cause {
	out := make([]Cause, 0, len(records))
	for _, r := range records {
		out = append(out, Cause{RecordID: r.Record.String(), Stream: r.Stream, Revision: r.Revision})
	}
	return out
}

// Held is why a delivery is held.
type Held struct {
	Reason string    `json:"reason" enum:"disabled,replay_paused,behind_exhausted,breaker_open,slowed_down"`
	Since  time.Time `json:"since"`
	Behind string    `json:"behind,omitempty" doc:"With behind_exhausted: the exhausted delivery."`
}

// goesOn says what must happen before what is held goes on.
func goesOn(reason, endpoint, replay, behind string) string {
	switch reason {
	case projections.HeldDisabled:
		return "its endpoint is disabled: hookledger endpoint enable " + endpoint
	case projections.HeldReplay:
		return "its replay is paused: hookledger replay resume " + replay
	case projections.HeldBehind:
		return behind + " is exhausted, and the line of its endpoint waits until it was retried with success or is " +
			"cancelled: hookledger delivery retry " + behind + ", or delivery cancel, or let all go on with hookledger " +
			"endpoint update " + endpoint + " --on-exhausted continue"
	case domain.HoldBreakerOpen:
		return "the breaker of its endpoint is open after nothing but failures: it goes on by itself once an attempt that " +
			"is let through succeeds"
	}
	return "its receiver asked for a pause: it goes on by itself behind it"
}

func heldOf(r *projections.DeliveryRow) *Held {
	if r.Held == "" {
		return nil
	}
	return &Held{Reason: r.Held, Since: r.HeldSince, Behind: r.HeldBehind}
}

func sameDuration(a, b *domain.Duration) bool { return a == b || a != nil && b != nil && *a == *b }
