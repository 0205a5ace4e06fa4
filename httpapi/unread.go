package httpapi

import (
	"bytes"
	"encoding/json"
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

// taken is what a route reads of a request, by the document. What it does not read is refused, for it would be passed
// over.
type taken struct {
	query   map[string]bool // the parameters: true for one that is a list
	ifMatch bool
	body    bool
}

func takenBy(op *huma.Operation) *taken {
	out := &taken{query: map[string]bool{}, body: op.RequestBody != nil}
	for _, p := range op.Parameters {
		switch {
		case p.In == "query":
			out.query[p.Name] = p.Schema.Type == huma.TypeArray
		case p.Name == headerIfMatch:
			out.ifMatch = true
		}
	}
	return out
}

// documentedInputs is takenBy of each route that is somebody's, by pattern. A cron system's URL is left alone: what
// such a system adds to it is not in its owner's hands.
func (a *api) documentedInputs() map[string]*taken {
	out := map[string]*taken{}
	for i := range routes {
		rt := &routes[i]
		if rt.scope != scopePublic && rt.scope != scopeToken {
			out[rt.pattern()] = takenBy(operationOf(a.huma.OpenAPI(), rt.path, rt.method))
		}
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

// checkUnread refuses what the route would pass over: of the query, a precondition, a body.
func (t *taken) checkUnread(w http.ResponseWriter, r *http.Request) error {
	if r.URL.RawQuery != "" {
		if err := checkQuery(t.query, r.URL); err != nil {
			return err
		}
	}
	if r.Method == http.MethodGet {
		return nil
	}
	if !t.ifMatch && r.Header.Get(headerIfMatch) != "" {
		return errUnconditional
	}
	if t.body || r.ContentLength == 0 {
		return nil
	}
	return checkEmpty(w, r)
}

var (
	errUnconditional = newProblem(http.StatusBadRequest, "invalid_if_match",
		"this route does what it does whatever the revision is: leave out If-Match")
	errNoBody = newProblem(http.StatusBadRequest, "invalid_request", "this route takes no body: leave it out")
)

// maxUnread bounds a body that nobody needs, in bytes.
const maxUnread = 64 << 10

// checkEmpty refuses a body that says something. An empty object says nothing.
func checkEmpty(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, maxUnread)
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return err
	}
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return errNoBody
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		return &fieldFault{bodyAt + "." + shortened(name), "there is no such field",
			"leave it out, for this route takes none"}
	}
	return nil
}

// refuseUnread answers a request that says what its route would pass over; false: it does not.
func (a *api) refuseUnread(w http.ResponseWriter, r *http.Request, rt *route, c *caller) bool {
	takes := a.mux.takes[rt.pattern()]
	if takes == nil {
		return false
	}
	err := takes.checkUnread(w, r)
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
