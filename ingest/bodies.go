package ingest

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// DefaultBodies is the bound of Bodies where none is given, in bytes.
const DefaultBodies = 64 << 20

// bodyOverhead is about what an entry costs beside its body and subject, in bytes.
const bodyOverhead = 512

// Bodies keeps the opened content of events, the most recently used, within a bound of bytes. What was erased is
// dropped. It is safe for concurrent use.
type Bodies struct {
	reader ledger.Reader
	vault  Vault
	max    int64
	ahead  *ahead

	mu   sync.Mutex // guards all below
	lru  *simplelru.LRU[bodyKey, domain.EventBody]
	used int64
	asOf uint64 // the vault's erasures that the entries are known to have survived
}

type bodyKey struct{ tenant, event string }

// NewBodies makes one that reads what it does not hold from the ledger. maxBytes of 0 stands for DefaultBodies.
func NewBodies(r ledger.Reader, v Vault, maxBytes int64) *Bodies {
	if maxBytes <= 0 {
		maxBytes = DefaultBodies
	}
	b := &Bodies{reader: r, vault: v, max: maxBytes, ahead: newAhead(r), asOf: v.Erasures()}
	// The only error is a size below 1; entries are bounded by their bytes, not their number.
	b.lru, _ = simplelru.NewLRU(math.MaxInt, func(_ bodyKey, e domain.EventBody) { b.used -= cost(e) })
	return b
}

func cost(e domain.EventBody) int64 { return int64(len(e.Body) + len(e.Subject) + bodyOverhead) }

// Event gives an event's content; the caller must not change it. Received comes without its sealed Content. Errors:
// those of vault.Open, vault.ErrErased above all, and a *domain.Error of KindNotFound.
func (b *Bodies) Event(ctx context.Context, tenant, event string) (domain.EventBody, error) {
	asOf := b.vault.Erasures()
	b.mu.Lock()
	b.follow(asOf)
	e, ok := b.lru.Get(bodyKey{tenant, event})
	b.mu.Unlock()
	if ok {
		return e, nil
	}
	rec, received, err := b.find(ctx, bodyKey{tenant, event})
	if err != nil {
		return domain.EventBody{}, err
	}
	plain, err := b.vault.Open(ctx, vault.PlaceOf(rec), received.Content)
	if err != nil {
		return domain.EventBody{}, fmt.Errorf("event %s: %w", event, err)
	}
	content, err := parseContent(plain)
	if err != nil {
		return domain.EventBody{}, fmt.Errorf("event %s: %w", event, err)
	}
	e = domain.EventBody{Body: content.Body, Subject: content.Subject, KeyID: received.Content.KeyID,
		Received: withoutContent(received), At: rec.RecordedAt}
	b.put(tenant, event, asOf, e)
	return e, nil
}

// find gives an event's EventReceived, from what was read on or by a search.
func (b *Bodies) find(ctx context.Context, k bodyKey) (*domain.Record, *domain.EventReceived, error) {
	if rec := b.ahead.take(k); rec != nil {
		if received, ok := rec.Fact.(*domain.EventReceived); ok {
			return rec, received, nil
		}
	}
	first, err := readFirst(ctx, b.reader, k.tenant, k.event)
	if err != nil {
		return nil, nil, err
	}
	b.ahead.missed(ctx, k, first.record.Position, first.position)
	return first.record, first.received, nil
}

// put keeps what was opened, or sealed, when asOf keys had been destroyed.
func (b *Bodies) put(tenant, event string, asOf uint64, e domain.EventBody) {
	now := b.vault.Erasures()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.follow(now)
	if asOf != b.asOf || cost(e) > b.max {
		return // its key may be gone by now
	}
	k := bodyKey{tenant, event}
	b.lru.Remove(k) // Add would not say what it wrote over
	b.lru.Add(k, e)
	b.used += cost(e)
	for b.used > b.max {
		b.lru.RemoveOldest()
	}
}

// follow drops everything when keys were destroyed. Erasures are rare, and what they took is not known by event.
func (b *Bodies) follow(erasures uint64) {
	if erasures > b.asOf {
		b.lru.Purge()
		b.asOf = erasures
	}
}
