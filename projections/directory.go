package projections

import (
	"context"

	"hookledger/domain"
)

// Directory is the configuration of all tenants in memory, folded live. What it hands out is immutable: a change makes
// a new value. All methods are safe for concurrent use.
type Directory struct{}

// Routing is the tenant's routing table as it stands.
func (d *Directory) Routing(tenant string) (*domain.Routing, bool) { return nil, false }

// Endpoint finds an endpoint, removed ones too.
func (d *Directory) Endpoint(tenant, id string) (*domain.Endpoint, bool) { return nil, false }

// Tenants lists the tenants by name.
func (d *Directory) Tenants() []*domain.Tenant { return nil }

// Key finds an API key by the SHA-256 of its secret; it may be revoked or expired.
func (d *Directory) Key(hash [32]byte) (*domain.APIKey, bool) { return nil, false }

// Keys lists a tenant's keys in the order of their ids, revoked ones too.
func (d *Directory) Keys(tenant string) []*domain.APIKey { return nil }

// WaitFor returns once the directory holds every record up to the position.
func (d *Directory) WaitFor(ctx context.Context, pos domain.Position) error { return ctx.Err() }
