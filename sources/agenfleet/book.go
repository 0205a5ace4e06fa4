package agenfleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/vault"
)

const (
	// recordGrace is how long what was decided may take to be recorded, also when the poller's context has ended.
	recordGrace = 20 * time.Second
	// maxConflicts bounds how often a reading is decided on anew because another poller was faster.
	maxConflicts = 20
	// oneByOne is how many events are posted in their order; more than these share their commits.
	oneByOne = 32
)

// book is a source's poll stream, and the state that was folded from it. It is not safe for concurrent use.
type book struct {
	cfg    *Config
	source *domain.Source
	rules  *rules
	stream domain.Stream

	state *state // nil: to be folded
	at    domain.Revision
}

func newBook(cfg *Config, s *domain.Source) (*book, error) {
	ru, err := newRules(s)
	if err != nil {
		return nil, err
	}
	return &book{cfg: cfg, source: s, rules: ru, stream: domain.PollStream(s.Tenant, s.ID)}, nil
}

// load folds the stream, where that was not done or what was folded is not sure any more, and posts what the last
// record derived: a poller may have died between the two.
func (b *book) load(ctx context.Context) error {
	if b.state != nil {
		return b.post(ctx)
	}
	s, at := newState(b.rules), domain.NoStream
	for r, err := range b.cfg.Store.ReadStream(ctx, b.stream, 0) {
		if err != nil {
			return fmt.Errorf("fold %s: %w", b.stream, err)
		}
		if u, ok := r.Fact.(*domain.Unknown); ok {
			return fmt.Errorf("fold %s: record %s, %s version %d: %w", b.stream, r.ID, u.Type, u.Version,
				ledger.ErrNewerFormat)
		}
		content, err := b.open(ctx, r)
		if err != nil {
			return fmt.Errorf("fold %s: record %s: %w", b.stream, r.ID, err)
		}
		s.evolve(r, content)
		at = r.Revision
	}
	b.state, b.at = s, at
	return b.post(ctx)
}

// open gives what a record seals; nil where it was erased.
func (b *book) open(ctx context.Context, r *domain.Record) (*domain.PollContent, error) {
	f, ok := r.Fact.(*domain.SourcePolled)
	if !ok {
		return nil, nil
	}
	plain, err := b.cfg.Vault.Open(ctx, vault.PlaceOf(r), f.Content)
	if errors.Is(err, vault.ErrErased) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &domain.PollContent{}
	return c, json.Unmarshal(plain, c)
}

// take records a reading and posts what follows from it. Where another poller recorded a newer one meanwhile, this one
// is dropped.
func (b *book) take(ctx context.Context, r *reading) error {
	return b.decide(ctx, func(s *state) []*draft {
		if !s.tracks[r.what].readAt.Before(r.begun) {
			return nil
		}
		return s.take(r, b.cfg.NewID)
	})
}

// fail records a poll that failed.
func (b *book) fail(ctx context.Context, what string, begun time.Time, cause *pollError) error {
	return b.decide(ctx, func(s *state) []*draft {
		if d := s.fail(what, begun, b.cfg.Now().UTC(), cause.code, cause.text, b.cfg.NewID); d != nil {
			return []*draft{d}
		}
		return nil
	})
}

// decide appends what fn decides on the state. The state is folded anew after a conflict, and after an error.
func (b *book) decide(ctx context.Context, fn func(*state) []*draft) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordGrace)
	defer cancel()
	var err error
	for range maxConflicts {
		if err = b.load(ctx); err != nil {
			break
		}
		if err = b.append(ctx, fn(b.state)); !errors.Is(err, ledger.ErrConflict) {
			break
		}
		b.state = nil
	}
	if err != nil {
		b.state = nil
	}
	return err
}

func (b *book) append(ctx context.Context, drafts []*draft) error {
	for _, d := range drafts {
		if err := b.appendOne(ctx, d); err != nil {
			return err
		}
		b.state.pending = d.content.Derived
		if err := b.post(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *book) appendOne(ctx context.Context, d *draft) error {
	now := b.cfg.Now().UTC()
	plain, err := json.Marshal(d.content)
	if err != nil {
		return fmt.Errorf("write down a poll of %s: %w", b.source.ID, err)
	}
	key, err := b.cfg.Vault.DataKey(ctx, vault.Scope{Tenant: b.source.Tenant, Type: "source", At: now})
	if err != nil {
		return fmt.Errorf("seal a poll of %s: %w", b.source.ID, err)
	}
	d.fact.Content, err = b.cfg.Vault.Seal(ctx, key, vault.Place{Tenant: b.source.Tenant, Stream: b.stream, Record: d.id,
		Type: d.fact.RecordType()}, plain)
	if err != nil {
		return fmt.Errorf("seal a poll of %s: %w", b.source.ID, err)
	}
	stamp := domain.Stamp{At: now, Base: d.id, Actor: b.actor()}
	done, err := ledger.AppendKnown(ctx, b.cfg.Store, b.stream, b.at,
		stamp.Records(b.stream, b.source.Tenant, "", ulid.ULID{}, d.fact))
	if err != nil {
		return fmt.Errorf("record a poll of %s: %w", b.source.ID, err)
	}
	b.at = done.Revision
	return nil
}

func (b *book) actor() domain.Actor { return domain.Actor{Kind: domain.ActorSource, ID: b.source.ID} }

// post posts what the last record derived. What is refused for good is said in the next record; for what may be taken
// later it returns an error, and nothing else is recorded before.
func (b *book) post(ctx context.Context) error {
	for len(b.state.pending) > 0 {
		n := 1 // one after the other, in the order in which they follow
		if len(b.state.pending) > oneByOne {
			n = min(len(b.state.pending), ingest.MaxBatch)
		}
		batch := b.state.pending[:n]
		posts := make([]ingest.Post, n)
		for i := range batch {
			e := &batch[i]
			posts[i] = ingest.Post{Tenant: b.source.Tenant, Actor: b.actor(), ID: e.ID, Event: e.Event,
				Timestamp: &e.Timestamp, Subject: e.Subject, Source: b.source.ID, Data: e.Data}
		}
		for i, result := range b.cfg.Ingest.PostBatch(ctx, posts) {
			if err := b.settled(&batch[i], result.Err); err != nil {
				return err
			}
			b.state.pending = b.state.pending[1:]
		}
	}
	return nil
}

// settled says whether a post is dealt with: it was taken, now or before, or is refused for good.
func (b *book) settled(e *domain.DerivedContent, err error) error {
	var refusal *domain.Error
	switch {
	case err == nil, domain.Code(err) == "id_conflict":
		// Of the same id there is one already: the agent's of this period.
	case errors.As(err, &refusal) && (refusal.Kind == domain.KindInvalid || refusal.Kind == domain.KindTooLarge):
		b.state.refused = append(b.state.refused, domain.RefusedEvent{ID: e.ID, Code: refusal.Code})
		b.cfg.Logger.Error("an event that was derived from a source is refused", "source", b.source.ID, "event", e.Event,
			"id", e.ID, "code", refusal.Code)
	default:
		return fmt.Errorf("post %s of %s: %w", e.Event, b.source.ID, err)
	}
	return nil
}
