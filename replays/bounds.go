package replays

import (
	"context"
	"fmt"
	"slices"

	"hookledger/domain"
)

// bound says which events are looked at: what a selector names by records stands somewhere on this ledger.
func (pl *plan) bound(ctx context.Context) (err error) {
	s := &pl.Selector
	r := domain.EventRange{CreatedAfter: s.CreatedAfter, CreatedBefore: s.CreatedBefore,
		OccurredAfter: s.OccurredAfter, OccurredBefore: s.OccurredBefore, After: s.PositionAfter, UpTo: pl.AsOf}
	before := s.PositionBefore
	if s.After != nil {
		if r.After, err = Find(ctx, pl.Store, *s.After); err != nil {
			return err
		}
	}
	if s.Before != nil {
		if before, err = Find(ctx, pl.Store, *s.Before); err != nil {
			return err
		}
	}
	if before > 0 {
		r.UpTo = min(r.UpTo, before-1)
	}
	switch {
	case pl.named != nil:
		for event := range pl.named {
			if len(s.EventIDs) == 0 || slices.Contains(s.EventIDs, event) {
				r.IDs = append(r.IDs, event)
			}
		}
		slices.Sort(r.IDs)
		if r.IDs == nil {
			r.IDs = []string{}
		}
	case len(s.EventIDs) > 0:
		r.IDs = s.EventIDs
	}
	pl.looked = r
	return nil
}

// name looks up the deliveries that the selector names: each of them must be there.
func (pl *plan) name(ctx context.Context) error {
	ids := pl.Selector.DeliveryIDs
	if len(ids) == 0 {
		return nil
	}
	pl.named = map[string][]domain.Match{}
	for some := range slices.Chunk(ids, headsPage) {
		found, err := pl.Rows.DeliveriesByID(ctx, pl.Tenant, some)
		if err != nil {
			return fmt.Errorf("look up deliveries: %w", err)
		}
		for _, id := range some {
			i := slices.IndexFunc(found, func(d domain.Due) bool { return d.Delivery == id })
			if i < 0 {
				return domain.Refuse(domain.KindNotFound, "delivery_not_found", "there is no delivery "+id,
					"list them with: hookledger delivery list")
			}
			d := found[i]
			pl.named[d.Event] = append(pl.named[d.Event], domain.Match{Endpoint: d.Endpoint, Delivery: id})
		}
	}
	return nil
}

// Cite gives the selector with records in the place of positions, which are the store's own and change when the ledger
// moves to another one. Up to asOf it selects the same.
func (p *Planner) Cite(ctx context.Context, tenant string, s domain.ReplaySelector,
	asOf domain.Position) (domain.ReplaySelector, error) {
	if pos := s.PositionAfter; pos > 0 {
		event, err := p.Rows.EventBefore(ctx, tenant, min(pos, asOf))
		if err != nil {
			return s, fmt.Errorf("look up the last event up to position %d: %w", pos, err)
		}
		if s.After, err = p.cite(ctx, tenant, event); err != nil {
			return s, err
		}
	}
	if pos := s.PositionBefore; pos > 0 && pos <= asOf {
		event, err := p.Rows.EventFrom(ctx, tenant, pos)
		if err != nil {
			return s, fmt.Errorf("look up the first event from position %d on: %w", pos, err)
		}
		if s.Before, err = p.cite(ctx, tenant, event); err != nil {
			return s, err
		}
	}
	s.PositionAfter, s.PositionBefore = 0, 0
	return s, nil
}

// cite gives the record that an event begins with; nil for none: then the range has no end there.
func (p *Planner) cite(ctx context.Context, tenant, event string) (*domain.RecordRef, error) {
	if event == "" {
		return nil, nil
	}
	for r, err := range p.Store.ReadStream(ctx, domain.EventStream(tenant, event), 0) {
		if err != nil {
			return nil, fmt.Errorf("read event %s: %w", event, err)
		}
		return &domain.RecordRef{Record: r.ID, Stream: r.Stream, Revision: r.Revision}, nil
	}
	return nil, fmt.Errorf("event %s is not on the ledger", event)
}
