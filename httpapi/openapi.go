package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"hookledger/domain"
)

const securityScheme = "api_key"

// build makes the API with all its routes, and their document.
func build(cfg Config) (*api, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &api{Config: cfg, Directory: cfg.Projections.Directory(), History: cfg.Projections}
	a.mux = newGuardedMux(a)
	a.huma = humago.New(a.mux, huma.Config{OpenAPI: a.document(), Formats: map[string]huma.Format{
		"application/json": jsonFormat, "json": jsonFormat}, DefaultFormat: "application/json",
		RejectUnknownQueryParameters: true})
	a.registerTenants()
	a.registerKeys()
	a.registerEvents()
	a.registerRefusals()
	a.registerServiceLevels()
	a.registerEndpoints()
	a.registerDeliveries()
	a.registerAsOf()
	a.registerReplays()
	a.registerReconciliations()
	a.registerAttempts()
	a.registerRecords()
	a.registerFeed()
	a.registerEventTypes()
	a.registerSources()
	a.registerProjections()
	a.guardHealth()
	a.documentHealth()
	for i := range routes {
		rt := &routes[i]
		if !a.mux.guarded[rt.pattern()] && !(rt.id == "metrics" && a.HideMetrics) {
			return nil, fmt.Errorf("httpapi: the route %s has no handler", rt.pattern())
		}
	}
	a.mux.takes = a.documentedInputs()
	a.documentWebhooks()
	if err := a.addDescriptions(); err != nil {
		return nil, err
	}
	for _, document := range a.later {
		document()
	}
	a.openapi = sync.OnceValues(a.writeOpenAPI)
	return a, nil
}

func (a *api) writeOpenAPI() ([]byte, error) {
	doc, err := json.MarshalIndent(a.huma.OpenAPI(), "", " ")
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	return append(doc, '\n'), nil
}

// document is the document's head.
func (a *api) document() *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "hookledger", Version: a.Version,
			Description: "An event-sourced webhook ledger: post an event, and every endpoint subscribed to it gets a signed " +
				"request; every step is an immutable record. What a route would pass over of a request is refused with 400: " +
				"a query parameter that it does not have, one given twice that is no list, one without a value but cursor.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
		Servers: []*huma.Server{{URL: "/", Description: "this server"}},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			SecuritySchemes: map[string]*huma.SecurityScheme{securityScheme: {Type: "http", Scheme: "bearer",
				Description: "An API key, hl_…, with one of the roles admin, operator, producer, auditor. A platform key " +
					"names its tenant in the header " + HeaderTenant + "."}}},
		Security: []map[string][]string{{securityScheme: {}}},
		Tags: []*huma.Tag{
			{Name: "Events", Description: "What happened, as posted."},
			{Name: "Endpoints", Description: "Where events go."},
			{Name: "Deliveries", Description: "One event on its way to one endpoint."},
			{Name: "Replays", Description: "Events sent again."},
			{Name: "Reconciliations", Description: "Whether the budget events of a period balance."},
			{Name: "Attempts", Description: "One request of a delivery, and what came back."},
			{Name: "Records", Description: "The ledger itself."},
			{Name: "Event types", Description: "What can be posted."},
			{Name: "Sources", Description: "What comes in from elsewhere: AgenFleet's API, cron systems."},
			{Name: "API keys", Description: "Who may do what."},
			{Name: "Tenants", Description: "Whose everything is."},
			{Name: "Projections", Description: "The read models."},
			{Name: "Server", Description: "Health, metrics and documentation; no key is asked for."},
			{Name: "Webhooks", Description: "What endpoints get."},
		},
	}
}

// describe gives huma the operation of a route.
func (a *api) describe(o operation) huma.Operation {
	rt := routeOf(o.id)
	op := huma.Operation{OperationID: rt.id, Method: rt.method, Path: rt.path, Summary: o.summary, Tags: []string{o.tag},
		Description: strings.TrimSpace(o.description + rolesDoc(rt)), DefaultStatus: o.status, MaxBodyBytes: o.maxBody,
		BodyReadTimeout: bodyWithin,
		Errors:          errorsOf(rt)}
	if rt.scope == scopeToken {
		op.Security = []map[string][]string{{}}
	}
	if rt.scope == scopeTenant || rt.scope == scopeAny {
		op.Parameters = append(op.Parameters, tenantParam(rt))
	}
	if rt.takesKey() {
		op.Parameters = append(op.Parameters, idempotencyParam())
	}
	return op
}

func rolesDoc(rt *route) string {
	if len(rt.roles) == 0 {
		return ""
	}
	names := make([]string, len(rt.roles))
	for i, r := range rt.roles {
		names[i] = string(r)
	}
	return "\n\nRoles: " + strings.Join(names, ", ") + "."
}

// errorsOf are the statuses that a route can answer besides success; huma adds its own.
func errorsOf(rt *route) []int {
	out := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}
	if strings.Contains(rt.path, "{") || rt.scope != scopeNode {
		out = append(out, http.StatusNotFound)
	}
	if rt.method == http.MethodPost || rt.method == http.MethodPatch {
		out = append(out, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
			http.StatusInsufficientStorage)
	}
	if rt.takesEvents() {
		out = append(out, http.StatusTooManyRequests)
	}
	if rt.method == http.MethodPatch || rt.id == "delete-endpoint" || rt.id == "delete-source" {
		out = append(out, http.StatusPreconditionFailed)
	}
	return append(out, http.StatusServiceUnavailable)
}

func tenantParam(rt *route) *huma.Param {
	doc := "The tenant that a platform key's request is about; other keys leave it out."
	if rt.scope == scopeAny {
		doc += " With * the platform's own."
	}
	return &huma.Param{Name: HeaderTenant, In: "header", Description: doc,
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: ptr(63)}, Example: domain.DefaultTenant}
}

func ptr[T any](v T) *T { return &v }

func (a *api) serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	doc, err := a.openapi()
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
	_, _ = w.Write(doc) // a client that went away misses nothing
}

// docs shows the document with assets that are compiled in.
func docs() http.Handler {
	return v5emb.NewHandlerWithConfig(swgui.Config{Title: "hookledger", SwaggerJSON: "/openapi.json", BasePath: "/docs/",
		HideCurl: false, JsonEditor: false})
}

// OpenAPI is the document of a server of this version, without one.
func OpenAPI(version string) ([]byte, error) {
	a, err := build(documentConfig(version))
	if err != nil {
		return nil, err
	}
	return a.openapi()
}

func statusText(code int) string { return strconv.Itoa(code) }

func typeOf(v any) reflect.Type { return reflect.TypeOf(v) }
