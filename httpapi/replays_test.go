package httpapi

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/replays"
)

// failedReplay makes a replay of one event that is running, and whose delivery was exhausted.
func (s *stack) failedReplay(admin, tenant, event string) string {
	s.t.Helper()
	asked := into[Replay](s.call(admin, "POST", "/v1/replays", map[string]any{"select": map[string]any{
		"event_ids": []string{event}}}).want(http.StatusAccepted, ""))
	ctx := s.t.Context()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	r, err := s.proj.Replay(ctx, tenant, asked.ID)
	must(err)
	stamp := func() domain.Stamp {
		return domain.Stamp{At: time.Now(), Base: ulid.Make(), Actor: domain.System("test")}
	}
	var pair domain.ReplayPair
	_, err = replays.Decide(ctx, s.store, &r, stamp, func(r *domain.Replay) ([]domain.Fact, error) {
		facts, err := r.Schedule([]domain.PlannedPair{{Event: event, Endpoint: asked.First.EndpointID,
			At: asked.First.CreatedAt}})
		pair = facts[0].(*domain.ReplayPageScheduled).Pairs[0]
		return facts, err
	})
	must(err)
	d, at := domain.NewDelivery(), stamp()
	records := d.Start(domain.Start{Stamp: at, Attempt: "att_" + ulid.Make().String(), Due: domain.Due{Tenant: tenant,
		Endpoint: pair.Endpoint, Delivery: pair.Delivery, Event: event, Replay: asked.ID}, Timeout: time.Second})
	ledger.Fold(d, domain.NoStream, records)
	records = append(records, d.Finish(domain.Outcome{Stamp: domain.Stamp{At: at.At, Base: domain.IDAt(at.Base, 9)},
		Attempt: d.Open.ID, Failure: &domain.AttemptFailed{Phase: "connect", Code: domain.CodeRefused, Sent: "no"}})...)
	done, err := s.store.Append(ctx, domain.DeliveryStream(tenant, pair.Delivery), domain.NoStream, records)
	must(err)
	must(s.proj.WaitFor(ctx, done.Position))
	return asked.ID
}

// TestReplayIsPlannedAndAskedFor: a dry run does nothing; what is asked for then is that plan, though more has come
// since; and the same request is the same replay.
func TestReplayIsPlannedAndAskedFor(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleOperator)
	old := s.endpoint(key, map[string]any{"event_types": []string{"agent.*"}})
	poster := s.key("default", domain.RoleProducer)
	for i := range 5 {
		s.call(poster, "POST", "/v1/events", example(fmt.Sprintf("e%d", i))).want(202, "")
	}
	fresh := s.endpoint(key, map[string]any{})
	ask := map[string]any{"select": map[string]any{"endpoint_ids": []string{old.ID}}, "endpoint_id": fresh.ID,
		"reason": "the new one begins with what the old one got", "rate": 50, "dry_run": true}
	before := s.store.Head()
	plan := into[Replay](s.call(key, "POST", "/v1/replays", ask).want(200, ""))
	if plan.Planned != 5 || plan.Bytes < 500 || plan.First.EventID != "e0" || plan.Last.EventID != "e4" ||
		len(plan.Sample) != 3 || plan.ID != "" || !plan.DryRun || s.store.Head() != before {
		t.Errorf("%+v", plan)
	}
	s.call(poster, "POST", "/v1/events", example("later")).want(202, "")
	if again := into[Replay](s.call(key, "POST", "/v1/replays", ask).want(200, "")); again.Planned != 6 {
		t.Errorf("planned anew: %+v", again)
	}
	ask["dry_run"], ask["id"], ask["digest"] = false, "rpl_mine", plan.Digest
	s.call(key, "POST", "/v1/replays", ask).want(409, "plan_changed")
	ask["as_of"] = plan.AsOf
	made := into[Replay](s.call(key, "POST", "/v1/replays", ask).want(202, ""))
	if made.ID != "rpl_mine" || made.Status != "planned" || made.Planned != 5 || made.Digest != plan.Digest ||
		made.Reason != ask["reason"] || made.Select.EndpointIDs[0] != old.ID || made.Rate != 50 || made.CreatedBy == "" {
		t.Errorf("%+v", made)
	}
	same := into[Replay](s.call(key, "POST", "/v1/replays", ask).want(200, ""))
	if same.ID != made.ID || !same.CreatedAt.Equal(made.CreatedAt) {
		t.Errorf("repeated: %+v", same)
	}
	ask["rate"] = 51
	s.call(key, "POST", "/v1/replays", ask).want(409, "replay_exists")

	// By Idempotency-Key likewise.
	other := map[string]any{"select": map[string]any{"event_types": []string{"agent.*"}}, "match": "now"}
	one := into[Replay](s.call(key, "POST", "/v1/replays", other, headerIdempotency, "k").want(202, ""))
	s.endpoint(key, map[string]any{})
	two := into[Replay](s.call(key, "POST", "/v1/replays", other, headerIdempotency, "k").want(200, ""))
	if one.ID != two.ID || one.Planned != 12 {
		t.Errorf("%+v\n%+v", one, two)
	}

	list := into[List[Replay]](s.call(key, "GET", "/v1/replays?status=planned", nil).want(200, ""))
	if len(list.Data) != 2 || list.Data[0].ID != one.ID || list.Data[1].ID != made.ID {
		t.Errorf("%+v", list)
	}
	auditor := s.key("default", domain.RoleAuditor)
	for _, step := range []struct{ what, status string }{{"pause", "paused"}, {"pause", "paused"}, {"resume", "running"},
		{"resume", "running"}, {"cancel", "cancelled"}, {"cancel", "cancelled"}} {
		got := into[Replay](s.call(key, "POST", "/v1/replays/rpl_mine/"+step.what, nil).want(200, ""))
		read := into[Replay](s.call(auditor, "GET", "/v1/replays/rpl_mine", nil).want(200, ""))
		if got.Status != step.status || read.Status != step.status {
			t.Errorf("%s: %s, then %s", step.what, got.Status, read.Status)
		}
	}
	s.call(key, "POST", "/v1/replays/rpl_mine/resume", nil).want(409, "replay_ended")
}

func TestReplayOfFailures(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	e := s.endpoint(key, map[string]any{"retry_schedule": []string{}})
	s.call(key, "POST", "/v1/events", example("e1")).want(202, "")
	id := s.failedReplay(key, "default", "e1")
	got := into[Replay](s.call(key, "GET", "/v1/replays/"+id, nil).want(200, ""))
	if got.Failed != 1 || got.Scheduled != 1 || got.Pending != 0 || got.Status != "running" {
		t.Errorf("%+v", got)
	}
	failures := into[List[Delivery]](s.call(key, "GET", "/v1/replays/"+id+"/failures", nil).want(200, ""))
	if len(failures.Data) != 1 || failures.Data[0].ReplayID != id || failures.Data[0].Status != "exhausted" {
		t.Errorf("%+v", failures)
	}
	all := into[List[Delivery]](s.call(key, "GET", "/v1/deliveries?replay_id="+id, nil).want(200, ""))
	if len(all.Data) != 1 || all.Data[0].ID != failures.Data[0].ID {
		t.Errorf("%+v", all)
	}
	// What the ledger holds about the event has the replay's delivery, page by page.
	var streams []string
	for path := "/v1/events/e1/records?limit=1"; path != ""; {
		page := into[List[Record]](s.call(key, "GET", path, nil).want(200, ""))
		streams = append(streams, page.Data[0].Stream)
		if path = ""; page.HasMore {
			path = "/v1/events/e1/records?limit=1&cursor=" + page.NextCursor
		}
	}
	of := string(domain.DeliveryStream("default", failures.Data[0].ID))
	if streams[0] != string(domain.EventStream("default", "e1")) || len(streams) < 4 || streams[len(streams)-1] != of ||
		streams[len(streams)-2] != of {
		t.Errorf("records of %v, which are to end with those of %s", streams, of)
	}
	s.call(key, "GET", "/v1/events/e1/records?cursor=dlv_other.0", nil).want(400, "invalid_cursor")
	again := into[Replay](s.call(key, "POST", "/v1/replays/"+id+"/retry-failures",
		map[string]any{"reason": "it is up again"}).want(202, ""))
	if again.Planned != 1 || again.First.EndpointID != e.ID || again.Select.FailuresOf != id || again.ID == id {
		t.Errorf("%+v", again)
	}
}

// TestReplaysRefuseBadInput: with an error that names the fix, and nothing written.
func TestReplaysRefuseBadInput(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	e := s.endpoint(key, map[string]any{})
	off := s.endpoint(key, map[string]any{})
	for i := range 3 {
		s.call(key, "POST", "/v1/events", example(fmt.Sprintf("e%d", i))).want(202, "")
	}
	s.call(key, "POST", "/v1/endpoints/"+off.ID+"/disable", nil).want(200, "")
	head := s.store.Head()
	all := map[string]any{"event_types": []string{"*"}}
	for _, c := range []struct {
		status int
		code   string
		ask    map[string]any
	}{
		{400, "replay_matches_nothing", map[string]any{"select": map[string]any{"event_types": []string{"cron.*"}}}},
		{400, "empty_range", map[string]any{"select": map[string]any{"created_after": "2026-02-02T00:00:00Z",
			"created_before": "2026-02-01T00:00:00Z"}}},
		{400, "empty_selector", map[string]any{"select": map[string]any{}}},
		{404, "event_not_found", map[string]any{"select": map[string]any{"event_ids": []string{"e1", "none"}}}},
		{404, "endpoint_not_found", map[string]any{"select": all, "endpoint_id": "ep_none"}},
		{404, "endpoint_not_found", map[string]any{"select": map[string]any{"missed_by": "ep_none"}}},
		{404, "replay_not_found", map[string]any{"select": map[string]any{"failures_of": "rpl_none"}}},
		{413, "plan_too_large", map[string]any{"select": all, "max_deliveries": 2}},
		{409, "endpoint_disabled", map[string]any{"select": all, "endpoint_id": off.ID}},
		{400, "invalid_id", map[string]any{"select": all, "id": "routed"}},
		{400, "invalid_rate", map[string]any{"select": all, "rate": 5, "gap_factor": 1}},
		{400, "invalid_as_of", map[string]any{"select": all, "as_of": "yesterday"}},
		{400, "invalid_status", map[string]any{"select": map[string]any{"status": []string{"lost"}}}},
		{400, "invalid_request", map[string]any{"select": all, "speed": 5}},
	} {
		s.call(key, "POST", "/v1/replays", c.ask).want(c.status, c.code)
	}
	if s.store.Head() != head {
		t.Error("something was written")
	}
	s.full.Store(true)
	s.call(key, "POST", "/v1/replays", map[string]any{"select": all, "endpoint_id": e.ID}).want(507, "no_room")
	s.call(key, "POST", "/v1/replays", map[string]any{"select": all, "endpoint_id": e.ID, "dry_run": true}).want(200, "")
}

// TestAPlanCitesNoOtherTenant: what a plan is fixed at is a record of its own tenant.
func TestAPlanCitesNoOtherTenant(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.tenant("acme")
	key, other := s.key("acme", domain.RoleAdmin), s.key("default", domain.RoleAdmin)
	s.endpoint(key, map[string]any{})
	s.call(key, "POST", "/v1/events", example("mine")).want(202, "")
	s.call(other, "POST", "/v1/events", example("theirs")).want(202, "")
	plan := into[Replay](s.call(key, "POST", "/v1/replays", map[string]any{"dry_run": true,
		"select": map[string]any{"event_types": []string{"*"}}}).want(200, ""))
	if ref, err := parseRef(plan.AsOf); err != nil || ref.Stream != domain.EventStream("acme", "mine") {
		t.Errorf("fixed at %s (%v)", plan.AsOf, err)
	}
	theirs := fmt.Sprintf("%s@1:%s", ulid.ULID{1}, domain.EventStream("default", "theirs"))
	s.call(key, "POST", "/v1/replays", map[string]any{"dry_run": true, "as_of": theirs,
		"select": map[string]any{"event_types": []string{"*"}}}).want(400, "invalid_as_of")
}
