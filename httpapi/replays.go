package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hookledger/domain"
	"hookledger/projections"
	"hookledger/replays"
	"hookledger/vault"
)

// Replays plans replays, and hears of those that are to run.
type Replays interface {
	// Plan computes a plan; it refuses a spec that is wrong, or names what is not there.
	Plan(ctx context.Context, s replays.Spec) (*replays.Plan, error)
	// Cite puts records in the place of a selector's positions; it selects the same, up to asOf.
	Cite(ctx context.Context, tenant string, s domain.ReplaySelector, asOf domain.Position) (domain.ReplaySelector, error)
	// Wake says that a replay was asked for or changed.
	Wake()
}

// ReplaySelect says which events are replayed: all that is given must hold.
type ReplaySelect struct {
	CreatedAfter   time.Time       `json:"created_after,omitzero" required:"false" doc:"Received after this time."`
	CreatedBefore  time.Time       `json:"created_before,omitzero" required:"false" doc:"Received before this time."`
	OccurredAfter  time.Time       `json:"occurred_after,omitzero" required:"false" doc:"The event's own timestamp is after this time."`
	OccurredBefore time.Time       `json:"occurred_before,omitzero" required:"false" doc:"The event's own timestamp is before this time."`
	PositionAfter  domain.Position `json:"position_after,omitempty" doc:"Behind this position of the ledger; kept as after_record."`
	PositionBefore domain.Position `json:"position_before,omitempty" doc:"Before this position of the ledger; kept as before_record."`
	AfterRecord    string          `json:"after_record,omitempty" maxLength:"512" doc:"Behind this record, cited as as_of is."`
	BeforeRecord   string          `json:"before_record,omitempty" maxLength:"512" doc:"Before this record, likewise."`
	EventTypes     []string        `json:"event_types,omitempty" maxItems:"100" nullable:"false" example:"[\"agent.*\"]"`
	EndpointIDs    []string        `json:"endpoint_ids,omitempty" maxItems:"1000" nullable:"false" doc:"What was routed to these."`
	EventIDs       []string        `json:"event_ids,omitempty" maxItems:"5000" nullable:"false" doc:"These events."`
	DeliveryIDs    []string        `json:"delivery_ids,omitempty" maxItems:"5000" nullable:"false" doc:"The events of these deliveries, each to the endpoint that it went to."`
	Subject        string          `json:"subject,omitempty" maxLength:"512" doc:"Each event is opened for it: slow where there are many."`
	Status         []string        `json:"status,omitempty" maxItems:"6" nullable:"false" doc:"Of the routed delivery, at the plan's record." example:"[\"exhausted\"]"`
	MissedBy       string          `json:"missed_by,omitempty" maxLength:"128" doc:"What this endpoint was to get and did not take, or was left out of while it was disabled or not registered yet."`
	FailuresOf     string          `json:"failures_of,omitempty" maxLength:"128" doc:"What that replay could not deliver."`
}

func (s *ReplaySelect) selector(tenant string) (domain.ReplaySelector, error) {
	out := domain.ReplaySelector{CreatedAfter: s.CreatedAfter.UTC(), CreatedBefore: s.CreatedBefore.UTC(),
		OccurredAfter: s.OccurredAfter.UTC(), OccurredBefore: s.OccurredBefore.UTC(),
		PositionAfter: s.PositionAfter, PositionBefore: s.PositionBefore, EventTypes: s.EventTypes,
		EndpointIDs: s.EndpointIDs, EventIDs: s.EventIDs, DeliveryIDs: s.DeliveryIDs, Subject: s.Subject,
		MissedBy: s.MissedBy, FailuresOf: s.FailuresOf}
	for _, status := range s.Status {
		out.Status = append(out.Status, domain.DeliveryStatus(status))
	}
	for _, cited := range []struct {
		text string
		ref  **domain.RecordRef
	}{{s.AfterRecord, &out.After}, {s.BeforeRecord, &out.Before}} {
		if cited.text == "" {
			continue
		}
		ref, err := parseRef(cited.text)
		if err != nil || ref.Stream.Tenant() != tenant {
			return out, errNoBound
		}
		*cited.ref = &ref
	}
	return out, nil
}

func showSelect(s *domain.ReplaySelector) *ReplaySelect {
	out := &ReplaySelect{CreatedAfter: s.CreatedAfter, CreatedBefore: s.CreatedBefore, PositionAfter: s.PositionAfter,
		PositionBefore: s.PositionBefore, EventTypes: s.EventTypes, EndpointIDs: s.EndpointIDs, EventIDs: s.EventIDs,
		DeliveryIDs: s.DeliveryIDs, Subject: s.Subject, MissedBy: s.MissedBy, FailuresOf: s.FailuresOf,
		OccurredAfter: s.OccurredAfter, OccurredBefore: s.OccurredBefore}
	for _, status := range s.Status {
		out.Status = append(out.Status, string(status))
	}
	if s.After != nil {
		out.AfterRecord = showRef(*s.After)
	}
	if s.Before != nil {
		out.BeforeRecord = showRef(*s.Before)
	}
	return out
}

// ReplayPace is how fast, and in which order, a replay goes.
type ReplayPace struct {
	Rate      float64 `json:"rate,omitempty" minimum:"0" doc:"Deliveries per second; 0: as fast as the limits allow."`
	GapFactor float64 `json:"gap_factor,omitempty" minimum:"0" doc:"The original gaps times this: 1 is as it was, 0.1 ten times as fast; 0: gaps do not count."`
	Ordered   bool    `json:"ordered,omitempty" doc:"The next one goes out when the one before has ended."`
}

// NewReplay is what a replay is asked for with.
type NewReplay struct {
	ID         string       `json:"id,omitempty" maxLength:"128" doc:"Your own, rpl_…: a repeated request is the same replay."`
	Select     ReplaySelect `json:"select"`
	EndpointID string       `json:"endpoint_id,omitempty" maxLength:"128" doc:"Gets all of it; absent: each event goes where it is matched to."`
	Match      string       `json:"match,omitempty" enum:"then,now" doc:"As it was routed when it came (the default), or as the endpoints subscribe today."`
	ReplayPace
	Reason        string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept on the ledger."`
	DryRun        bool   `json:"dry_run,omitempty" doc:"Plan it, and do nothing."`
	AsOf          string `json:"as_of,omitempty" maxLength:"512" doc:"As a dry run answered it: plan at that record; absent: now."`
	Digest        string `json:"digest,omitempty" maxLength:"64" doc:"As a dry run answered it: refuse any other plan."`
	MaxDeliveries int    `json:"max_deliveries,omitempty" minimum:"0" doc:"Refuse a larger plan; absent: 100000."`
}

// Replay is a replay as it stands.
type Replay struct {
	ID         string         `json:"id,omitempty" example:"rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Status     string         `json:"status" enum:"planned,running,paused,completed,cancelled"`
	Because    string         `json:"because,omitempty" doc:"Why it is paused or was cancelled." example:"manual"`
	DryRun     bool           `json:"dry_run,omitempty" doc:"Nothing was done."`
	Planned    int            `json:"planned" doc:"Deliveries of the plan."`
	Bytes      int64          `json:"bytes" doc:"Of their bodies."`
	Scheduled  int            `json:"scheduled" doc:"So far."`
	Pending    int            `json:"pending" doc:"Scheduled, and not ended yet."`
	Delivered  int            `json:"delivered"`
	Failed     int            `json:"failed"`
	Skipped    map[string]int `json:"skipped,omitempty" doc:"Not delivered for another reason than that it failed, by reason."`
	Digest     string         `json:"digest" doc:"SHA-256 over the pairs of event and endpoint, in order."`
	AsOf       string         `json:"as_of" doc:"The record that the plan is fixed at."`
	Select     *ReplaySelect  `json:"select,omitempty" doc:"Absent where it was erased."`
	EndpointID string         `json:"endpoint_id,omitempty"`
	Match      string         `json:"match" enum:"then,now"`
	ReplayPace
	Reason      string        `json:"reason,omitempty"`
	First       *ReplayEvent  `json:"first,omitempty" doc:"The plan's first pair; in the answer to POST."`
	Last        *ReplayEvent  `json:"last,omitempty" doc:"And its last."`
	Sample      []ReplayEvent `json:"sample,omitempty" doc:"The 1st, 2nd, 4th, 8th and so on."`
	CreatedBy   string        `json:"created_by,omitempty" doc:"The API key." example:"key_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	CreatedAt   time.Time     `json:"created_at"`
	UpdatedAt   time.Time     `json:"updated_at"`
	CompletedAt *time.Time    `json:"completed_at,omitempty" doc:"Once nothing more will happen."`
}

// ReplayEvent is one pair of a plan.
type ReplayEvent struct {
	EventID    string    `json:"event_id"`
	Event      string    `json:"event" example:"agent.budget_alert"`
	EndpointID string    `json:"endpoint_id"`
	Size       int       `json:"size" doc:"Of the body, in bytes."`
	CreatedAt  time.Time `json:"created_at" doc:"When it was received."`
}

func showPair(p *domain.PlannedPair) ReplayEvent {
	return ReplayEvent{EventID: p.Event, Event: p.Type, EndpointID: p.Endpoint, Size: p.Size, CreatedAt: p.At}
}

type replayOutput struct {
	Body Replay
}

const (
	// maxReplayBody holds 5,000 event ids.
	maxReplayBody = 1 << 20
	// planWithin is how long a plan may take: every event of the selected time is looked at once.
	planWithin = 15 * time.Minute
)

func (a *api) registerReplays() {
	register(a, operation{id: "create-replay", tag: "Replays", summary: "Plan a replay, or send events again",
		status: http.StatusAccepted, maxBody: maxReplayBody, patience: planWithin,
		description: "What is selected goes out again with the same " +
			"webhook-id and body, signed afresh, with the header webhook-replay. With dry_run nothing is done: the answer " +
			"says how much it is; its as_of and digest make sure that what runs later is that plan. A repeated request with " +
			"the same id is the same replay.",
		document: orReplayThatIs("A dry run's plan, or the replay that an earlier request with this id made.")},
		a.createReplay)
	register(a, operation{id: "list-replays", tag: "Replays", summary: "List replays"}, a.listReplays)
	register(a, operation{id: "get-replay", tag: "Replays", summary: "Get a replay with its progress"}, a.getReplay)
	register(a, operation{id: "pause-replay", tag: "Replays", summary: "Pause a replay",
		description: "What is in flight ends; nothing else of it goes out until it is resumed."}, a.pauseReplay)
	register(a, operation{id: "resume-replay", tag: "Replays", summary: "Resume a replay"}, a.resumeReplay)
	register(a, operation{id: "cancel-replay", tag: "Replays", summary: "Cancel a replay",
		description: "What is in flight ends; what waits is cancelled."}, a.cancelReplay)
	register(a, operation{id: "list-replay-failures", tag: "Replays", summary: "List what a replay could not deliver"},
		a.listReplayFailures)
	register(a, operation{id: "retry-replay-failures", tag: "Replays",
		summary: "Send again what a replay could not deliver",
		status:  http.StatusAccepted, patience: planWithin,
		description: "A new replay of those deliveries alone.",
		document:    orReplayThatIs("The replay that an earlier request with this Idempotency-Key made.")},
		a.retryReplayFailures)
}

// orReplayThatIs documents the answer of a POST that made no new replay.
func orReplayThatIs(which string) func(*huma.Operation) {
	return func(op *huma.Operation) {
		ok := *op.Responses[statusText(http.StatusAccepted)]
		ok.Description = which
		op.Responses[statusText(http.StatusOK)] = &ok
	}
}

type replayPath struct {
	ID string `path:"id" maxLength:"128" doc:"The replay's id." example:"rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
}

type listReplaysInput struct {
	PageInput
	Status string `query:"status" enum:"planned,running,paused,completed,cancelled"`
}

func (a *api) listReplays(ctx context.Context, c *caller, in *listReplaysInput) (*listOutput[Replay], error) {
	if err := a.rowsAt(ctx, domain.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	page, err := a.History.Replays(ctx, projections.ReplayFilter{List: in.list(c.tenant),
		Status: domain.ReplayStatus(in.Status)})
	var failed error
	out, err := answerPage(page, err, func(r *domain.Replay) Replay {
		shown, err := a.showReplay(ctx, r)
		failed = errors.Join(failed, err)
		return shown
	})
	return out, errors.Join(err, failed)
}

func (a *api) getReplay(ctx context.Context, c *caller, in *replayPath) (*replayOutput, error) {
	r, err := a.replay(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	shown, err := a.showReplay(ctx, &r)
	return &replayOutput{shown}, err
}

// replay finds a replay's row.
func (a *api) replay(ctx context.Context, tenant, id string) (domain.Replay, error) {
	return lookAgain(ctx, a, a.rowsAt, func() (domain.Replay, error) { return a.History.Replay(ctx, tenant, id) })
}

// showReplay shows a replay with its progress.
func (a *api) showReplay(ctx context.Context, r *domain.Replay) (Replay, error) {
	p, err := a.History.ReplayProgress(ctx, r.Tenant, r.ID)
	if err != nil {
		return Replay{}, err
	}
	out := Replay{ID: r.ID, Status: string(r.Status), Because: r.Reason, Planned: r.Plan.Count, Bytes: r.Plan.Bytes,
		Scheduled: r.Scheduled, Pending: p.Open, Delivered: p.Delivered, Failed: p.Failed, Digest: r.Plan.Digest,
		AsOf: showRef(r.Plan.AsOf), EndpointID: r.Request.Endpoint, Match: string(r.Request.Match),
		ReplayPace: ReplayPace{r.Request.Rate, r.Request.GapFactor, r.Request.Ordered}, CreatedBy: r.RequestedBy.ID,
		CreatedAt: r.RequestedAt, UpdatedAt: r.UpdatedAt, CompletedAt: timeOrNil(r.CompletedAt), Skipped: r.Plan.Skipped}
	switch {
	case r.Ended():
		out.Skipped = r.Result.Skipped
	case p.Cancelled > 0:
		out.Skipped = map[string]int{"cancelled": p.Cancelled}
		for reason, n := range r.Plan.Skipped {
			out.Skipped[reason] = n
		}
	}
	switch content, err := replays.Content(ctx, a.Vault, r); {
	case errors.Is(err, vault.ErrErased):
	case err != nil:
		return out, err
	default:
		out.Select, out.Reason = showSelect(&content.Selector), content.Reason
	}
	return out, nil
}

func (a *api) pauseReplay(ctx context.Context, c *caller, in *replayPath) (*replayOutput, error) {
	return a.changeReplay(ctx, c, in.ID, func(r *domain.Replay) ([]domain.Fact, error) { return r.Pause("manual") })
}

func (a *api) resumeReplay(ctx context.Context, c *caller, in *replayPath) (*replayOutput, error) {
	return a.changeReplay(ctx, c, in.ID, (*domain.Replay).Resume)
}

func (a *api) cancelReplay(ctx context.Context, c *caller, in *replayPath) (*replayOutput, error) {
	return a.changeReplay(ctx, c, in.ID, func(r *domain.Replay) ([]domain.Fact, error) { return r.Cancel("manual") })
}

// changeReplay appends what is decided about a replay, and answers once this node goes by it.
func (a *api) changeReplay(ctx context.Context, c *caller, id string,
	decide func(*domain.Replay) ([]domain.Fact, error)) (*replayOutput, error) {
	r, err := a.replay(ctx, c.tenant, id)
	if err != nil {
		return nil, err
	}
	parts := c.parts(id)
	var made *domain.Record
	done, err := replays.Decide(ctx, a.Store, &r, func() domain.Stamp {
		s := a.stamp(c)
		s.Base = a.base(s, parts...)
		return s
	}, func(r *domain.Replay) ([]domain.Fact, error) {
		var err error
		if made, err = a.madeIn(ctx, domain.ReplayStream(c.tenant, id), parts); made != nil || err != nil {
			return nil, err
		}
		return decide(r)
	})
	if err != nil {
		return nil, err
	}
	if made != nil {
		c.repeated()
		done.Position = made.Position
	}
	a.Replays.Wake()
	if err := errors.Join(a.configAt(ctx, done.Position), a.rowsAt(ctx, done.Position)); err != nil {
		return nil, err
	}
	shown, err := a.showReplay(ctx, &r)
	return &replayOutput{shown}, err
}

type replayFailuresInput struct {
	ID string `path:"id" maxLength:"128" doc:"The replay's id." example:"rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	PageInput
}

func (a *api) listReplayFailures(ctx context.Context, c *caller, in *replayFailuresInput) (*listOutput[Delivery],
	error) {
	if _, err := a.replay(ctx, c.tenant, in.ID); err != nil {
		return nil, err
	}
	if err := a.rowsAt(ctx, domain.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	page, err := a.History.Deliveries(ctx, projections.DeliveryFilter{List: in.list(c.tenant), Replay: in.ID,
		Status: domain.StatusExhausted})
	return answerPage(page, err, a.showDelivery)
}
