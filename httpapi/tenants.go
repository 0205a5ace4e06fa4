package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// Tenant is a tenant as shown.
type Tenant struct {
	Name     string          `json:"name" doc:"1 to 63 characters of a-z 0-9 _ -" example:"default"`
	Settings TenantSettings  `json:"settings"`
	Revision domain.Revision `json:"revision" doc:"Grows with each change."`
}

// TenantSettings is what a tenant can set.
type TenantSettings struct {
	AcceptUnknownTypes bool    `json:"accept_unknown_types,omitempty"`
	TextSearch         bool    `json:"text_search,omitempty"`
	IngestRate         float64 `json:"ingest_rate,omitempty" minimum:"0"`
	MaxEndpoints       int     `json:"max_endpoints,omitempty" minimum:"0"`
	MaxInFlightPerHost int     `json:"max_in_flight_per_host,omitempty" minimum:"0"`
}

func showSettings(s domain.TenantSettings) TenantSettings {
	return TenantSettings{AcceptUnknownTypes: s.AcceptUnknownTypes, TextSearch: s.TextSearch, IngestRate: s.IngestRate,
		MaxEndpoints: s.MaxEndpoints, MaxInFlightPerHost: s.MaxInFlightPerHost}
}

func (s *TenantSettings) settings() domain.TenantSettings {
	return domain.TenantSettings{AcceptUnknownTypes: s.AcceptUnknownTypes, TextSearch: s.TextSearch,
		IngestRate: s.IngestRate, MaxEndpoints: s.MaxEndpoints, MaxInFlightPerHost: s.MaxInFlightPerHost}
}

// tenantConfig is what of a tenant can be changed.
type tenantConfig struct {
	Settings TenantSettings `json:"settings,omitempty"`
}

type tenantOutput struct {
	ETag string `header:"ETag"`
	Body Tenant
}

func showTenant(t *domain.Tenant) Tenant {
	return Tenant{Name: t.Name, Settings: showSettings(t.Settings), Revision: t.Revision}
}

func answerTenant(t *domain.Tenant) *tenantOutput {
	return &tenantOutput{ETag: etag(t.Revision), Body: showTenant(t)}
}

var errNoSuchTenant = domain.Refuse(domain.KindNotFound, "tenant_not_found", "there is no such tenant",
	"list them with: hookledger tenant list")

var errOwnLimits = domain.Refuse(domain.KindForbidden, "limits_are_the_platforms",
	"a tenant's own key can't change the tenant's limits", "use a platform key, which has no tenant of its own")

func (a *api) registerTenants() {
	register(a, operation{id: "list-tenants", tag: "Tenants", summary: "List tenants",
		description: "A platform key sees all tenants, another key its own."}, a.listTenants)
	register(a, operation{id: "create-tenant", tag: "Tenants", summary: "Create a tenant", status: http.StatusCreated,
		description: "Needs a platform key of role admin."}, a.createTenant)
	register(a, operation{id: "get-tenant", tag: "Tenants", summary: "Get a tenant"}, a.getTenant)
	register(a, operation{id: "update-tenant", tag: "Tenants", summary: "Change a tenant's settings",
		description: mergePatchDoc + " Limits are changed with a platform key.",
		document:    patchOf[tenantConfig](a, "TenantPatch")}, a.updateTenant)
}

func (a *api) listTenants(ctx context.Context, c *caller, in *NameInput) (*listOutput[Tenant], error) {
	at, now, err := a.tableNow(ctx, in.MinPosition)
	if err != nil {
		return nil, err
	}
	var rows []placed[Tenant]
	for _, t := range a.Directory.Tenants() {
		if c.platform() || c.tenant == t.Name {
			rows = append(rows, placed[Tenant]{id: t.Name, row: showTenant(t)})
		}
	}
	slices.SortFunc(rows, placed[Tenant].compare)
	return pageOf(in.page(), rows, at, now)
}

// tenant finds a tenant that the caller may see.
func (a *api) tenant(ctx context.Context, c *caller, name string) (*domain.Tenant, error) {
	if !c.platform() && c.tenant != name {
		return nil, errNoSuchTenant
	}
	return lookAgain(ctx, a, a.configAt, func() (*domain.Tenant, error) {
		if r, ok := a.Directory.Routing(name); ok {
			return r.Tenant, nil
		}
		return nil, errNoSuchTenant
	})
}

type tenantPath struct {
	Name string `path:"name" maxLength:"128" doc:"The tenant's name." example:"default"`
}

func (a *api) getTenant(ctx context.Context, c *caller, in *tenantPath) (*tenantOutput, error) {
	t, err := a.tenant(ctx, c, in.Name)
	if err != nil {
		return nil, err
	}
	return answerTenant(t), nil
}

type createTenantInput struct {
	Body struct {
		Name     string         `json:"name" doc:"1 to 63 characters of a-z 0-9 _ -" example:"acme"`
		Settings TenantSettings `json:"settings,omitempty"`
	}
}

func (a *api) createTenant(ctx context.Context, c *caller, in *createTenantInput) (*createdOutput[Tenant], error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	name, settings := in.Body.Name, in.Body.Settings.settings()
	if !domain.ValidTenant(name) { // names a stream
		_, err := new(domain.Tenant).Register(name, settings)
		return nil, err
	}
	parts := []string{domain.AnyTenant, "create-tenant", c.idempotency}
	if err := a.otherTenantMade(ctx, name, parts); err != nil {
		return nil, err
	}
	var before *domain.Record
	stream := domain.TenantStream(name)
	folded, done, err := ledger.Execute(ctx, a.Store, stream, func() *origin[*domain.Tenant] {
		return withOrigin(&domain.Tenant{Revision: domain.NoStream}, parts...)
	}, func(o *origin[*domain.Tenant]) ([]domain.Record, error) {
		if before = o.made; before != nil {
			if f, ok := before.Fact.(*domain.TenantRegistered); !ok || f.Settings != settings {
				return nil, errIdempotencyConflict
			}
			return nil, nil
		}
		facts, err := o.state.Register(name, settings)
		if err != nil {
			return nil, err
		}
		s := a.stamp(c)
		s.Base = a.base(s, parts...)
		return s.Records(stream, name, "", ulid.ULID{}, facts...), nil
	})
	if err != nil {
		return nil, err
	}
	if err := a.configAt(ctx, done.Position); err != nil {
		return nil, err
	}
	t := folded.state
	return answerCreated(c, before != nil, "/v1/tenants/"+name, etag(t.Revision), showTenant(t)), nil
}

// otherTenantMade refuses an Idempotency-Key that made a tenant of another name.
func (a *api) otherTenantMade(ctx context.Context, name string, parts []string) error {
	if parts[len(parts)-1] == "" {
		return nil
	}
	for _, t := range a.Directory.Tenants() {
		if t.Name == name {
			continue
		}
		first, err := a.firstRecord(ctx, domain.TenantStream(t.Name))
		if err != nil {
			return err
		}
		if first != nil && madeBy(first.ID, parts...) {
			return errIdempotencyConflict
		}
	}
	return nil
}

// firstRecord reads a stream's first record; nil where there is none.
func (a *api) firstRecord(ctx context.Context, stream domain.Stream) (*domain.Record, error) {
	for r, err := range a.Store.ReadStream(ctx, stream, 0) {
		return r, err
	}
	return nil, nil
}

type updateTenantInput struct {
	Name    string `path:"name" maxLength:"128" doc:"The tenant's name." example:"default"`
	IfMatch string `header:"If-Match" doc:"The revision that the change is based on."`
	RawBody []byte `contentType:"application/merge-patch+json"`
}

func (a *api) updateTenant(ctx context.Context, c *caller, in *updateTenantInput) (*tenantOutput, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	expected, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	if _, err := a.tenant(ctx, c, in.Name); err != nil {
		return nil, err
	}
	stream := domain.TenantStream(in.Name)
	t, done, err := ledger.Execute(ctx, a.Store, stream, func() *domain.Tenant {
		return &domain.Tenant{Revision: domain.NoStream}
	}, func(t *domain.Tenant) ([]domain.Record, error) {
		if err := atRevision(expected, t.Revision, "tenant"); err != nil {
			return nil, err
		}
		next, err := mergePatch(tenantConfig{showSettings(t.Settings)}, in.RawBody)
		if err != nil {
			return nil, err
		}
		settings := next.Settings.settings()
		if !c.platform() && !settings.SameLimits(t.Settings) {
			return nil, errOwnLimits
		}
		facts, err := t.Reconfigure(settings)
		if err != nil || len(facts) == 0 {
			return nil, err
		}
		return a.stamp(c).Records(stream, in.Name, "", ulid.ULID{}, facts...), nil
	})
	if err != nil {
		return nil, err
	}
	if err := a.configAt(ctx, done.Position); err != nil {
		return nil, err
	}
	return answerTenant(t), nil
}
