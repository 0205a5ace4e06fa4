package projections

import (
	"cmp"
	"slices"

	"hookledger/domain"
)

// sources are the tables of all tenants' sources; Directory.mu guards them, and the values behind the pointers never
// change.
type sources struct {
	byID    map[sourceKey]*domain.Source
	byToken map[[32]byte]*domain.Source // those of kind cron, by the SHA-256 of their token
	changed chan struct{}               // capacity 1
}

type sourceKey struct{ tenant, id string }

func newSources() sources {
	return sources{byID: map[sourceKey]*domain.Source{}, byToken: map[[32]byte]*domain.Source{},
		changed: make(chan struct{}, 1)}
}

// Source finds a source that exists.
func (d *Directory) Source(tenant, id string) (*domain.Source, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s, ok := d.sources.byID[sourceKey{tenant, id}]
	return s, ok
}

// CronSource finds the source of a cron system by the SHA-256 of its token.
func (d *Directory) CronSource(hash [32]byte) (*domain.Source, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s, ok := d.sources.byToken[hash]
	return s, ok
}

// Sources lists a tenant's sources in the order of their ids; those of all tenants for domain.AnyTenant.
func (d *Directory) Sources(tenant string) []*domain.Source {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []*domain.Source
	for _, s := range d.sources.byID {
		if tenant == domain.AnyTenant || s.Tenant == tenant {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *domain.Source) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// SourcesChanged has a signal (capacity 1) whenever Sources may give something else than it last did. It is for one
// reader.
func (d *Directory) SourcesChanged() <-chan struct{} { return d.sources.changed }

// source folds a record of a source. d.mu is held.
func (d *Directory) source(r *domain.Record) {
	key := sourceKey{r.Tenant, r.Stream.ID()}
	s := &domain.Source{}
	if old := d.sources.byID[key]; old != nil {
		*s = *old
		if old.Config.Cron != nil && len(old.Config.Cron.TokenHash) == len([32]byte{}) {
			delete(d.sources.byToken, [32]byte(old.Config.Cron.TokenHash))
		}
	}
	s.Evolve(r)
	if s.Removed {
		delete(d.sources.byID, key) // nothing follows in its stream
	} else {
		d.sources.byID[key] = s
		if s.Config.Cron != nil && len(s.Config.Cron.TokenHash) == len([32]byte{}) {
			d.sources.byToken[[32]byte(s.Config.Cron.TokenHash)] = s
		}
	}
	select {
	case d.sources.changed <- struct{}{}:
	default:
	}
}
