package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// Rows are the read models that events are looked up in; *projections.Projections are. They are asked only for what
// never changes once it is there.
type Rows interface {
	EventsOf(ctx context.Context, tenant string, q domain.EventQuery, after domain.ReplayCursor,
		limit int) ([]domain.EventHead, error)
	EventHeads(ctx context.Context, tenant string, r domain.EventRange, from domain.ReplayCursor,
		limit int) ([]domain.EventHead, error)
	DeliveriesOf(ctx context.Context, tenant, event string) ([]domain.DeliveryTo, error)
	Numbers(ctx context.Context, tenant string, r domain.NumberRange, upTo domain.Position, after domain.NumberedEvent,
		limit int) ([]domain.NumberedEvent, error)
}

// Opener opens what is sealed; *vault.Vault is one.
type Opener interface {
	Open(ctx context.Context, p vault.Place, s *domain.Sealed) ([]byte, error)
}

// Book is a tenant's part of the ledger. It is used by one report at a time.
type Book struct {
	Tenant string
	Store  ledger.Reader
	Rows   Rows
	Vault  Opener

	removed map[string]domain.Position // by endpoint: where it was removed, 0: it was not
}

var _ Ledger = (*Book)(nil)

// bookPage is the number of events that are looked up at once.
const bookPage = 500

// Events yields the events of a query, with what became of them up to its position.
func (b *Book) Events(ctx context.Context, q domain.EventQuery) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for after := (domain.ReplayCursor{}); ; {
			heads, err := b.Rows.EventsOf(ctx, b.Tenant, q, after, bookPage)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, h := range heads {
				e, err := b.event(ctx, h.ID, q.UpTo)
				if err != nil {
					err = fmt.Errorf("event %s: %w", h.ID, err)
				}
				if !yield(e, err) || err != nil {
					return
				}
				after = domain.ReplayCursor{At: h.At, Event: h.ID}
			}
			if len(heads) < bookPage {
				return
			}
		}
	}
}

func (b *Book) event(ctx context.Context, id string, upTo domain.Position) (*Event, error) {
	e := &Event{ID: id}
	var to []domain.DeliveryTo
	for r, err := range b.Store.ReadStream(ctx, domain.EventStream(b.Tenant, id), 0) {
		if err != nil {
			return nil, err
		}
		switch f := r.Fact.(type) {
		case *domain.EventReceived:
			e.Type, e.At, e.Received, e.Position, e.Record = f.Event, f.Timestamp, r.RecordedAt, r.Position, r.ID.String()
			if err := b.open(ctx, r, f, e); err != nil {
				return nil, err
			}
		case *domain.EventRouted:
			for _, m := range f.Matches {
				to = append(to, domain.DeliveryTo{ID: m.Delivery, Endpoint: m.Endpoint})
			}
		}
	}
	if e.Record == "" {
		return nil, errors.New("it has a row, and is not on the ledger")
	}
	routed := len(to)
	others, err := b.Rows.DeliveriesOf(ctx, b.Tenant, id)
	if err != nil {
		return nil, err
	}
	for _, d := range others {
		if !slices.Contains(to, d) {
			to = append(to, d)
		}
	}
	for i, d := range to {
		got, begun, err := b.delivery(ctx, d, upTo)
		if err != nil {
			return nil, err
		}
		if begun || i < routed { // a replay's counts once it was tried
			e.Deliveries = append(e.Deliveries, got)
		}
	}
	return e, nil
}

func (b *Book) open(ctx context.Context, r *domain.Record, f *domain.EventReceived, e *Event) error {
	plain, err := b.Vault.Open(ctx, vault.PlaceOf(r), f.Content)
	if errors.Is(err, vault.ErrErased) {
		e.Erased = true
		return nil
	}
	if err != nil {
		return err
	}
	var content domain.EventContent
	var body domain.Envelope
	if err := json.Unmarshal(plain, &content); err != nil {
		return err
	}
	if err := json.Unmarshal(content.Body, &body); err != nil {
		return err
	}
	e.Data = body.Data
	return nil
}

// delivery folds a delivery up to the position; begun says whether it has records there.
func (b *Book) delivery(ctx context.Context, to domain.DeliveryTo, upTo domain.Position) (out Delivery, begun bool,
	err error) {
	out = Delivery{ID: to.ID, Endpoint: to.Endpoint}
	d := domain.NewDelivery()
	for r, err := range b.Store.ReadStream(ctx, domain.DeliveryStream(b.Tenant, to.ID), 0) {
		if err != nil {
			return out, begun, err
		}
		if r.Position > upTo {
			break
		}
		d.Evolve(r)
		begun = true
		if f, ok := r.Fact.(*domain.ResponseReceived); ok && f.Taken() {
			out.Confirmed = append(out.Confirmed, Confirmation{Attempt: f.Attempt, At: r.RecordedAt})
		}
	}
	out.Ended = d.Status.Terminal()
	if !out.Ended && d.Open == nil { // the endpoint's removal is the end of what has no open attempt
		at, err := b.endpointRemoved(ctx, to.Endpoint)
		if err != nil {
			return out, begun, err
		}
		out.Ended = at > 0 && at <= upTo
	}
	return out, begun, nil
}

func (b *Book) endpointRemoved(ctx context.Context, id string) (domain.Position, error) {
	if at, ok := b.removed[id]; ok {
		return at, nil
	}
	var at domain.Position
	for r, err := range b.Store.ReadStream(ctx, domain.EndpointStream(b.Tenant, id), 0) {
		if err != nil {
			return 0, err
		}
		if _, ok := r.Fact.(*domain.EndpointRemoved); ok {
			at = r.Position
		}
	}
	if b.removed == nil {
		b.removed = map[string]domain.Position{}
	}
	b.removed[id] = at
	return at, nil
}

// Known says which of the ids are events that stand at or before the position.
func (b *Book) Known(ctx context.Context, ids []string, upTo domain.Position) (map[string]bool, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	heads, err := b.Rows.EventHeads(ctx, b.Tenant, domain.EventRange{IDs: ids, UpTo: upTo}, domain.ReplayCursor{},
		len(ids))
	if err != nil {
		return nil, err
	}
	out := make(map[string]bool, len(heads))
	for _, h := range heads {
		out[h.ID] = true
	}
	return out, nil
}

// Numbered yields the numbers of a source's events.
func (b *Book) Numbered(ctx context.Context, r domain.NumberRange, upTo domain.Position) iter.Seq2[domain.NumberedEvent,
	error] {
	return func(yield func(domain.NumberedEvent, error) bool) {
		for after := (domain.NumberedEvent{}); ; {
			page, err := b.Rows.Numbers(ctx, b.Tenant, r, upTo, after, bookPage)
			if err != nil {
				yield(after, err)
				return
			}
			for _, after = range page {
				if !yield(after, nil) {
					return
				}
			}
			if len(page) < bookPage {
				return
			}
		}
	}
}

// resetGrace is how long, at least, costs may still be the former period's after a period's begin: the poller's own
// rule.
const resetGrace = time.Hour

// Costs yields what a source has read of costs, in order. What was erased is left out.
func (b *Book) Costs(ctx context.Context, source string, upTo domain.Position) iter.Seq2[*Costs, error] {
	return func(yield func(*Costs, error) bool) {
		configs, err := b.configs(ctx, source, upTo)
		if err != nil {
			yield(nil, err)
			return
		}
		for r, err := range b.Store.ReadStream(ctx, domain.PollStream(b.Tenant, source), 0) {
			if err != nil {
				yield(nil, err)
				return
			}
			if r.Position > upTo {
				return
			}
			f, ok := r.Fact.(*domain.SourcePolled)
			if !ok || f.What != domain.PollCosts || f.Outcome != domain.PollOK {
				continue
			}
			c, err := b.reading(ctx, r, f, configs[f.Config])
			if errors.Is(err, vault.ErrErased) {
				continue
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// configs are the source's configurations, by their records.
func (b *Book) configs(ctx context.Context, source string, upTo domain.Position) (map[ulid.ULID]*domain.SourceConfig,
	error) {
	out := map[ulid.ULID]*domain.SourceConfig{}
	for r, err := range b.Store.ReadStream(ctx, domain.SourceStream(b.Tenant, source), 0) {
		if err != nil {
			return nil, err
		}
		if r.Position > upTo {
			break
		}
		switch f := r.Fact.(type) {
		case *domain.SourceAdded:
			out[r.ID] = &f.Config
		case *domain.SourceChanged:
			out[r.ID] = &f.Config
		}
	}
	costs := false
	for _, c := range out {
		costs = costs || c.Poll != nil && c.Poll.CostsEvery > 0
	}
	switch {
	case len(out) == 0:
		return nil, domain.Refuse(domain.KindNotFound, "source_not_found", "there is no source "+short(source),
			"list them with: hookledger source list")
	case !costs:
		return nil, refuse("no_costs", "the source reads no costs", "add one that does: hookledger source add --costs-every")
	}
	return out, nil
}

func (b *Book) reading(ctx context.Context, r *domain.Record, f *domain.SourcePolled,
	config *domain.SourceConfig) (*Costs, error) {
	if config == nil || config.Poll == nil {
		return nil, fmt.Errorf("record %s was read by a configuration that is not there", r.ID)
	}
	loc, err := Location(config.TimeZone)
	if err != nil {
		return nil, err
	}
	plain, err := b.Vault.Open(ctx, vault.PlaceOf(r), f.Content)
	if err != nil {
		return nil, err
	}
	var content domain.PollContent
	if err := json.Unmarshal(plain, &content); err != nil {
		return nil, fmt.Errorf("record %s: %w", r.ID, err)
	}
	return &Costs{At: f.Begun, Record: r.ID.String(), Currency: config.Poll.Currency, Period: config.Poll.CostPeriod,
		Location: loc, Grace: max(resetGrace, 2*time.Duration(config.Poll.CostsEvery)), Agents: content.Costs}, nil
}
