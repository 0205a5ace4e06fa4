package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/replays"
	"hookledger/vault"
)

type createReplayInput struct {
	Body NewReplay
}

type createReplayOutput struct {
	Status   int
	Location string `header:"Location" doc:"Where the resource is."`
	Body     Replay
}

func (a *api) createReplay(ctx context.Context, c *caller, in *createReplayInput) (*createReplayOutput, error) {
	return a.askReplay(ctx, c, &in.Body, "create-replay", c.idempotency)
}

type retryFailuresInput struct {
	ID   string `path:"id" maxLength:"128" doc:"The replay's id." example:"rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Body *struct {
		ReplayPace
		Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept on the ledger."`
	}
}

func (a *api) retryReplayFailures(ctx context.Context, c *caller, in *retryFailuresInput) (*createReplayOutput, error) {
	if _, err := a.replay(ctx, c.tenant, in.ID); err != nil {
		return nil, err
	}
	ask := &NewReplay{Select: ReplaySelect{FailuresOf: in.ID}}
	if in.Body != nil {
		ask.ReplayPace, ask.Reason = in.Body.ReplayPace, in.Body.Reason
	}
	return a.askReplay(ctx, c, ask, "retry-replay-failures "+in.ID, c.idempotency)
}

// askReplay plans what is asked for and, unless that is all, puts it on the ledger. Nothing is written before the whole
// plan is known.
func (a *api) askReplay(ctx context.Context, c *caller, ask *NewReplay, route, key string) (*createReplayOutput,
	error) {
	request := domain.ReplayRequested{Endpoint: ask.EndpointID, Match: domain.ReplayMatch(ask.Match), Rate: ask.Rate,
		GapFactor: ask.GapFactor, Ordered: ask.Ordered}
	if request.Match == "" {
		request.Match = domain.MatchThen
	}
	if err := request.Check(); err != nil {
		return nil, err
	}
	id := ask.ID
	if id == "" {
		id = a.newID(domain.PrefixReplay, c.tenant, route, key)
	}
	if !domain.ValidReplayID(id) {
		return nil, domain.Refuse(domain.KindInvalid, "invalid_id", "the replay's id is not valid",
			"use rpl_ and up to 124 characters of A-Z a-z 0-9 _ -, or leave it out")
	}
	selector, err := ask.Select.selector(c.tenant)
	if err != nil {
		return nil, err
	}
	content := domain.ReplayContent{Selector: selector, Reason: ask.Reason}
	if !ask.DryRun && (ask.ID != "" || key != "") {
		if out, err := a.askedBefore(ctx, c, id, &request, &content); out != nil || err != nil {
			return out, err
		}
	}
	spec, ref, err := a.replaySpec(ctx, c, ask, &request, &content)
	if err != nil {
		return nil, err
	}
	plan, err := a.Replays.Plan(ctx, spec)
	if err != nil {
		return nil, err
	}
	if ask.Digest != "" && ask.Digest != plan.Digest.String() {
		return nil, domain.Refuse(domain.KindConflict, "plan_changed", "the plan is another than the digest is of",
			"give as_of with it, as the dry run answered it; or look at a new dry run")
	}
	if content.Selector, err = a.Replays.Cite(ctx, c.tenant, content.Selector, spec.AsOf); err != nil {
		return nil, err
	}
	planned := domain.ReplayPlanned{AsOf: ref, Count: plan.Count, Bytes: plan.Bytes, Skipped: plan.Skipped,
		Digest: plan.Digest.String()}
	facts, err := domain.NewReplay().Ask(request, planned)
	if err != nil {
		return nil, err
	}
	if ask.DryRun {
		now := a.Now().UTC()
		return &createReplayOutput{Status: http.StatusOK, Body: withPlan(plan, Replay{Status: string(domain.ReplayIsPlanned),
			DryRun: true, Planned: plan.Count, Bytes: plan.Bytes, Skipped: plan.Skipped, Digest: planned.Digest,
			AsOf: showRef(ref), Select: showSelect(&content.Selector), EndpointID: request.Endpoint,
			Match: string(request.Match), ReplayPace: ask.ReplayPace, Reason: ask.Reason, CreatedAt: now, UpdatedAt: now})}, nil
	}
	limit := ask.MaxDeliveries
	if limit == 0 {
		limit = domain.DefaultMaxReplay
	}
	if plan.Count > limit {
		return nil, domain.Refuse(domain.KindTooLarge, "plan_too_large", "the plan has "+strconv.Itoa(plan.Count)+
			" deliveries, more than "+strconv.Itoa(limit), "narrow the selector, or confirm it with max_deliveries "+
			strconv.Itoa(plan.Count)+" (--yes)")
	}
	out, err := a.writeReplay(ctx, c, id, facts, &content)
	if errors.Is(err, ledger.ErrConflict) { // another request has made it since
		if out, err := a.askedBefore(ctx, c, id, &request, &content); out != nil || err != nil {
			return out, err
		}
	}
	if err != nil {
		return nil, err
	}
	out.Body = withPlan(plan, out.Body)
	return out, nil
}

func withPlan(plan *replays.Plan, r Replay) Replay {
	first, last := showPair(&plan.First), showPair(&plan.Last)
	r.First, r.Last = &first, &last
	for i := range plan.Sample {
		r.Sample = append(r.Sample, showPair(&plan.Sample[i]))
	}
	return r
}

// replaySpec says what is planned, and at which record: the one asked for, else the last one there is.
func (a *api) replaySpec(ctx context.Context, c *caller, ask *NewReplay, request *domain.ReplayRequested,
	content *domain.ReplayContent) (spec replays.Spec, ref domain.RecordRef, err error) {
	if err := content.Selector.Check(request.Match); err != nil {
		return spec, ref, err
	}
	if request.Endpoint == "" {
		request.Endpoint = content.Selector.MissedBy
	}
	if request.Match == domain.MatchNow && request.Endpoint == "" && len(content.Selector.EndpointIDs) == 0 {
		routing, ok := a.Directory.Routing(c.tenant)
		if !ok {
			return spec, ref, errNoSuchTenant
		}
		for _, e := range routing.Endpoints { // by name, so that the plan stays the same when others come
			content.Selector.EndpointIDs = append(content.Selector.EndpointIDs, e.ID)
		}
	}
	spec = replays.Spec{Tenant: c.tenant, Endpoint: request.Endpoint, Match: request.Match, Selector: content.Selector}
	if ask.AsOf != "" {
		if ref, err = parseRef(ask.AsOf); err == nil && ref.Stream.Tenant() != c.tenant {
			err = errNoRef
		}
		if err == nil {
			spec.AsOf, err = replays.Find(ctx, a.Store, ref)
		}
		return spec, ref, err
	}
	if err := a.rowsAt(ctx, a.Store.Head()); err != nil {
		return spec, ref, err
	}
	spec.AsOf, ref, err = a.History.AsOf(ctx, c.tenant)
	return spec, ref, err
}

// askedBefore answers a request that is repeated; nil: nobody has asked for a replay of this id.
func (a *api) askedBefore(ctx context.Context, c *caller, id string, want *domain.ReplayRequested,
	content *domain.ReplayContent) (*createReplayOutput, error) {
	first, err := a.firstRecord(ctx, domain.ReplayStream(c.tenant, id))
	if err != nil || first == nil {
		return nil, err
	}
	r, err := a.replay(ctx, c.tenant, id)
	if err != nil {
		return nil, err
	}
	had, err := replays.Content(ctx, a.Vault, &r)
	if errors.Is(err, vault.ErrErased) {
		had, err = *content, nil // nobody can tell any more
	}
	if err != nil {
		return nil, err
	}
	asked := *content
	if had.Selector.PositionAfter == 0 && had.Selector.PositionBefore == 0 {
		at, err := replays.Find(ctx, a.Store, r.Plan.AsOf)
		if err != nil {
			return nil, err
		}
		if asked.Selector, err = a.Replays.Cite(ctx, c.tenant, asked.Selector, at); err != nil {
			return nil, err
		}
	}
	if want.Match == domain.MatchNow && len(asked.Selector.EndpointIDs) == 0 {
		had.Selector.EndpointIDs = nil // which were all that there were
	}
	same := *want
	same.Content = r.Request.Content
	if same.Endpoint == "" {
		same.Endpoint = asked.Selector.MissedBy
	}
	one, err1 := json.Marshal(had)
	two, err2 := json.Marshal(asked)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(same, r.Request) || string(one) != string(two) {
		return nil, domain.Refuse(domain.KindConflict, "replay_exists", "there is a replay "+id+" of another request",
			"use another id or Idempotency-Key for a new replay")
	}
	c.repeated()
	shown, err := a.showReplay(ctx, &r)
	return &createReplayOutput{Status: http.StatusOK, Location: "/v1/replays/" + id, Body: shown}, err
}

// writeReplay puts the request and its plan on the ledger, in one append.
func (a *api) writeReplay(ctx context.Context, c *caller, id string, facts []domain.Fact,
	content *domain.ReplayContent) (*createReplayOutput, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	s, stream := a.stamp(c), domain.ReplayStream(c.tenant, id)
	keyID, err := a.Vault.DataKey(ctx, vault.Scope{Tenant: c.tenant, Subject: content.Selector.Subject, Type: "replay",
		At: s.At})
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	for _, f := range facts {
		if request, ok := f.(*domain.ReplayRequested); ok {
			request.Content, err = a.Vault.Seal(ctx, keyID, vault.Place{Tenant: c.tenant, Stream: stream, Record: s.Base,
				Type: request.RecordType()}, plain)
			if err != nil {
				return nil, err
			}
		}
	}
	done, err := ledger.AppendKnown(ctx, a.Store, stream, domain.NoStream,
		s.Records(stream, c.tenant, "", ulid.ULID{}, facts...))
	if err != nil {
		return nil, err
	}
	if err := a.rowsAt(ctx, done.Position); err != nil {
		return nil, err
	}
	a.Replays.Wake()
	r, err := a.replay(ctx, c.tenant, id)
	if err != nil {
		return nil, err
	}
	shown, err := a.showReplay(ctx, &r)
	return &createReplayOutput{Status: http.StatusAccepted, Location: "/v1/replays/" + id, Body: shown}, err
}

// showRef writes a citation as "record@revision:stream".
func showRef(r domain.RecordRef) string {
	return fmt.Sprintf("%s@%d:%s", r.Record, r.Revision, r.Stream)
}

var errNoBound = domain.Refuse(domain.KindInvalid, "invalid_range",
	"after_record or before_record cites no record of yours",
	"use them as a replay shows them, or position_after and position_before")

var errNoRef = domain.Refuse(domain.KindInvalid, "invalid_as_of", "as_of cites no record",
	"use as_of as a dry run has answered it, or leave it out")

func parseRef(s string) (ref domain.RecordRef, err error) {
	record, rest, _ := strings.Cut(s, "@")
	revision, stream, ok := strings.Cut(rest, ":")
	n, err1 := strconv.ParseInt(revision, 10, 64)
	id, err2 := ulid.ParseStrict(record)
	if !ok || err1 != nil || err2 != nil || n < 0 || !domain.Stream(stream).Valid() {
		return ref, errNoRef
	}
	return domain.RecordRef{Record: id, Stream: domain.Stream(stream), Revision: domain.Revision(n)}, nil
}
