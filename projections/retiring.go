package projections

import "hookledger/domain"

// leaving are the endpoints with secrets in the vault that nothing uses from a time on: removed ones, too.
type leaving struct {
	endpoints map[domain.EndpointKey]*domain.Endpoint
	changed   chan struct{} // capacity 1
}

func newLeaving() leaving {
	return leaving{endpoints: map[domain.EndpointKey]*domain.Endpoint{}, changed: make(chan struct{}, 1)}
}

func (l *leaving) of(tenant, id string) *domain.Endpoint {
	return l.endpoints[domain.EndpointKey{Tenant: tenant, Endpoint: id}]
}

// take notes an endpoint as it has become.
func (l *leaving) take(tenant, id string, e *domain.Endpoint) {
	key := domain.EndpointKey{Tenant: tenant, Endpoint: id}
	if len(e.Retiring) == 0 {
		delete(l.endpoints, key)
		return
	}
	l.endpoints[key] = e
	signal(l.changed)
}

// Retiring gives the secrets that endpoints, removed ones too, have in the vault and that nothing uses from a time on.
func (d *Directory) Retiring() map[domain.EndpointKey][]domain.Retiring {
	d.mu.RLock()
	defer d.mu.RUnlock()
	out := make(map[domain.EndpointKey][]domain.Retiring, len(d.leaving.endpoints))
	for key, e := range d.leaving.endpoints {
		out[key] = e.Retiring
	}
	return out
}

// RetiringChanged has a signal (capacity 1) whenever Retiring may give more than it last did.
func (d *Directory) RetiringChanged() <-chan struct{} { return d.leaving.changed }
