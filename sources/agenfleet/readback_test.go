package agenfleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// costSnapshot is what all agents had cost when a source was asked, put together from its records.
type costSnapshot struct {
	Source      string
	Records     []ulid.ULID // that it stands in
	ReadAt      time.Time
	Currency    string
	Period      string    // of the costs: "daily" or "monthly"
	PeriodStart time.Time // of the period in which it was read, in the source's time zone
	Erased      bool      // its content was erased: Costs is empty
	Costs       []domain.CostReading
}

// opener opens what records seal; *vault.Vault is one.
type opener interface {
	Open(ctx context.Context, p vault.Place, s *domain.Sealed) ([]byte, error)
}

// snapshots yields the cost snapshots of a source that were read from a time on, and before another, in order; each
// with the currency and the period of the configuration that it was read by. It works for removed sources too. An error
// is yielded once, last.
func snapshots(ctx context.Context, r ledger.Reader, v opener, tenant, source string,
	from, to time.Time) iter.Seq2[*costSnapshot, error] {
	return func(yield func(*costSnapshot, error) bool) {
		configs, err := configurations(ctx, r, tenant, source)
		if err != nil {
			yield(nil, err)
			return
		}
		var last *costSnapshot // a large one stands in several records
		for rec, err := range r.ReadStream(ctx, domain.PollStream(tenant, source), 0) {
			if err != nil {
				yield(nil, fmt.Errorf("read the costs of %s: %w", source, err))
				return
			}
			f, ok := rec.Fact.(*domain.SourcePolled)
			if !ok || f.What != domain.PollCosts || f.Outcome != domain.PollOK || f.Begun.Before(from) || !f.Begun.Before(to) {
				continue
			}
			if last != nil && !last.ReadAt.Equal(f.Begun) {
				if !yield(last, nil) {
					return
				}
				last = nil
			}
			if last, err = extend(ctx, v, last, rec, f, configs); err != nil {
				yield(nil, fmt.Errorf("read the costs of %s: record %s: %w", source, rec.ID, err))
				return
			}
		}
		if last != nil {
			yield(last, nil)
		}
	}
}

// configurations are all that a source had, by their records.
func configurations(ctx context.Context, r ledger.Reader, tenant,
	source string) (map[ulid.ULID]domain.SourceConfig, error) {
	out := map[ulid.ULID]domain.SourceConfig{}
	for rec, err := range r.ReadStream(ctx, domain.SourceStream(tenant, source), 0) {
		if err != nil {
			return nil, fmt.Errorf("read the source %s: %w", source, err)
		}
		s := domain.Source{}
		s.Evolve(rec)
		if s.ConfigRecord == rec.ID {
			out[rec.ID] = s.Config
		}
	}
	return out, nil
}

// extend puts a record's costs to the snapshot, or begins one.
func extend(ctx context.Context, v opener, to *costSnapshot, rec *domain.Record, f *domain.SourcePolled,
	configs map[ulid.ULID]domain.SourceConfig) (*costSnapshot, error) {
	if to == nil {
		c, ok := configs[f.Config]
		if !ok || c.Poll == nil {
			return nil, errors.New("the configuration that it was read by is not on the ledger")
		}
		loc, err := Location(c.TimeZone)
		if err != nil {
			return nil, err
		}
		start := domain.PeriodStart(f.Begun, c.Poll.CostPeriod, loc)
		to = &costSnapshot{Source: rec.Stream.ID(), ReadAt: f.Begun, Currency: c.Poll.Currency,
			Period: c.Poll.CostPeriod, PeriodStart: start}
	}
	to.Records = append(to.Records, rec.ID)
	plain, err := v.Open(ctx, vault.PlaceOf(rec), f.Content)
	if errors.Is(err, vault.ErrErased) {
		to.Erased = true
		return to, nil
	}
	if err != nil {
		return nil, err
	}
	var content domain.PollContent
	if err := json.Unmarshal(plain, &content); err != nil {
		return nil, err
	}
	to.Costs = append(to.Costs, content.Costs...)
	return to, nil
}
