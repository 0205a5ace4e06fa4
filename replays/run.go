package replays

import (
	"context"
	"errors"
	"iter"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// run is one replay under way. All of it can be made anew from the ledger.
type run struct {
	cfg   *Config
	state *domain.Replay
	until time.Time // it rests

	// The plan behind the last page that is scheduled; all nil while it is not being read.
	next  func() (domain.PlannedPair, error, bool)
	stop  func()
	ahead []domain.PlannedPair // read, and not scheduled yet
	pace  *pace
	whole bool // nothing follows behind ahead

	last     string        // the delivery that an ordered replay waits for
	look     time.Duration // how long it waits before it looks again
	progress domain.ReplayProgress
}

// release lets go of the plan; it is read again from behind the last page.
func (r *run) release() {
	if r.stop != nil {
		r.stop()
	}
	r.next, r.stop, r.ahead, r.pace, r.whole = nil, nil, nil, nil, false
}

// rest makes the replay wait after an error, and read its plan anew.
func (r *run) rest(d time.Duration) {
	r.release()
	r.until = r.cfg.Now().Add(d)
}

// step does the next thing there is to do, if any, and says when to look again.
func (r *run) step(ctx context.Context) (time.Duration, error) {
	if wait := r.until.Sub(r.cfg.Now()); wait > 0 {
		return wait, nil
	}
	before := r.state.Revision
	if err := Refresh(ctx, r.cfg.Store, r.state.Tenant, r.state.ID, r.state); err != nil {
		return 0, err
	}
	if r.state.Revision != before {
		r.release() // paused, resumed, cancelled, or another node's page
	}
	if err := r.cfg.Room(); err != nil {
		return troubled, nil //nolint:nilerror // as long as the disk is nearly full, nothing is scheduled
	}
	switch {
	case r.state.Ended():
		return 0, nil
	case r.state.Status == domain.ReplayIsCancelled:
		return r.finish(ctx, true)
	case r.state.Left() == 0:
		return r.finish(ctx, false)
	case r.state.Status == domain.ReplayIsPaused:
		return r.cfg.Idle, nil
	case r.targetGone():
		return 0, r.append(ctx, "cancelled", func() ([]domain.Fact, error) { return r.state.Cancel("endpoint_removed") })
	}
	return r.schedule(ctx)
}

// targetGone says that nothing can be delivered any more.
func (r *run) targetGone() bool {
	if r.state.Request.Endpoint == "" {
		return false
	}
	e, ok := r.cfg.Endpoints.Endpoint(r.state.Tenant, r.state.Request.Endpoint)
	return !ok || !e.Exists()
}

// schedule appends the next page, as far as there is room for it and its time has come.
func (r *run) schedule(ctx context.Context) (time.Duration, error) {
	room, wait, err := r.room(ctx)
	if err != nil || room == 0 {
		return wait, err
	}
	switch err := r.plan(ctx); {
	case errors.Is(err, vault.ErrErased):
		return 0, r.pause(ctx, "selector_erased")
	case err != nil:
		return 0, err
	}
	now := r.cfg.Now()
	room = min(room, r.pace.allowed(now))
	if err := r.read(max(room, 1)); err != nil {
		return 0, err
	}
	switch {
	case len(r.ahead) == 0 && r.whole:
		return 0, r.pause(ctx, domain.ErrPlanDiverged.Code) // it ends too early
	case len(r.ahead) == 0:
		return 0, nil // it is long, and little of it is matched
	}
	due, wait := r.pace.due(r.ahead[:min(room, len(r.ahead))], now)
	if due == 0 {
		return wait, nil
	}
	page := r.ahead[:due]
	err = r.append(ctx, "page", func() ([]domain.Fact, error) { return r.state.Schedule(page) })
	if errors.Is(err, domain.ErrPlanDiverged) {
		return 0, r.pause(ctx, domain.ErrPlanDiverged.Code)
	}
	if err != nil {
		return 0, err
	}
	r.pace.took(page, now)
	r.ahead = append(r.ahead[:0], r.ahead[due:]...)
	if r.state.Request.Ordered {
		n := r.state.Scheduled - 1
		r.last, r.look = domain.ReplayDeliveryID(r.state.RequestedAt, n, r.state.Tenant, r.state.ID, page[0].Event,
			page[0].Endpoint), firstLook
	}
	return 0, nil
}

// read reads the plan on, until so many pairs are at hand, it has ended, or it is another replay's turn.
func (r *run) read(n int) error {
	for over := time.Now().Add(turnTime); len(r.ahead) < n && !r.whole; {
		pair, err, ok := r.next()
		switch {
		case err != nil:
			return err
		case !ok:
			r.whole = true
		case pair.Event != "":
			r.ahead = append(r.ahead, pair)
		case time.Now().After(over):
			return nil
		}
	}
	return nil
}

// plan begins to read the plan behind the last page, if it is not being read.
func (r *run) plan(ctx context.Context) error {
	if r.next != nil {
		return nil
	}
	spec, err := r.spec(ctx)
	if err != nil {
		return err
	}
	r.next, r.stop = iter.Pull2(r.cfg.Planner.Pairs(ctx, spec, r.state.Cursor))
	r.pace = newPace(&r.state.Request, r.state.Cursor, r.cfg.Now())
	return nil
}

func (r *run) spec(ctx context.Context) (Spec, error) {
	content, err := Content(ctx, r.cfg.Vault, r.state)
	if err != nil {
		return Spec{}, err
	}
	at, err := Find(ctx, r.cfg.Store, r.state.Plan.AsOf)
	return Spec{Tenant: r.state.Tenant, Endpoint: r.state.Request.Endpoint, Match: r.state.Request.Match,
		Selector: content.Selector, AsOf: at}, err
}

// room is how many deliveries may be scheduled now, or when to look again.
func (r *run) room(ctx context.Context) (int, time.Duration, error) {
	if r.state.Request.Ordered {
		return r.turnOfNext(ctx)
	}
	p, err := r.cfg.Progress.ReplayProgress(ctx, r.state.Tenant, r.state.ID)
	if err != nil {
		return 0, 0, err
	}
	underWay := r.state.Scheduled - (p.Scheduled - p.Open) // what is scheduled and not folded yet has not ended
	wait := r.wait(p)
	room := min(r.cfg.Ahead-underWay, pageSize)
	if room < min(r.cfg.Ahead, pageSize)/2 && room < r.state.Left() {
		return 0, wait, nil // a larger page later
	}
	return max(room, 0), wait, nil
}

// wait is how long to wait before the progress is looked at again: the longer it stands still, the longer.
func (r *run) wait(p domain.ReplayProgress) time.Duration {
	p.Position = 0
	if r.look = max(min(2*r.look, r.cfg.Idle), busyPoll); p != r.progress {
		r.look = busyPoll
	}
	r.progress = p
	return r.look
}

// turnOfNext says whether the delivery before has ended, for an ordered replay. Its own stream is looked at: rows lag.
func (r *run) turnOfNext(ctx context.Context) (int, time.Duration, error) {
	if r.state.Scheduled == 0 {
		return 1, 0, nil
	}
	if r.last == "" { // a new life
		n, c := r.state.Scheduled-1, r.state.Cursor
		r.last = domain.ReplayDeliveryID(r.state.RequestedAt, n, r.state.Tenant, r.state.ID, c.Event, c.Endpoint)
		r.look = firstLook
	}
	d, _, err := ledger.Load(ctx, r.cfg.Store, domain.DeliveryStream(r.state.Tenant, r.last), domain.NewDelivery)
	if err != nil {
		return 0, 0, err
	}
	e, ok := r.cfg.Endpoints.Endpoint(r.state.Tenant, r.state.Cursor.Endpoint)
	if d.Status.Terminal() || d.Open == nil && (!ok || !e.Exists()) {
		return 1, 0, nil
	}
	wait := r.look
	r.look = min(2*r.look, r.cfg.Idle)
	return 0, wait, nil
}

func (r *run) pause(ctx context.Context, reason string) error {
	r.cfg.Logger.Warn("a replay is paused", "replay", r.state.ID, "reason", reason)
	r.release()
	return r.append(ctx, "paused", func() ([]domain.Fact, error) { return r.state.Pause(reason) })
}

// append writes what is decided, under ids that are derived: what another life or node has written is a duplicate.
func (r *run) append(ctx context.Context, what string, decide func() ([]domain.Fact, error)) error {
	facts, err := decide()
	if err != nil || len(facts) == 0 {
		return err
	}
	stamp := r.cfg.Base()
	stamp.Base = derived(r.state, what)
	stream := domain.ReplayStream(r.state.Tenant, r.state.ID)
	records := stamp.Records(stream, r.state.Tenant, "", r.state.LastRecord, facts...)
	done, err := ledger.AppendKnown(ctx, r.cfg.Store, stream, r.state.Revision, records)
	switch {
	case err != nil:
		return err
	case done.Duplicate: // as it stands there, which may have been written at another time
		return Refresh(ctx, r.cfg.Store, r.state.Tenant, r.state.ID, r.state)
	}
	ledger.Fold(r.state, r.state.Revision, records)
	return nil
}
