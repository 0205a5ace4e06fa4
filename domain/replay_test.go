package domain_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"hookledger/domain"
)

// replayed is a replay with all its records, kept as a store keeps them.
type replayed struct {
	state   *domain.Replay
	records []domain.Record
	at      time.Time
}

func (r *replayed) append(facts []domain.Fact) {
	r.at = r.at.Add(time.Second)
	stamp := domain.Stamp{At: r.at, Base: ulid.ULID{15: byte(len(r.records)), 14: byte(len(r.records) >> 8)},
		Actor: domain.System("test")}
	for _, rec := range stamp.Records(domain.ReplayStream("t", "rpl_1"), "t", "", ulid.ULID{}, facts...) {
		rec.Revision = r.state.Revision + 1
		r.records = append(r.records, rec)
		r.state.Evolve(&rec)
	}
}

func planOf(n int) (pairs []domain.PlannedPair, digest domain.PlanDigest) {
	for i := range n {
		p := domain.PlannedPair{Event: fmt.Sprintf("evt_%04d", i), Endpoint: fmt.Sprintf("ep_%d", i%3),
			At: time.Unix(1_000_000, int64(i)*1000).UTC()}
		pairs, digest = append(pairs, p), digest.Add(p.Event, p.Endpoint)
	}
	return pairs, digest
}

// TestReplay_EverySequenceKeepsThePromises drives the decider with commands in any order.
func TestReplay_EverySequenceKeepsThePromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "count")
		plan, digest := planOf(n)
		r := &replayed{state: domain.NewReplay(), at: time.Unix(2_000_000, 0).UTC()}
		facts, err := r.state.Ask(domain.ReplayRequested{Match: domain.MatchThen},
			domain.ReplayPlanned{Count: n, Digest: digest.String(), Skipped: map[string]int{"endpoint_removed": 2}})
		if err != nil {
			t.Fatal(err)
		}
		r.append(facts)
		seen := map[string]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "turns") {
			before := *r.state
			var facts []domain.Fact
			var err error
			switch command := rapid.SampledFrom([]string{"schedule", "schedule", "schedule", "pause", "resume", "cancel",
				"complete"}).Draw(t, "command"); command {
			case "schedule":
				size := min(rapid.IntRange(1, 9).Draw(t, "size"), r.state.Left())
				facts, err = r.state.Schedule(plan[r.state.Scheduled : r.state.Scheduled+size])
				if len(facts) > 0 && (before.Status == domain.ReplayIsPaused || before.Status == domain.ReplayIsCancelled ||
					before.Ended()) {
					t.Fatalf("a page was scheduled while %s", before.Status)
				}
			case "pause":
				facts, err = r.state.Pause("manual")
			case "resume":
				facts, err = r.state.Resume()
			case "cancel":
				facts, err = r.state.Cancel("manual")
			case "complete":
				failed := rapid.IntRange(0, r.state.Scheduled).Draw(t, "failed")
				facts, err = r.state.Complete(r.state.Scheduled-failed, failed, nil)
			}
			if err != nil && domain.Code(err) != "replay_ended" {
				t.Fatal(err)
			}
			if before.Ended() && len(facts) > 0 {
				t.Fatalf("%T after the end", facts[0])
			}
			r.append(facts)
		}
		ended := 0
		for _, rec := range r.records {
			switch f := rec.Fact.(type) {
			case *domain.ReplayPageScheduled:
				if f.First != len(seen) {
					t.Fatalf("page %d begins at %d, after %d pairs", f.Page, f.First, len(seen))
				}
				for i, p := range f.Pairs {
					if want := plan[f.First+i]; p.Event != want.Event || p.Endpoint != want.Endpoint || seen[p.Delivery] {
						t.Fatalf("pair %d is %+v, want %+v", f.First+i, p, want)
					}
					seen[p.Delivery] = true
				}
			case *domain.ReplayCompleted:
				ended++
				sum := f.Delivered + f.Failed - 2
				for _, k := range f.Skipped {
					sum += k
				}
				if sum != n {
					t.Fatalf("the result %+v is of %d, not of %d", f, sum, n)
				}
			}
		}
		if ended > 1 || ended == 1 != r.state.Ended() {
			t.Fatalf("it ended %d times", ended)
		}
		if len(seen) == n && r.state.Digest != digest.String() {
			t.Fatal("the whole plan is scheduled, and its digest is another")
		}
		// A read model that keeps the state goes on from it as one that folds all records.
		cut := rapid.IntRange(0, len(r.records)).Draw(t, "cut")
		kept := domain.NewReplay()
		for i := range r.records[:cut] {
			kept.Evolve(&r.records[i])
		}
		raw, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		kept = &domain.Replay{}
		if err := json.Unmarshal(raw, kept); err != nil {
			t.Fatal(err)
		}
		for i := range r.records[cut:] {
			kept.Evolve(&r.records[cut+i])
		}
		if !reflect.DeepEqual(kept, r.state) {
			t.Fatalf("kept and folded on:\n%+v\nfolded:\n%+v", kept, r.state)
		}
	})
}

// TestSemantics_APlanThatComesOutOtherwiseIsNotFinished: the last page must end in the digest that was planned.
func TestSemantics_APlanThatComesOutOtherwiseIsNotFinished(t *testing.T) {
	t.Parallel()
	plan, digest := planOf(4)
	ask := func() *replayed {
		r := &replayed{state: domain.NewReplay(), at: time.Unix(2_000_000, 0)}
		facts, err := r.state.Ask(domain.ReplayRequested{Match: domain.MatchNow},
			domain.ReplayPlanned{Count: len(plan), Digest: digest.String()})
		if err != nil {
			t.Fatal(err)
		}
		r.append(facts)
		return r
	}
	r := ask()
	first, err := r.state.Schedule(plan[:2])
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	r.append(first)
	other := []domain.PlannedPair{plan[2], {Event: "evt_other", Endpoint: "ep_0"}}
	if got, err := r.state.Schedule(other); domain.Code(err) != "plan_diverged" {
		t.Errorf("another event: %v, %v", got, err)
	}
	if got, err := r.state.Schedule(append(other, plan[3])); domain.Code(err) != "plan_diverged" {
		t.Errorf("one too many: %v, %v", got, err)
	}
	if got, err := r.state.Schedule(plan[2:]); err != nil || len(got) != 1 {
		t.Errorf("as planned: %v, %v", got, err)
	}
	// The ids of a page that is decided twice are the same.
	again, err := ask().state.Schedule(plan[:2])
	if err != nil || !reflect.DeepEqual(again, first) {
		t.Errorf("decided twice:\n%+v\n%+v (%v)", first, again, err)
	}
}

func TestReplayRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	some := []string{"agent.*"}
	for code, check := range map[string]error{
		"empty_selector":        (&domain.ReplaySelector{}).Check(domain.MatchThen),
		"empty_range":           (&domain.ReplaySelector{CreatedAfter: noon, CreatedBefore: noon}).Check(domain.MatchThen),
		"invalid_event_type":    (&domain.ReplaySelector{EventTypes: []string{"*.x"}}).Check(domain.MatchThen),
		"invalid_match":         (&domain.ReplaySelector{EventTypes: some}).Check("later"),
		"invalid_status":        (&domain.ReplaySelector{Status: []domain.DeliveryStatus{"held"}}).Check(domain.MatchThen),
		"too_many_delivery_ids": (&domain.ReplaySelector{DeliveryIDs: make([]string, 5_001)}).Check(domain.MatchThen),
		"invalid_range": (&domain.ReplaySelector{PositionAfter: 1,
			After: &domain.RecordRef{}}).Check(domain.MatchThen),
		"too_many_event_ids": (&domain.ReplaySelector{EventIDs: make([]string, 5_001)}).Check(domain.MatchThen),
		"":                   (&domain.ReplaySelector{EventTypes: some}).Check(domain.MatchNow),
		"invalid_rate":       (&domain.ReplayRequested{Rate: -1}).Check(),
		"invalid_gap_factor": (&domain.ReplayRequested{GapFactor: 1e9}).Check(),
	} {
		if got := domain.Code(check); got != code {
			t.Errorf("%v has the code %q, want %q", check, got, code)
		}
	}
	both := (&domain.ReplayRequested{Rate: 1, GapFactor: 1}).Check()
	positions := (&domain.ReplaySelector{PositionAfter: 9, PositionBefore: 9}).Check(domain.MatchThen)
	occurred := (&domain.ReplaySelector{OccurredAfter: noon, OccurredBefore: noon}).Check(domain.MatchThen)
	named := (&domain.ReplaySelector{DeliveryIDs: some}).Check(domain.MatchNow)
	if domain.Code(occurred) != "empty_range" || domain.Code(named) != "invalid_match" {
		t.Error(occurred, named)
	}
	missed := (&domain.ReplaySelector{MissedBy: "ep_1", EndpointIDs: []string{"ep_2"}}).Check(domain.MatchThen)
	if domain.Code(both) != "invalid_rate" || domain.Code(positions) != "empty_range" ||
		domain.Code(missed) != "invalid_match" {
		t.Error(both, positions, missed)
	}
	if _, err := domain.NewReplay().Ask(domain.ReplayRequested{}, domain.ReplayPlanned{}); domain.Code(err) !=
		"replay_matches_nothing" {
		t.Error(err)
	}
	for _, why := range []string{"endpoint_removed", "endpoint_disabled"} {
		nothing := domain.ReplayPlanned{Skipped: map[string]int{why: 1}}
		if _, err := domain.NewReplay().Ask(domain.ReplayRequested{}, nothing); domain.Code(err) != "replay_has_no_target" {
			t.Error(err)
		}
	}
	if _, err := domain.NewReplay().Pause("manual"); domain.Code(err) != "replay_not_found" {
		t.Error(err)
	}
}

// TestSemantics_AReplayIsMarkedOnTheWire: its header, its trigger and its cause name it, on every attempt.
func TestSemantics_AReplayIsMarkedOnTheWire(t *testing.T) {
	t.Parallel()
	d := domain.NewDelivery()
	due := domain.Due{Tenant: "t", Endpoint: "ep_1", Delivery: "dlv_1", Event: "evt_1", Replay: "rpl_1",
		Revision: domain.NoStream}
	at := time.Unix(3_000_000, 0)
	for n, want := range []domain.Trigger{domain.TriggerReplay, domain.TriggerAutomatic} {
		records := d.Start(domain.Start{Stamp: domain.Stamp{At: at, Base: ulid.ULID{15: byte(10 * n)}}, Due: due,
			Policy: domain.RetryPolicy{Schedule: []domain.Duration{0}}, Attempt: fmt.Sprint("att_", n),
			Signed: domain.RequestSigned{Scheme: domain.SchemeV1}})
		started := records[len(records)-2].Fact.(*domain.AttemptStarted)
		if s, ok := records[0].Fact.(*domain.DeliveryScheduled); n == 0 && (!ok || s.Cause != "rpl_1") {
			t.Errorf("scheduled as %+v", records[0].Fact)
		}
		if started.Trigger != want || len(started.Headers) != 1 ||
			started.Headers[0] != (domain.Header{Name: domain.HeaderWebhookReplay, Value: "rpl_1"}) {
			t.Errorf("attempt %d: %+v", n, started)
		}
		fold(d, records)
		fold(d, d.Finish(domain.Outcome{Stamp: domain.Stamp{At: at, Base: ulid.ULID{15: byte(10*n + 5)}},
			Attempt: started.Attempt, Failure: &domain.AttemptFailed{Code: domain.CodeReset}}))
		due.Replay = "" // a row that does not know it: its stream does
	}
}

func fold(d *domain.Delivery, records []domain.Record) {
	for i := range records {
		records[i].Revision = d.Revision + 1
		d.Evolve(&records[i])
	}
}
