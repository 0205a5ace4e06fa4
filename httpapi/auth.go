package httpapi

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"

	"hookledger/domain"
)

// HeaderTenant names the tenant that a platform key's request is about.
const HeaderTenant = "Hookledger-Tenant"

// KeyPrefix begins every API key, so that a leaked one can be recognised.
const KeyPrefix = "hl_"

// caller is who asks, and about which tenant.
type caller struct {
	key   *domain.APIKey
	hash  [32]byte // finds the key again
	route *route
	path  string // that was asked for
	// idempotency is the request's Idempotency-Key; empty: it has none, or the route takes none.
	idempotency string
	replayed    bool        // an earlier request with this key did what is asked for
	answer      http.Header // the answer's, while that has not begun
	tenant      string      // "" where none was named and none is needed; AnyTenant for a platform key that names "*"
}

func (c *caller) actor() domain.Actor { return domain.Actor{Kind: domain.ActorKey, ID: c.key.ID} }

// platform says whether the key is not bound to a tenant.
func (c *caller) platform() bool { return c.key.Tenant == domain.AnyTenant }

// seesURLs says whether endpoints' URLs are shown whole: some services put a capability into the path.
func (c *caller) seesURLs() bool {
	return c.key.Role == domain.RoleAdmin || c.key.Role == domain.RoleOperator
}

type callerKey struct{}

func withCaller(ctx context.Context, c *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf is the caller that the middleware has let in; every handler of a route with a scope has one.
func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

var (
	errNoKey = newProblem(http.StatusUnauthorized, "unauthenticated",
		"the request has no API key: send the header Authorization: Bearer hl_…")
	errBadKey = newProblem(http.StatusUnauthorized, "invalid_api_key",
		"the API key is not valid, has expired or was revoked: use another, or make one with: hookledger key create")
	errRole = newProblem(http.StatusForbidden, "role_not_allowed",
		"the API key's role does not allow this: use a key with another role")
	errPlatform = newProblem(http.StatusForbidden, "platform_key_needed",
		"this is the platform's affair: use a platform key, such as the one in admin.key")
	errWrongTenant = newProblem(http.StatusForbidden, "wrong_tenant",
		"the API key belongs to another tenant than "+HeaderTenant+" names: leave the header out, or use another key")
	errNoTenant = newProblem(http.StatusBadRequest, "tenant_required",
		"a platform key belongs to no tenant: name one with the header "+HeaderTenant+", such as "+HeaderTenant+": default")
	errTenantNotFound = newProblem(http.StatusNotFound, "tenant_not_found",
		"there is no tenant as "+HeaderTenant+" names it: list them with: hookledger tenant list")
)

// authenticate lets a request in or says why not. It stands on the hot path: one SHA-256 and one look-up in memory.
func (a *api) authenticate(r *http.Request, rt *route, c *caller) error {
	scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return errNoKey
	}
	c.hash, c.route = sha256.Sum256([]byte(strings.TrimSpace(key))), rt
	return a.permit(c, r.Header.Get(HeaderTenant))
}

// permit looks up what the caller's key may do now.
func (a *api) permit(c *caller, tenant string) error {
	k, ok := a.Directory.Key(c.hash)
	if !ok || !k.Usable(a.Now()) {
		return errBadKey
	}
	c.key = k
	if c.route.scope == scopePlatform && !c.platform() {
		return errPlatform
	}
	if !c.route.allows(k.Role) {
		return errRole
	}
	return a.nameTenant(tenant, c.route, c)
}

// stillPermits says why somebody who was let in would be no more; nil: would be. It is as cheap as being let in.
func (a *api) stillPermits(c *caller) error {
	again := *c
	return a.permit(&again, c.tenant)
}

func (a *api) nameTenant(named string, rt *route, c *caller) error {
	if !c.platform() {
		if named != "" && named != c.key.Tenant {
			return errWrongTenant
		}
		c.tenant = c.key.Tenant
		return nil
	}
	switch {
	case rt.scope == scopeNode || rt.scope == scopePlatform:
		return nil
	case named == "":
		return errNoTenant
	case named == domain.AnyTenant && rt.scope == scopeAny:
	default:
		if _, ok := a.Directory.Routing(named); !ok {
			return errTenantNotFound
		}
	}
	c.tenant = named
	return nil
}
