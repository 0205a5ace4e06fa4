package agenfleet

import (
	"context"
	"errors"
	"time"

	"hookledger/domain"
)

// Status says how the polling of a source goes.
type Status struct {
	Agents      int       // of the last good reading
	ReadAt      time.Time // when it began; zero: there was none
	GapSince    time.Time // since when polls fail; the time of the last good reading, where there was one
	FailedPolls int       // in a row
	Code        string    // why the last one failed
	Message     string
	CostsAt     time.Time // when costs were read last
}

// Status gives a source's; false: it is not polled here, or was not yet.
func (r *Runner) Status(tenant, id string) (Status, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.statuses[sourceKey{tenant, id}]
	return s, ok
}

func (r *Runner) setStatus(key sourceKey, s Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statuses[key] = s
}

func (r *Runner) forget(key sourceKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.statuses, key)
}

func (p *poller) status() Status {
	s := p.book.state
	if s == nil {
		return Status{Code: "not_recorded", Message: "the ledger did not take the last poll: it goes on when it does"}
	}
	t := s.tracks[domain.PollAgents]
	out := Status{Agents: t.rows, ReadAt: t.readAt, Code: t.code, Message: t.message,
		CostsAt: s.tracks[domain.PollCosts].readAt}
	if t.gap != nil {
		out.GapSince, out.FailedPolls = t.gap.Since, t.gap.Polls
	}
	for _, what := range []string{domain.PollLimits, domain.PollCosts} {
		if other := s.tracks[what]; out.Code == "" && other.code != "" {
			out.Code, out.Message = other.code, what+": "+other.message
		}
	}
	return out
}

// Report is what trying a source out brought.
type Report struct {
	Agents   int
	Statuses map[string]int
	Budgets  int // agents of which a budget is known; of those that were asked
	Costs    int // agents of which there are costs
	Code     string
	Message  string // what is wrong; empty: nothing
}

// Test reads everything that a source would read, once, and records nothing.
func (r *Runner) Test(ctx context.Context, s *domain.Source) (Report, error) {
	out := Report{Statuses: map[string]int{}}
	c, err := r.client(ctx, &s.Config)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	err = out.read(ctx, c, s.Config.Poll.CostsEvery > 0)
	var bad *pollError
	if errors.As(err, &bad) {
		out.Code, out.Message = bad.code, bad.text
		return out, nil
	}
	return out, err
}

func (out *Report) read(ctx context.Context, c *client, costs bool) error {
	agents, err := c.agents(ctx)
	if err != nil {
		return err
	}
	out.Agents = len(agents)
	asked := false
	for i := range agents {
		out.Statuses[agents[i].Status]++
		if agents[i].Limits == nil && !asked {
			asked = true // one shows whether it works
			if agents[i].Limits, err = c.limits(ctx, agents[i].ID); err != nil {
				return err
			}
		}
		if agents[i].Limits != nil {
			out.Budgets++
		}
	}
	if !costs {
		return nil
	}
	rows, err := c.costs(ctx)
	out.Costs = len(rows)
	return err
}
