package followups

import (
	"context"
	"fmt"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
)

// do does it and says what became of it.
func (r *Runner) do(ctx context.Context, f *domain.FollowUp) (result string, err error) {
	defer caught(&err)
	switch {
	case f.Decides():
		return r.disable(ctx, f)
	case f.Kind == domain.FollowChannelEnded:
		return r.channelEnded(ctx, f)
	case domain.Operational(f.Kind):
		return r.tell(ctx, f)
	}
	return "", domain.Refuse(domain.KindInvalid, "unknown_follow_up", "there is nothing known about "+f.Kind,
		"use a newer hookledger")
}

// ruling folds an endpoint's stream with what was decided behind the evidence.
type ruling struct {
	domain.Endpoint
	f *domain.FollowUp
	// cited: it was disabled for this evidence already. later: somebody enabled or disabled it since, and knew better.
	cited, later bool
}

func (s *ruling) Evolve(r *domain.Record) {
	s.Endpoint.Evolve(r)
	switch fact := r.Fact.(type) {
	case *domain.EndpointDisabled:
		s.cited = s.cited || fact.Evidence == s.f.Evidence
		s.later = s.later || r.Position > s.f.Position
	case *domain.EndpointEnabled:
		s.later = s.later || r.Position > s.f.Position
	}
}

// disable disables the endpoint, unless that was done, or somebody decided about it since: when all is folded anew,
// what was answered with 410 last year must not disable an endpoint that was enabled since.
func (r *Runner) disable(ctx context.Context, f *domain.FollowUp) (result string, err error) {
	stream := domain.EndpointStream(f.Tenant, f.Endpoint)
	fresh := func() *ruling { return &ruling{Endpoint: domain.Endpoint{Revision: domain.NoStream}, f: f} }
	_, _, err = ledger.Execute(ctx, r.cfg.Store, stream, fresh, func(s *ruling) ([]domain.Record, error) {
		result = resultMoot
		if s.cited {
			result = resultDuplicate
		}
		if s.cited || s.later {
			return nil, nil
		}
		facts := s.DisableBecause(f)
		if len(facts) == 0 {
			return nil, nil
		}
		result = resultDone
		stamp := domain.Stamp{At: r.cfg.Now(), Base: f.ID(), Actor: domain.FollowUpActor}
		return stamp.Records(stream, f.Tenant, "", f.Evidence, facts...), nil
	})
	if err != nil {
		return "", fmt.Errorf("disable %s: %w", f.Endpoint, err)
	}
	return result, nil
}

// post posts an event under an id that is the same each time. One that stands there with other content is no error: it
// was said before, by what was known then.
func (r *Runner) post(ctx context.Context, p ingest.Post) (string, error) {
	p.Actor, p.Source = domain.FollowUpActor, source
	receipt, err := r.cfg.Poster.Post(ctx, p)
	switch {
	case domain.Code(err) == "id_conflict", err == nil && receipt.Duplicate:
		return resultDuplicate, nil
	case err != nil:
		return "", fmt.Errorf("post %s: %w", p.Event, err)
	}
	return resultDone, nil
}

// source is what the events name as theirs.
const source = "hookledger"
