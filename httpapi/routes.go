package httpapi

import (
	"slices"

	"hookledger/domain"
)

// scope says whose things a route is about.
type scope int

const (
	scopePublic   scope = iota // nobody's: no key is asked for
	scopeToken                 // whoever knows the token that the path holds
	scopeTenant                // one tenant's; a platform key names it
	scopeAny                   // likewise, and a platform key may name "*": the platform's own, or all
	scopeNode                  // the node's: a platform key need not name a tenant
	scopePlatform              // the platform's: a tenant's key has no access
)

// route is one line of the table below.
type route struct {
	id     string // operationId
	method string
	path   string
	scope  scope
	roles  []domain.Role // who may call it
}

func (r *route) pattern() string { return r.method + " " + r.path }

func (r *route) allows(role domain.Role) bool { return slices.Contains(r.roles, role) }

// Sets of roles, as domain.Role documents them.
var (
	admins    = []domain.Role{domain.RoleAdmin}
	posters   = []domain.Role{domain.RoleAdmin, domain.RoleProducer}
	operators = []domain.Role{domain.RoleAdmin, domain.RoleOperator}
	readers   = []domain.Role{domain.RoleAdmin, domain.RoleOperator, domain.RoleAuditor}
	everyone  = []domain.Role{domain.RoleAdmin, domain.RoleOperator, domain.RoleProducer, domain.RoleAuditor}
)

// routes is the table of who may do what. The middleware looks up each request here, a handler can't be registered for
// a route that is not here, and a test walks it with every role.
var routes = []route{
	{"list-tenants", "GET", "/v1/tenants", scopeNode, readers},
	{"create-tenant", "POST", "/v1/tenants", scopePlatform, admins},
	{"get-tenant", "GET", "/v1/tenants/{name}", scopeNode, readers},
	{"update-tenant", "PATCH", "/v1/tenants/{name}", scopeNode, admins},

	{"list-api-keys", "GET", "/v1/api-keys", scopeAny, readers},
	{"create-api-key", "POST", "/v1/api-keys", scopeAny, admins},
	{"revoke-api-key", "DELETE", "/v1/api-keys/{id}", scopeAny, admins},

	{"post-event", "POST", "/v1/events", scopeTenant, posters},
	{"post-events", "POST", "/v1/events/batch", scopeTenant, posters},
	{"list-events", "GET", "/v1/events", scopeTenant, everyone},
	{"get-event", "GET", "/v1/events/{id}", scopeTenant, everyone},
	{"list-event-deliveries", "GET", "/v1/events/{id}/deliveries", scopeTenant, everyone},
	{"list-event-records", "GET", "/v1/events/{id}/records", scopeTenant, everyone},

	{"list-refusals", "GET", "/v1/refusals", scopeTenant, everyone},

	{"get-routing", "GET", "/v1/routing", scopeTenant, readers},

	{"feed-events", "GET", "/v1/feed", scopeTenant, everyone},

	{"list-endpoints", "GET", "/v1/endpoints", scopeTenant, readers},
	{"create-endpoint", "POST", "/v1/endpoints", scopeTenant, operators},
	{"get-endpoint", "GET", "/v1/endpoints/{id}", scopeTenant, readers},
	{"update-endpoint", "PATCH", "/v1/endpoints/{id}", scopeTenant, operators},
	{"delete-endpoint", "DELETE", "/v1/endpoints/{id}", scopeTenant, operators},
	{"get-endpoint-health", "GET", "/v1/endpoints/{id}/health", scopeTenant, readers},
	{"list-endpoint-history", "GET", "/v1/endpoints/{id}/history", scopeTenant, readers},
	{"list-endpoint-keys", "GET", "/v1/endpoints/{id}/keys", scopeTenant, everyone},
	{"rotate-endpoint-secret", "POST", "/v1/endpoints/{id}/rotate-secret", scopeTenant, operators},
	{"enable-endpoint", "POST", "/v1/endpoints/{id}/enable", scopeTenant, operators},
	{"disable-endpoint", "POST", "/v1/endpoints/{id}/disable", scopeTenant, operators},

	{"list-deliveries", "GET", "/v1/deliveries", scopeTenant, everyone},
	{"get-delivery", "GET", "/v1/deliveries/{id}", scopeTenant, everyone},
	{"get-service-levels", "GET", "/v1/service-levels", scopeTenant, readers},
	{"list-open", "GET", "/v1/open-deliveries", scopeTenant, everyone},
	{"retry-delivery", "POST", "/v1/deliveries/{id}/retry", scopeTenant, operators},
	{"cancel-delivery", "POST", "/v1/deliveries/{id}/cancel", scopeTenant, operators},

	{"list-replays", "GET", "/v1/replays", scopeTenant, readers},
	{"create-replay", "POST", "/v1/replays", scopeTenant, operators},
	{"get-replay", "GET", "/v1/replays/{id}", scopeTenant, readers},
	{"pause-replay", "POST", "/v1/replays/{id}/pause", scopeTenant, operators},
	{"resume-replay", "POST", "/v1/replays/{id}/resume", scopeTenant, operators},
	{"cancel-replay", "POST", "/v1/replays/{id}/cancel", scopeTenant, operators},
	{"list-replay-failures", "GET", "/v1/replays/{id}/failures", scopeTenant, readers},
	{"retry-replay-failures", "POST", "/v1/replays/{id}/retry-failures", scopeTenant, operators},

	{"list-reconciliations", "GET", "/v1/reconciliations", scopeTenant, readers},
	{"create-reconciliation", "POST", "/v1/reconciliations", scopeTenant, readers},
	{"get-reconciliation", "GET", "/v1/reconciliations/{id}", scopeTenant, readers},

	{"list-attempts", "GET", "/v1/attempts", scopeTenant, everyone},
	{"get-attempt", "GET", "/v1/attempts/{id}", scopeTenant, everyone},

	{"list-records", "GET", "/v1/records", scopeAny, readers},

	{"list-event-types", "GET", "/v1/event-types", scopeTenant, everyone},
	{"create-event-type", "POST", "/v1/event-types", scopeTenant, operators},
	{"get-event-type", "GET", "/v1/event-types/{type}", scopeTenant, everyone},
	{"update-event-type", "PATCH", "/v1/event-types/{type}", scopeTenant, operators},

	{"list-sources", "GET", "/v1/sources", scopeTenant, readers},
	{"create-source", "POST", "/v1/sources", scopeTenant, operators},
	{"get-source", "GET", "/v1/sources/{id}", scopeTenant, readers},
	{"update-source", "PATCH", "/v1/sources/{id}", scopeTenant, operators},
	{"delete-source", "DELETE", "/v1/sources/{id}", scopeTenant, operators},
	{"rotate-source-token", "POST", "/v1/sources/{id}/rotate-token", scopeTenant, operators},
	{"test-source", "POST", "/v1/sources/{id}/test", scopeTenant, operators},
	{"post-cron", "POST", "/in/cron/{token}", scopeToken, nil},

	{"list-projections", "GET", "/v1/projections", scopeNode, readers},
	{"get-node", "GET", "/v1/node", scopeNode, readers},

	{"livez", "GET", "/livez", scopePublic, nil},
	{"readyz", "GET", "/readyz", scopePublic, nil},
	{"metrics", "GET", "/metrics", scopePublic, nil},
	{"openapi", "GET", "/openapi.json", scopePublic, nil},
	{"docs", "GET", "/docs", scopePublic, nil},
}

// routeOf finds the line of an operation.
func routeOf(id string) *route {
	i := slices.IndexFunc(routes, func(r route) bool { return r.id == id })
	if i < 0 {
		panic("httpapi: no route " + id)
	}
	return &routes[i]
}
