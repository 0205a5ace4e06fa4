package domain

import (
	"maps"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// PrefixReplay begins the id of every replay; what a delivery was scheduled for is told by it.
const PrefixReplay = "rpl_"

// MaxReplayPage is the number of deliveries that one record schedules at most.
const MaxReplayPage = 1000

// ValidReplayID says whether an id can be a replay's.
func ValidReplayID(id string) bool {
	return strings.HasPrefix(id, PrefixReplay) && len(id) > len(PrefixReplay) && ValidEventID(id)
}

// ReplayOf gives the replay that a delivery's cause names, "" for one that was routed.
func ReplayOf(cause string) string {
	if strings.HasPrefix(cause, PrefixReplay) {
		return cause
	}
	return ""
}

// ReplayStatus is where a replay stands.
type ReplayStatus string

const (
	ReplayIsPlanned   ReplayStatus = "planned" // nothing is scheduled yet
	ReplayIsRunning   ReplayStatus = "running"
	ReplayIsPaused    ReplayStatus = "paused"
	ReplayIsCompleted ReplayStatus = "completed"
	ReplayIsCancelled ReplayStatus = "cancelled"
)

// Replay is folded from a replay's stream. It keeps nothing of the pages but where the plan goes on, so that it is
// small however large the plan is; its fields are exported so that a read model can keep it.
type Replay struct {
	ID            string           `json:"id"`
	Tenant        string           `json:"tenant"`
	Request       ReplayRequested  `json:"request"`
	RequestRecord ulid.ULID        `json:"request_record"` // that Request.Content is sealed for
	RequestedAt   time.Time        `json:"requested_at"`
	RequestedBy   Actor            `json:"requested_by"`
	Plan          ReplayPlanned    `json:"plan"`
	Status        ReplayStatus     `json:"status"`
	Reason        string           `json:"reason,omitempty"` // why it is paused or was cancelled
	Revision      Revision         `json:"revision"`
	LastRecord    ulid.ULID        `json:"last_record"`
	Pages         int              `json:"pages"`
	Scheduled     int              `json:"scheduled"` // pairs in all pages so far
	Cursor        ReplayCursor     `json:"cursor"`
	Digest        string           `json:"digest"` // over the pairs that are scheduled
	UpdatedAt     time.Time        `json:"updated_at"`
	Result        *ReplayCompleted `json:"result,omitempty"` // once nothing more will happen
	CompletedAt   time.Time        `json:"completed_at,omitzero"`
}

// NewReplay is the state before the first record.
func NewReplay() *Replay { return &Replay{Revision: NoStream, Digest: PlanDigest{}.String()} }

// Exists says that it was requested.
func (r *Replay) Exists() bool { return r.ID != "" }

// Ended says that nothing more will happen.
func (r *Replay) Ended() bool { return r.Result != nil }

// Held says that its deliveries wait for somebody: it is paused, or what is left of it is being cancelled.
func (r *Replay) Held() bool {
	return !r.Ended() && (r.Status == ReplayIsPaused || r.Status == ReplayIsCancelled)
}

// Left is the number of pairs that are not scheduled yet.
func (r *Replay) Left() int { return r.Plan.Count - r.Scheduled }

// Evolve folds one record of the replay's stream.
func (r *Replay) Evolve(rec *Record) {
	r.Revision, r.LastRecord, r.UpdatedAt = rec.Revision, rec.ID, rec.RecordedAt
	switch f := rec.Fact.(type) {
	case *ReplayRequested:
		r.ID, r.Tenant, r.Request, r.RequestRecord = rec.Stream.ID(), rec.Tenant, *f, rec.ID
		r.RequestedAt, r.RequestedBy, r.Status = rec.RecordedAt, rec.Actor, ReplayIsPlanned
	case *ReplayPlanned:
		r.Plan = *f
	case *ReplayPageScheduled:
		r.Pages, r.Scheduled, r.Digest, r.Status = f.Page, f.First+len(f.Pairs), f.Digest, ReplayIsRunning
		for _, last := range f.Pairs[max(0, len(f.Pairs)-1):] {
			r.Cursor = ReplayCursor{At: f.LastAt, Event: last.Event, Endpoint: last.Endpoint}
		}
	case *ReplayPaused:
		r.Status, r.Reason = ReplayIsPaused, f.Reason
	case *ReplayResumed:
		r.Status, r.Reason = ReplayIsRunning, ""
	case *ReplayCancelled:
		r.Status, r.Reason = ReplayIsCancelled, f.Reason
	case *ReplayCompleted:
		result := *f
		r.Result, r.CompletedAt = &result, rec.RecordedAt
		if r.Status != ReplayIsCancelled {
			r.Status = ReplayIsCompleted
		}
	}
}

// Check says what is wrong with a request; its selector has a check of its own.
func (f *ReplayRequested) Check() error {
	bad := func(code, detail, fix string) error { return Refuse(KindInvalid, code, detail, fix) }
	switch {
	case !(f.Rate >= 0 && f.Rate <= MaxReplayRate):
		return bad("invalid_rate", "the rate is out of range", "use 0 (as fast as the limits allow) to 1000000 a second")
	case !(f.GapFactor >= 0 && f.GapFactor <= MaxReplayFactor):
		return bad("invalid_gap_factor", "the factor of the gaps is out of range",
			"use 1 for the original gaps, 0.1 for ten times as fast; at most 1000")
	case f.Rate > 0 && f.GapFactor > 0:
		return bad("invalid_rate", "both rate and gap_factor are given", "use one of them")
	}
	return nil
}

// Ask decides on a new replay with its plan. A plan of nothing is refused.
func (r *Replay) Ask(f ReplayRequested, p ReplayPlanned) ([]Fact, error) {
	if r.Exists() {
		return nil, Refuse(KindConflict, "replay_exists", "the replay exists already", "use another id, or none")
	}
	if err := f.Check(); err != nil {
		return nil, err
	}
	if why := skippedText(p.Skipped); p.Count == 0 && why != "" {
		return nil, Refuse(KindInvalid, "replay_has_no_target", "the selector matches no event that can be replayed: "+why,
			"name another endpoint that gets it, or enable them")
	}
	if p.Count == 0 {
		return nil, Refuse(KindInvalid, "replay_matches_nothing", "the selector matches no event that can be replayed",
			"widen it; match now looks at the target's subscription of today")
	}
	return []Fact{&f, &p}, nil
}

func skippedText(skipped map[string]int) string {
	switch {
	case skipped["endpoint_removed"] > 0:
		return "the endpoints that got them were deleted"
	case skipped["endpoint_disabled"] > 0:
		return "the endpoints that got them are disabled"
	}
	return ""
}

func (r *Replay) open() error {
	switch {
	case !r.Exists():
		return ErrNoReplay()
	case r.Ended() || r.Status == ReplayIsCancelled:
		return Refuse(KindConflict, "replay_ended", "the replay has ended: it is "+string(r.Status),
			"make a new one; its failures alone with: hookledger replay retry-failures")
	}
	return nil
}

// ErrNoReplay refuses what is asked of a replay that is not there.
func ErrNoReplay() error {
	return Refuse(KindNotFound, "replay_not_found", "there is no such replay", "list them with: hookledger replay list")
}

// Pause decides to hold it. One that is paused already makes no record.
func (r *Replay) Pause(reason string) ([]Fact, error) {
	if err := r.open(); err != nil || r.Status == ReplayIsPaused {
		return nil, err
	}
	return []Fact{&ReplayPaused{Reason: reason}}, nil
}

// Resume decides to go on. One that is not paused makes no record.
func (r *Replay) Resume() ([]Fact, error) {
	if err := r.open(); err != nil || r.Status != ReplayIsPaused {
		return nil, err
	}
	return []Fact{&ReplayResumed{}}, nil
}

// Cancel decides to end it. One that was cancelled already makes no record.
func (r *Replay) Cancel(reason string) ([]Fact, error) {
	if r.Exists() && r.Status == ReplayIsCancelled {
		return nil, nil
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	return []Fact{&ReplayCancelled{Reason: reason}}, nil
}

// ErrPlanDiverged says that the plan came out otherwise than it was planned: what it was planned on has changed.
var ErrPlanDiverged = Refuse(KindConflict, "plan_diverged", "the plan comes out otherwise than it was planned",
	"cancel the replay and make a new one: events were erased, or the ledger was moved")

// Schedule decides to make the next pairs of the plan due. It answers nil where nothing may be scheduled. The page that
// ends the plan must end in the planned digest.
func (r *Replay) Schedule(pairs []PlannedPair) ([]Fact, error) {
	if len(pairs) == 0 || !r.Exists() || r.Ended() || r.Status != ReplayIsPlanned && r.Status != ReplayIsRunning {
		return nil, nil
	}
	if len(pairs) > MaxReplayPage || len(pairs) > r.Left() {
		return nil, ErrPlanDiverged
	}
	f := &ReplayPageScheduled{Page: r.Pages + 1, First: r.Scheduled, Pairs: make([]ReplayPair, len(pairs)),
		LastAt: pairs[len(pairs)-1].At}
	digest := planDigest(r.Digest)
	for i, p := range pairs {
		digest = digest.Add(p.Event, p.Endpoint)
		f.Pairs[i] = ReplayPair{Event: p.Event, Endpoint: p.Endpoint,
			Delivery: ReplayDeliveryID(r.RequestedAt, r.Scheduled+i, r.Tenant, r.ID, p.Event, p.Endpoint)}
	}
	f.Digest = digest.String()
	if len(pairs) == r.Left() && f.Digest != r.Plan.Digest {
		return nil, ErrPlanDiverged
	}
	return []Fact{f}, nil
}

// Complete decides on the result, given how what was scheduled has ended: all of it must have. Pairs that were never
// scheduled are skipped, and so is what the plan left out.
func (r *Replay) Complete(delivered, failed int, skipped map[string]int) ([]Fact, error) {
	all := delivered + failed
	for _, n := range skipped {
		all += n
	}
	cancelled := r.Status == ReplayIsCancelled
	if !r.Exists() || r.Ended() || all != r.Scheduled || r.Left() > 0 && !cancelled {
		return nil, nil
	}
	f := &ReplayCompleted{Delivered: delivered, Failed: failed, Skipped: map[string]int{}}
	maps.Copy(f.Skipped, skipped)
	for reason, n := range r.Plan.Skipped {
		f.Skipped[reason] += n
	}
	if r.Left() > 0 {
		f.Skipped["replay_cancelled"] += r.Left()
	}
	if len(f.Skipped) == 0 {
		f.Skipped = nil
	}
	return []Fact{f}, nil
}
