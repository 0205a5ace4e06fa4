package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"hookledger/ingest"
)

// takesEvents says whether events are posted there: what is refused is counted.
func (rt *route) takesEvents() bool { return rt.id == "post-event" || rt.id == "post-events" }

// queryOf lists the query parameters that a route takes, by the document: true for one that is a list.
func queryOf(op *huma.Operation) map[string]bool {
	out := map[string]bool{}
	for _, p := range op.Parameters {
		if p.In == "query" {
			out[p.Name] = p.Schema.Type == huma.TypeArray
		}
	}
	return out
}

// documentedQueries is queryOf of each route that is somebody's, by pattern. A cron system's URL is left alone: what
// such a system adds to it is not in its owner's hands.
func (a *api) documentedQueries() map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for i := range routes {
		rt := &routes[i]
		if rt.scope == scopePublic || rt.scope == scopeToken {
			continue
		}
		out[rt.pattern()] = queryOf(operationOf(a.huma.OpenAPI(), rt.path, rt.method))
	}
	return out
}

// operationOf finds a documented operation.
func operationOf(doc *huma.OpenAPI, path, method string) *huma.Operation {
	item := doc.Paths[path]
	return map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post,
		http.MethodPatch: item.Patch, http.MethodDelete: item.Delete}[method]
}

var errQuery = newProblem(http.StatusBadRequest, "invalid_request",
	"the query can't be read: escape what stands in its values, as in ?created_after=2026-02-01T15%3A04%3A05%2B01%3A00")

// checkQuery refuses a query parameter that would be passed over: one that there is none of, one that is given again,
// one without a value. A list that is given again is put into one, with commas.
func checkQuery(takes map[string]bool, at *url.URL) error {
	values, err := url.ParseQuery(at.RawQuery)
	if err != nil {
		return errQuery
	}
	again := false
	for _, name := range slices.Sorted(maps.Keys(values)) {
		list, known := takes[name]
		place := "query." + shortened(name)
		switch given := values[name]; {
		case !known && len(takes) == 0:
			return &fieldFault{place, "there is no such query parameter", "leave it out, for this route takes none"}
		case !known:
			return &fieldFault{place, "there is no such query parameter",
				"use " + strings.Join(slices.Sorted(maps.Keys(takes)), ", ")}
		case slices.Contains(given, "") && name != "cursor": // none is where a list begins
			return &fieldFault{place, "the query parameter has no value", "give it one, or leave it out"}
		case len(given) > 1 && !list:
			return &fieldFault{place, "the query parameter is given more than once", "give it once"}
		case len(given) > 1:
			again = true
			values.Set(name, strings.Join(given, ","))
		}
	}
	if again {
		at.RawQuery = values.Encode()
	}
	return nil
}

// refuseQuery answers a request whose query is wrong; false: it is not.
func (a *api) refuseQuery(w http.ResponseWriter, r *http.Request, rt *route, c *caller) bool {
	if r.URL.RawQuery == "" || a.mux.queries[rt.pattern()] == nil {
		return false
	}
	err := checkQuery(a.mux.queries[rt.pattern()], r.URL)
	switch {
	case err == nil:
		return false
	case rt.takesEvents():
		a.refuse(w, r, &ingest.Refusal{Tenant: c.tenant, Key: c.key.ID}, err)
	default:
		a.fail(w, r, err)
	}
	return true
}
