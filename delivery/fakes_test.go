package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// memBacklog holds due deliveries in memory, folded from a memStore.
type memBacklog struct {
	mu      sync.Mutex
	changed chan struct{}
	due     map[domain.EndpointKey][]domain.Due
	active  map[domain.EndpointKey]bool
	taken   map[string]bool
	// As projections.Backlog does: late deliveries take turns with others.
	turn     map[domain.EndpointKey]bool
	lateOnly map[domain.EndpointKey]bool // active again for one that is not late
	pending  map[string]domain.Due       // came by the fold while taken
	known    map[string]domain.Due
	behind   map[string]string // by delivery: the one that must end first
	returns  int
}

func newMemBacklog() *memBacklog {
	return &memBacklog{changed: make(chan struct{}, 1), due: map[domain.EndpointKey][]domain.Due{},
		active: map[domain.EndpointKey]bool{}, turn: map[domain.EndpointKey]bool{},
		lateOnly: map[domain.EndpointKey]bool{}, taken: map[string]bool{}, pending: map[string]domain.Due{},
		known: map[string]domain.Due{}}
}

func (b *memBacklog) Changed() <-chan struct{} { return b.changed }

func (b *memBacklog) signal() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

func (b *memBacklog) add(d domain.Due) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[d.Delivery] = d
	b.put(d)
}

func (b *memBacklog) put(d domain.Due) {
	if b.taken[d.Delivery] {
		b.pending[d.Delivery] = d
		return
	}
	key := domain.EndpointKey{Tenant: d.Tenant, Endpoint: d.Endpoint, Replay: d.Replay}
	i, _ := slices.BinarySearchFunc(b.due[key], d, func(a, b domain.Due) int {
		if c := a.DueAt.Compare(b.DueAt); c != 0 {
			return c
		}
		return -1 // behind its equals
	})
	b.due[key] = slices.Insert(b.due[key], i, d)
	b.signal()
}

func (b *memBacklog) Activate(now time.Time) (active []domain.EndpointKey, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.due {
		first, ok := b.first(key, now)
		if b.active[key] || !ok {
			continue
		}
		if at := first.DueAt; !at.After(now) {
			active = append(active, key)
			b.active[key] = true
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	slices.SortFunc(active, func(a, b domain.EndpointKey) int {
		return strings.Compare(a.Endpoint+a.Replay, b.Endpoint+b.Replay)
	})
	return active, next
}

func (b *memBacklog) Take(ep domain.EndpointKey, now time.Time) (domain.Due, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.due[ep]
	if len(list) == 0 || list[0].DueAt.After(now) {
		b.active[ep] = false
		b.signal()
		return domain.Due{}, false
	}
	d := list[0]
	if b.turn[ep] = d.Late(now) && !b.turn[ep]; b.turn[ep] {
		if d, ok := b.fresh(ep, now); ok {
			return d, true
		}
	}
	b.due[ep] = list[1:]
	b.active[ep], b.lateOnly[ep] = true, false
	b.taken[d.Delivery] = true
	return d, true
}

func (b *memBacklog) TakeFresh(ep domain.EndpointKey, now time.Time) (domain.Due, bool, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d, ok := b.fresh(ep, now); ok {
		return d, false, true
	}
	late := len(b.due[ep]) > 0 && b.due[ep][0].Late(now)
	b.active[ep], b.lateOnly[ep] = false, late
	b.signal()
	return domain.Due{}, late, false
}

// fresh takes the earliest delivery that is due and not late.
func (b *memBacklog) fresh(ep domain.EndpointKey, now time.Time) (d domain.Due, ok bool) {
	list := b.due[ep]
	i, _ := slices.BinarySearchFunc(list, now.Add(-domain.LateAfter), func(d domain.Due, from time.Time) int {
		return d.DueAt.Compare(from)
	})
	if i == len(list) || list[i].DueAt.After(now) {
		return d, false
	}
	if d = list[i]; i == 0 {
		b.due[ep] = list[1:]
	} else {
		b.due[ep] = slices.Delete(list, i, i+1)
	}
	b.active[ep], b.lateOnly[ep], b.taken[d.Delivery] = true, false, true
	return d, true
}

// first is the earliest delivery for which an endpoint becomes active.
func (b *memBacklog) first(key domain.EndpointKey, now time.Time) (domain.Due, bool) {
	list, i := b.due[key], 0
	if b.lateOnly[key] {
		i, _ = slices.BinarySearchFunc(list, now.Add(-domain.LateAfter), func(d domain.Due, from time.Time) int {
			return d.DueAt.Compare(from)
		})
	}
	if i == len(list) {
		return domain.Due{}, false
	}
	return list[i], true
}

func (b *memBacklog) Return(d domain.Due, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returns++
	delete(b.taken, d.Delivery)
	delete(b.pending, d.Delivery)
	d.DueAt = at
	b.put(d)
}

func (b *memBacklog) Done(d domain.Due) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.taken, d.Delivery)
	if p, ok := b.pending[d.Delivery]; ok {
		delete(b.pending, d.Delivery)
		b.put(p)
	}
}

// Standing knows of no order unless the test says who stands before.
func (b *memBacklog) Standing(ep domain.EndpointKey, delivery string) (domain.Standing, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := domain.Standing{Taken: b.taken[delivery], Ahead: -1}
	if before, ordered := b.behind[delivery]; ordered {
		at.InOrder, at.Behind = true, before
	}
	if i := slices.IndexFunc(b.due[ep], func(d domain.Due) bool { return d.Delivery == delivery }); i >= 0 {
		at.DueAt, at.Ahead = b.due[ep][i].DueAt, i
		at.Returned = !at.DueAt.Equal(b.known[delivery].DueAt)
	}
	return at, at.Taken || at.Ahead >= 0
}

// follow folds what falls due again, until ctx ends.
func (b *memBacklog) follow(ctx context.Context, store ledger.Store) {
	_ = ledger.Follow(ctx, store, 0, 64, func(records []*domain.Record) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, r := range records {
			if f, ok := r.Fact.(*domain.RetryScheduled); ok {
				d := b.known[r.Stream.ID()]
				d.DueAt, d.Revision = f.DueAt, r.Revision
				b.put(d)
			}
		}
		return nil
	})
}

// memVault seals without secrecy, but binds to the place as the real one does.
type memVault struct {
	mu     sync.Mutex
	key    []byte
	erased map[string]bool
	panics bool
	// What the endpoints have in it beside testKey, by id; a nil one was destroyed. mu guards them.
	keys    map[string][]byte
	secrets map[string]*string
}

func placeTag(p vault.Place) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %s %q", p.Tenant, p.Stream, p.Record, p.Type))
	return sum[:12]
}

func (v *memVault) Seal(_ context.Context, keyID string, p vault.Place, plain []byte) (*domain.Sealed, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.panics {
		panic("the vault came to grief")
	}
	if v.erased[keyID] {
		return nil, vault.ErrErased
	}
	return &domain.Sealed{KeyID: keyID, Nonce: placeTag(p), Ciphertext: bytes.Clone(plain)}, nil
}

func (v *memVault) Open(_ context.Context, p vault.Place, s *domain.Sealed) ([]byte, error) {
	if !bytes.Equal(placeTag(p), s.Nonce) {
		return nil, vault.ErrTampered
	}
	return s.Ciphertext, nil
}

func (v *memVault) SigningKey(_ context.Context, keyID string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if keyID == "sk_1" {
		return v.key, nil
	}
	key, ok := v.keys[keyID]
	switch {
	case !ok:
		return nil, vault.ErrUnknownKey
	case key == nil:
		return nil, vault.ErrErased
	}
	return key, nil
}

func (v *memVault) Secret(_ context.Context, keyID string) (domain.Secret, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.secrets[keyID]
	switch {
	case !ok:
		return domain.Secret{}, vault.ErrUnknownKey
	case s == nil:
		return domain.Secret{}, vault.ErrErased
	}
	return domain.NewSecret(*s), nil
}

// memHouse is both the endpoints and the events.
type memHouse struct {
	mu        sync.Mutex
	endpoints map[domain.EndpointKey]*domain.Endpoint
	bodies    map[string]domain.EventBody
	bodyErr   error
}

func (h *memHouse) Endpoint(tenant, id string) (*domain.Endpoint, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.endpoints[domain.EndpointKey{Tenant: tenant, Endpoint: id}]
	return e, ok
}

func (h *memHouse) change(id string, f func(*domain.Endpoint)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := domain.EndpointKey{Tenant: "default", Endpoint: id}
	e := h.endpoints[key].Clone()
	f(e)
	h.endpoints[key] = e
}

func (h *memHouse) Event(_ context.Context, _, event string) (domain.EventBody, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bodyErr != nil {
		return domain.EventBody{}, h.bodyErr
	}
	b, ok := h.bodies[event]
	if !ok {
		return b, errors.New("no such event")
	}
	return b, nil
}
