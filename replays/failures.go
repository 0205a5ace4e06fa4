package replays

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"hookledger/domain"
)

// failures yields what another replay scheduled and what was exhausted, in that one's order, behind the cursor.
func (pl *plan) failures(ctx context.Context, after domain.ReplayCursor) iter.Seq2[domain.PlannedPair, error] {
	return func(yield func(domain.PlannedPair, error) bool) {
		var last domain.PlannedPair
		for r, err := range pl.Store.ReadStream(ctx, domain.ReplayStream(pl.Tenant, pl.Selector.FailuresOf), 0) {
			if err != nil {
				yield(last, fmt.Errorf("read replay %s: %w", pl.Selector.FailuresOf, err))
				return
			}
			if r.Position > pl.AsOf {
				return
			}
			page, ok := r.Fact.(*domain.ReplayPageScheduled)
			if !ok || page.LastAt.Before(after.At) {
				continue
			}
			pairs, err := pl.failuresIn(ctx, page)
			if err != nil {
				yield(last, err)
				return
			}
			for _, p := range pairs {
				// Two endpoints' failures of one event may have one target: it goes there once.
				if comparePair(p, after) <= 0 || p == last {
					continue
				}
				if last = p; !yield(p, nil) {
					return
				}
			}
			if !yield(domain.PlannedPair{}, nil) {
				return
			}
		}
	}
}

func comparePair(p domain.PlannedPair, c domain.ReplayCursor) int {
	return cmp.Or(p.At.Compare(c.At), cmp.Compare(p.Event, c.Event), cmp.Compare(p.Endpoint, c.Endpoint))
}

// failuresIn plans the failures of one page.
func (pl *plan) failuresIn(ctx context.Context, page *domain.ReplayPageScheduled) ([]domain.PlannedPair, error) {
	s := &pl.Selector
	r := pl.looked
	ids := make([]string, len(page.Pairs))
	for i, p := range page.Pairs {
		ids[i] = p.Event
	}
	r.IDs = ids
	heads, err := pl.Rows.EventHeads(ctx, pl.Tenant, r, domain.ReplayCursor{}, len(ids))
	if err != nil {
		return nil, fmt.Errorf("look up events: %w", err)
	}
	byID := make(map[string]domain.EventHead, len(heads))
	for _, h := range heads {
		byID[h.ID] = h
	}
	var out []domain.PlannedPair
	for _, p := range page.Pairs {
		h, ok := byID[p.Event]
		if !ok || len(s.EventTypes) > 0 && !domain.MatchAny(s.EventTypes, h.Type) ||
			len(s.EndpointIDs) > 0 && !slices.Contains(s.EndpointIDs, p.Endpoint) {
			continue
		}
		status, err := pl.status(ctx, p.Delivery, p.Endpoint)
		if err != nil {
			return nil, err
		}
		if status != domain.StatusExhausted {
			continue
		}
		to, err := pl.sendable(ctx, []string{cmp.Or(pl.Endpoint, p.Endpoint)})
		if err != nil {
			return nil, err
		}
		for _, id := range to {
			out = append(out, domain.PlannedPair{Event: h.ID, Type: h.Type, Size: h.Size, At: h.At, Endpoint: id})
		}
	}
	return out, nil
}
