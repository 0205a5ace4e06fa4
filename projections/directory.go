package projections

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// Directory is the configuration of all tenants in memory, folded live. What it hands out is immutable: a change makes
// a new value. All methods are safe for concurrent use.
type Directory struct {
	progress *progress

	mu      sync.RWMutex // guards what stands below; the values behind the pointers never change
	tenants map[string]*tenantEntry
	keys    map[string]*domain.APIKey // by stream
	byHash  map[[32]byte]*domain.APIKey
	sources sources
	leaving leaving
}

type tenantEntry struct {
	tenant    *domain.Tenant
	endpoints map[string]*domain.Endpoint
	asOf      ulid.ULID       // the last configuration record
	routing   *domain.Routing // nil: to be made of the above when somebody asks
}

func newDirectory(p *progress) *Directory {
	return &Directory{progress: p, tenants: map[string]*tenantEntry{}, keys: map[string]*domain.APIKey{},
		byHash: map[[32]byte]*domain.APIKey{}, sources: newSources(), leaving: newLeaving()}
}

// Routing is the tenant's routing table as it stands.
func (d *Directory) Routing(tenant string) (*domain.Routing, bool) {
	d.mu.RLock()
	e := d.tenants[tenant]
	if e == nil || !e.tenant.Exists() || e.routing != nil {
		defer d.mu.RUnlock()
		if e == nil || !e.tenant.Exists() {
			return nil, false
		}
		return e.routing, true
	}
	d.mu.RUnlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.routing == nil {
		e.routing = domain.NewRouting(e.tenant, e.asOf, slices.Collect(maps.Values(e.endpoints)))
	}
	return e.routing, true
}

// Endpoint finds an endpoint that exists; it may be disabled. A removed one is as one that never was.
func (d *Directory) Endpoint(tenant, id string) (*domain.Endpoint, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.tenants[tenant]; t != nil {
		if e := t.endpoints[id]; e != nil && e.Exists() {
			return e, true
		}
	}
	return nil, false
}

// Tenants lists the tenants by name.
func (d *Directory) Tenants() []*domain.Tenant {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make([]*domain.Tenant, 0, len(d.tenants))
	for _, e := range d.tenants {
		if e.tenant.Exists() {
			out = append(out, e.tenant)
		}
	}
	slices.SortFunc(out, func(a, b *domain.Tenant) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Key finds an API key by the SHA-256 of its secret; it may be revoked or expired.
func (d *Directory) Key(hash [32]byte) (*domain.APIKey, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	k, ok := d.byHash[hash]
	return k, ok
}

// Keys lists a tenant's keys in the order of their ids, revoked ones too. The platform's are those of domain.AnyTenant.
func (d *Directory) Keys(tenant string) []*domain.APIKey {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []*domain.APIKey
	for _, k := range d.keys {
		if k.ID != "" && k.Tenant == tenant {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b *domain.APIKey) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// WaitFor returns once the directory holds every record up to the position: what an append that was answered with it
// decided is in force on this node from then on.
func (d *Directory) WaitFor(ctx context.Context, pos domain.Position) error {
	return d.progress.wait(ctx, pos)
}

// fold takes in a record of a tenant, an endpoint, a key or a source, and lets all others pass.
func (d *Directory) fold(r *domain.Record) {
	switch r.Fact.(type) {
	case *domain.TenantRegistered, *domain.TenantReconfigured, *domain.EventTypeRegistered:
		d.mu.Lock()
		defer d.mu.Unlock()
		e := d.entry(r)
		e.tenant = e.tenant.Clone()
		e.tenant.Evolve(r)
	case *domain.EndpointRegistered, *domain.EndpointReconfigured, *domain.EndpointDisabled, *domain.EndpointEnabled,
		*domain.EndpointRemoved, *domain.EndpointSecretRotated, *domain.EndpointSecretRetired:
		d.mu.Lock()
		defer d.mu.Unlock()
		e, id := d.entry(r), r.Stream.ID()
		endpoint := &domain.Endpoint{}
		if old := e.endpoints[id]; old != nil {
			endpoint = old.Clone()
		} else if gone := d.leaving.of(r.Tenant, id); gone != nil {
			endpoint = gone.Clone()
		}
		endpoint.Evolve(r)
		d.leaving.take(r.Tenant, id, endpoint)
		if endpoint.Removed {
			delete(e.endpoints, id) // what follows in its stream, d.leaving has
		} else {
			e.endpoints[id] = endpoint
		}
	case *domain.KeyIssued, *domain.KeyRevoked:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.key(r)
	case *domain.SourceAdded, *domain.SourceChanged, *domain.SourceRemoved:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.source(r)
	}
}

// entry finds the tenant of a record, which is about to change. d.mu is held.
func (d *Directory) entry(r *domain.Record) *tenantEntry {
	e := d.tenants[r.Tenant]
	if e == nil {
		e = &tenantEntry{tenant: &domain.Tenant{}, endpoints: map[string]*domain.Endpoint{}}
		d.tenants[r.Tenant] = e
	}
	e.asOf, e.routing = r.ID, nil
	return e
}

func (d *Directory) key(r *domain.Record) {
	stream := string(r.Stream)
	k := &domain.APIKey{}
	if old := d.keys[stream]; old != nil {
		*k = *old
	}
	k.Evolve(r)
	d.keys[stream] = k
	if len(k.Hash) == len([32]byte{}) {
		d.byHash[[32]byte(k.Hash)] = k
	}
}
