package agenfleet

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"hookledger/domain"
)

const (
	// limitsEvery is how often an agent's budget is read where the listing does not have it.
	limitsEvery = time.Hour
	// pollWithin bounds a poll whose source is polled more often than that.
	pollWithin = 3 * time.Minute
	// retryLedger is how long a poller waits when the ledger or the vault did not take what it had.
	retryLedger = 5 * time.Second
)

// poller polls one source in one configuration.
type poller struct {
	cfg     *Config
	metrics *metrics
	source  *domain.Source
	client  *client
	book    *book
	show    func(Status) // takes the status after each poll

	limitsAt map[string]time.Time // when each agent's own limits were read
}

// run polls until ctx ends. What fails is recorded, or, where the ledger does not take it, tried again.
func (p *poller) run(ctx context.Context) {
	agents := time.Time{}
	costs := time.Time{}
	costsEvery := time.Duration(p.source.Config.Poll.CostsEvery)
	for ctx.Err() == nil {
		var err error
		what := domain.PollAgents
		switch now := p.cfg.Now(); {
		case !now.Before(agents):
			var after time.Duration
			after, err = p.pollAgents(ctx)
			agents = now.Add(max(after, time.Duration(p.source.Config.Poll.Every)))
		case costsEvery > 0 && !now.Before(costs):
			what = domain.PollCosts
			var after time.Duration
			after, err = p.pollCosts(ctx)
			costs = now.Add(max(after, costsEvery))
		}
		if err != nil && ctx.Err() == nil {
			p.metrics.polled(what, resultUnrecorded)
			p.cfg.Logger.Error("a source's polls are not recorded; it goes on", "source", p.source.ID, "error", err)
			pause(ctx, retryLedger)
		}
		p.show(p.status())
		next := agents
		if costsEvery > 0 && costs.Before(next) {
			next = costs
		}
		pause(ctx, next.Sub(p.cfg.Now()))
	}
}

// pause waits, or returns when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// bounded is the time that a poll gets.
func (p *poller) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(pollWithin, time.Duration(p.source.Config.Poll.Every)))
}

// pollAgents reads all agents and records what is new. after is how long the API wants to be left alone.
func (p *poller) pollAgents(ctx context.Context) (after time.Duration, err error) {
	begun := p.cfg.Now().UTC()
	if err := p.book.load(ctx); err != nil {
		return 0, err
	}
	if err := p.cfg.Room(); err != nil {
		return p.failed(ctx, domain.PollAgents, begun, noRoom(err))
	}
	within, cancel := p.bounded(ctx)
	defer cancel()
	agents, err := p.client.agents(within)
	if err != nil {
		return p.failed(ctx, domain.PollAgents, begun, err)
	}
	after, err = p.pollLimits(within, ctx, agents)
	if err != nil {
		return 0, err
	}
	return after, p.take(ctx, &reading{what: domain.PollAgents, begun: begun, ended: p.cfg.Now().UTC(),
		agents: agents})
}

// pollLimits asks for the budgets of agents whose rows have none, those that were not asked for longest first, and as
// many as leave the rate limit some room.
func (p *poller) pollLimits(within, ctx context.Context, agents []domain.AgentReading) (time.Duration, error) {
	now := p.cfg.Now()
	var due []int
	for i := range agents {
		if at, ok := p.limitsAt[agents[i].ID]; agents[i].Limits == nil && (!ok || now.Sub(at) >= limitsEvery) {
			due = append(due, i)
		}
	}
	if len(due) == 0 {
		return 0, nil
	}
	slices.SortStableFunc(due, func(a, b int) int {
		return cmp.Compare(p.limitsAt[agents[a].ID].Unix(), p.limitsAt[agents[b].ID].Unix())
	})
	begun := now.UTC()
	for _, i := range due[:min(len(due), max(1, p.source.Config.Poll.RateLimit/3))] {
		l, err := p.client.limits(within, agents[i].ID)
		if err != nil {
			return p.failed(ctx, domain.PollLimits, begun, err)
		}
		if l == nil {
			l = &domain.AgentLimits{} // it was read, and there are none
		}
		agents[i].Limits = l
		p.limitsAt[agents[i].ID] = now
	}
	return 0, p.take(ctx, &reading{what: domain.PollLimits, begun: begun, ended: p.cfg.Now().UTC()})
}

func (p *poller) pollCosts(ctx context.Context) (time.Duration, error) {
	begun := p.cfg.Now().UTC()
	if err := p.book.load(ctx); err != nil {
		return 0, err
	}
	if err := p.cfg.Room(); err != nil {
		return p.failed(ctx, domain.PollCosts, begun, noRoom(err))
	}
	within, cancel := p.bounded(ctx)
	defer cancel()
	costs, err := p.client.costs(within)
	if err != nil {
		return p.failed(ctx, domain.PollCosts, begun, err)
	}
	return 0, p.take(ctx, &reading{what: domain.PollCosts, begun: begun, ended: p.cfg.Now().UTC(), costs: costs})
}

// take records a reading, and counts the poll once that is done.
func (p *poller) take(ctx context.Context, r *reading) error {
	err := p.book.take(ctx, r)
	if err == nil {
		p.metrics.polled(r.what, resultOK)
	}
	return err
}

// failed records a failure; one that is only our own end is none.
func (p *poller) failed(ctx context.Context, what string, begun time.Time, cause error) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, nil
	}
	var bad *pollError
	if !errors.As(cause, &bad) {
		bad = &pollError{code: codeRequest, text: cause.Error()}
	}
	if s := p.book.state; s == nil || s.tracks[what].code != bad.code {
		p.cfg.Logger.Warn("a source can't be read: its gap is recorded", "source", p.source.ID, "what", what,
			"code", bad.code)
	}
	after := bad.after
	if bad.code == codeLimited {
		after = max(after, time.Minute)
	}
	if bad.code == codeNoRoom { // nothing can be recorded: the gap is, once there is room
		p.book.state.fail(what, begun, begun, bad.code, bad.text, p.cfg.NewID)
		p.metrics.polled(what, bad.code)
		return 0, nil
	}
	err := p.book.fail(ctx, what, begun, bad)
	if err == nil {
		p.metrics.polled(what, bad.code)
	}
	return after, err
}
