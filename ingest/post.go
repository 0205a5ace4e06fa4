package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// Limits of a post's fields, in bytes; domain has those of the whole.
const (
	MaxSubject        = 512
	MaxSource         = 256
	MaxIdempotencyKey = 256
)

const (
	route       = "POST /v1/events" // that an idempotency key is bound to, whatever way the post came
	contentType = "application/json"
)

// Post accepts an event. The receipt is given once the event is durable. A refusal is a *domain.Error; nothing was
// appended then, unless its code is "outcome_unknown": then the post must be repeated with the id that it names.
func (in *Ingest) Post(ctx context.Context, p Post) (*Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, in.within)
	defer cancel()
	if err := in.rates.admit(in, &p); err != nil {
		in.posts.count(nil, err)
		return nil, err
	}
	id, own := in.eventID(&p)
	return in.post(ctx, &p, id, own)
}

// eventID gives the event's id, and says whether it is one that the producer can repeat.
func (in *Ingest) eventID(p *Post) (id string, own bool) {
	switch {
	case p.ID != "":
		return p.ID, true
	case p.IdempotencyKey != "":
		parts := []string{p.Tenant, route, p.IdempotencyKey}
		if p.IdempotencyIndex != nil {
			parts = append(parts, "batch", strconv.Itoa(*p.IdempotencyIndex))
		}
		return domain.NewID(domain.PrefixEvent, domain.DerivedID(time.Time{}, parts...)), true
	}
	return domain.NewID(domain.PrefixEvent, in.newID()), false
}

func (in *Ingest) post(ctx context.Context, p *Post, id string, own bool) (*Receipt, error) {
	begun := in.begin()
	receipt, err := in.decide(ctx, p, id, own)
	in.posts.count(receipt, err)
	in.observe(p, begun, receipt)
	return receipt, err
}

func (in *Ingest) decide(ctx context.Context, p *Post, id string, own bool) (*Receipt, error) {
	if err := p.check(id); err != nil {
		return nil, err
	}
	routing, ok := in.dir.Routing(p.Tenant)
	if !ok {
		return nil, domain.Refuse(domain.KindNotFound, "tenant_not_found", "there is no such tenant",
			"list them with: hookledger tenant list")
	}
	version, err := in.schemas.check(routing.Tenant, p)
	if err != nil {
		if own {
			return in.acceptedBefore(ctx, p, id, err)
		}
		return nil, err
	}
	if err := in.room(); err != nil {
		return nil, err
	}
	receipt, err := in.accept(ctx, p, id, version, routing)
	if errors.Is(err, vault.ErrErased) {
		// The scope's key was destroyed between the look-up and its use; by now the scope has a new one.
		receipt, err = in.accept(ctx, p, id, version, routing)
	}
	return receipt, err
}

// acceptedBefore answers a post that would be refused today: an event that was accepted once stays accepted, whatever
// became of its type.
func (in *Ingest) acceptedBefore(ctx context.Context, p *Post, id string, refusal error) (*Receipt, error) {
	first, err := readFirst(ctx, in.store, p.Tenant, id)
	if domain.Code(err) == codeEventNotFound {
		return nil, refusal
	}
	if err != nil {
		return nil, err
	}
	receipt, err := in.repeat(ctx, p, first)
	if domain.Code(err) == "id_conflict" {
		return nil, refusal
	}
	return receipt, err
}

func (in *Ingest) accept(ctx context.Context, p *Post, id string, version int,
	routing *domain.Routing) (*Receipt, error) {
	now := in.now().UTC().Truncate(time.Microsecond)
	happened := now
	if p.Timestamp != nil {
		happened = p.Timestamp.UTC()
	}
	envelope := domain.Envelope{ID: id, Event: p.Event, Timestamp: happened, Data: p.Data}
	body := envelope.Bytes()

	stamp := domain.Stamp{At: now, Base: in.newID(), Actor: p.Actor}
	stream := domain.EventStream(p.Tenant, id)
	asOf := in.vault.Erasures()
	sealed, err := in.seal(ctx, p, vault.Place{Tenant: p.Tenant, Stream: stream, Record: stamp.Base,
		Type: (*domain.EventReceived)(nil).RecordType()}, now, body)
	if err != nil {
		return nil, err
	}
	received := &domain.EventReceived{ID: id, Event: p.Event, SchemaVersion: version, Timestamp: happened,
		TimestampGiven: p.Timestamp != nil, Source: p.Source, Sequence: p.Sequence, ContentType: contentType,
		Content: sealed, Size: len(body)}
	routed := routing.Route(id, p.Event, now)
	records := stamp.Records(stream, p.Tenant, id, ulid.ULID{}, received, routed)

	done, err := ledger.AppendKnown(ctx, in.store, stream, domain.NoStream, records)
	switch {
	case errors.Is(err, ledger.ErrConflict):
		first, err := readFirst(ctx, in.store, p.Tenant, id)
		if err != nil {
			return nil, err
		}
		return in.repeat(ctx, p, first)
	case err != nil:
		return nil, refuseAppend(err, id)
	}
	if in.bodies != nil {
		in.bodies.put(p.Tenant, id, asOf, domain.EventBody{Body: body, Subject: p.Subject, KeyID: sealed.KeyID,
			Received: withoutContent(received), At: now})
	}
	return &Receipt{ID: id, Event: p.Event, Timestamp: happened, Position: done.Position, Deliveries: routed.Matches}, nil
}

func (in *Ingest) seal(ctx context.Context, p *Post, at vault.Place, now time.Time,
	body []byte) (*domain.Sealed, error) {
	keyID, err := in.vault.DataKey(ctx, vault.Scope{Tenant: p.Tenant, Subject: p.Subject, Type: p.Event, At: now})
	if err != nil {
		return nil, fmt.Errorf("post %s: %w", p.Event, err)
	}
	buf := contents.Get().(*[]byte)
	defer contents.Put(buf)
	*buf = appendContent((*buf)[:0], p.Subject, body)
	sealed, err := in.vault.Seal(ctx, keyID, at, *buf)
	if err != nil {
		return nil, fmt.Errorf("post %s: %w", p.Event, err)
	}
	return sealed, nil
}

// repeat answers a post whose id stands on the ledger already.
func (in *Ingest) repeat(ctx context.Context, p *Post, first *accepted) (*Receipt, error) {
	receipt := &Receipt{ID: first.received.ID, Event: first.received.Event, Timestamp: first.received.Timestamp,
		Duplicate: true, Position: first.position, Deliveries: first.routed.Matches}
	plain, err := in.vault.Open(ctx, first.place, first.received.Content)
	if errors.Is(err, vault.ErrErased) {
		receipt.Erased = true
		return receipt, nil
	}
	if err != nil {
		return nil, fmt.Errorf("compare with event %s: %w", receipt.ID, err)
	}
	content, err := parseContent(plain)
	if err != nil {
		return nil, fmt.Errorf("compare with event %s: %w", receipt.ID, err)
	}
	if what := differs(p, first.received, &content); what != "" {
		return nil, domain.Refuse(domain.KindConflict, "id_conflict",
			"the event "+receipt.ID+" was accepted before with another "+what,
			"repeat it as it was first sent, or send it with an id of its own")
	}
	return receipt, nil
}

// differs names the part of the content that is not what was accepted first, or gives "".
func differs(p *Post, first *domain.EventReceived, content *domain.EventContent) string {
	if p.Event != first.Event {
		return "event"
	}
	if p.Subject != content.Subject {
		return "subject"
	}
	given := p.Timestamp != nil
	if given != first.TimestampGiven || given && !p.Timestamp.Equal(first.Timestamp) {
		return "timestamp"
	}
	envelope := domain.Envelope{ID: first.ID, Event: first.Event, Timestamp: first.Timestamp, Data: p.Data}
	if !bytes.Equal(envelope.Bytes(), content.Body) {
		return "data"
	}
	return ""
}

// refuseAppend says what an append that failed means to the producer. What a store says beside that is not for
// producers: it names hosts and users of ours.
func refuseAppend(err error, id string) error {
	switch {
	case errors.Is(err, ledger.ErrTooLarge):
		return domain.Refuse(domain.KindTooLarge, "event_too_large", "the event's records are over the ledger's limit",
			"send less data, or put it elsewhere and send its address")
	case errors.Is(err, ledger.ErrUnknownOutcome), errors.Is(err, ledger.ErrClosed):
		return domain.Refuse(domain.KindUnavailable, "outcome_unknown",
			"whether the event was accepted is not known", "repeat the request with the id "+id+", until it is answered")
	case errors.Is(err, ledger.ErrUnavailable):
		return domain.Refuse(domain.KindUnavailable, "ledger_unavailable", "the ledger is not available; nothing was written",
			"repeat the request in a moment")
	}
	return fmt.Errorf("append event %s: %w", id, err)
}
