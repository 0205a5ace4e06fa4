package replays

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"hookledger/domain"
)

// Plan is what a spec comes to.
type Plan struct {
	Count   int
	Bytes   int64
	First   domain.PlannedPair
	Last    domain.PlannedPair
	Sample  []domain.PlannedPair // the 1st, 2nd, 4th, 8th and so on
	Skipped map[string]int       // matched, and not sendable: by reason
	Digest  domain.PlanDigest
}

// Plan computes the plan of a spec. It refuses what names something that is not there, a target that is disabled, and
// a spec that is wrong in itself.
func (p *Planner) Plan(ctx context.Context, spec Spec) (*Plan, error) {
	if err := spec.Selector.Check(spec.Match); err != nil {
		return nil, err
	}
	pl, err := p.open(ctx, spec)
	if err != nil {
		return nil, err
	}
	if err := pl.target(ctx); err != nil {
		return nil, err
	}
	if err := pl.present(ctx); err != nil {
		return nil, err
	}
	out := &Plan{}
	for pair, err := range pl.pairs(ctx, domain.ReplayCursor{}) {
		if err != nil {
			return nil, err
		}
		if pair.Event == "" {
			continue
		}
		if out.Count == 0 {
			out.First = pair
		}
		out.Count++
		out.Last = pair
		out.Bytes += int64(pair.Size)
		out.Digest = out.Digest.Add(pair.Event, pair.Endpoint)
		if out.Count&(out.Count-1) == 0 {
			out.Sample = append(out.Sample, pair)
		}
	}
	if len(pl.skipped) > 0 {
		out.Skipped = pl.skipped
	}
	return out, nil
}

// Pairs yields the plan of a spec that was planned before, behind the cursor, and now and then a pair of nothing. The
// target is not looked at any more.
func (p *Planner) Pairs(ctx context.Context, spec Spec,
	after domain.ReplayCursor) iter.Seq2[domain.PlannedPair, error] {
	return func(yield func(domain.PlannedPair, error) bool) {
		pl, err := p.open(ctx, spec)
		if err != nil {
			yield(domain.PlannedPair{}, err)
			return
		}
		for pair, err := range pl.pairs(ctx, after) {
			if !yield(pair, err) || err != nil {
				return
			}
		}
	}
}

// present refuses events and replays that are named and not there.
func (pl *plan) present(ctx context.Context) error {
	s := &pl.Selector
	if s.FailuresOf != "" {
		for _, err := range pl.Store.ReadStream(ctx, domain.ReplayStream(pl.Tenant, s.FailuresOf), 0) {
			return err
		}
		return domain.ErrNoReplay()
	}
	for ids := range slices.Chunk(s.EventIDs, headsPage) {
		heads, err := pl.Rows.EventHeads(ctx, pl.Tenant, domain.EventRange{IDs: ids, UpTo: pl.AsOf}, domain.ReplayCursor{},
			len(ids))
		if err != nil {
			return fmt.Errorf("look up events: %w", err)
		}
		for _, id := range ids {
			if !slices.ContainsFunc(heads, func(h domain.EventHead) bool { return h.ID == id }) {
				return domain.Refuse(domain.KindNotFound, "event_not_found", "there is no event "+id,
					"list them with: hookledger event list")
			}
		}
	}
	return nil
}

// Find gives the position of a record that was cited.
func Find(ctx context.Context, r reader, ref domain.RecordRef) (domain.Position, error) {
	for rec, err := range r.ReadStream(ctx, ref.Stream, ref.Revision) {
		if err != nil {
			return 0, fmt.Errorf("read the plan's record: %w", err)
		}
		if rec.ID == ref.Record {
			return rec.Position, nil
		}
		break
	}
	return 0, domain.Refuse(domain.KindNotFound, "record_not_found", "the record that the plan is fixed at is not there",
		"plan anew with dry_run, and use as_of as it is answered")
}

type reader interface {
	ReadStream(ctx context.Context, stream domain.Stream, from domain.Revision) iter.Seq2[*domain.Record, error]
}
