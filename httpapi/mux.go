package httpapi

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// guardedMux is a ServeMux whose every handler stands behind the table of routes: it authenticates, counts, and turns a
// panic into an answer. huma registers its operations on it too.
type guardedMux struct {
	*http.ServeMux
	api      *api
	requests *prometheus.CounterVec
	guarded  map[string]bool   // patterns
	takes    map[string]*taken // by pattern
}

func newGuardedMux(a *api) *guardedMux {
	m := &guardedMux{ServeMux: http.NewServeMux(), api: a, guarded: map[string]bool{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hookledger_http_requests_total",
			Help: "Requests answered, by route template and class of status."}, []string{"method", "route", "class"})}
	a.Registry.MustRegister(m.requests)
	m.ServeMux.HandleFunc("/", m.counted("", "unmatched", m.unmatched))
	return m
}

// HandleFunc registers one of huma's operations; its handlers find the caller in the context.
func (m *guardedMux) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.guard(pattern, func(w http.ResponseWriter, r *http.Request, c *caller) {
		c.path, c.answer = r.URL.Path, w.Header()
		if (r.Method == http.MethodPost || r.Method == http.MethodPatch) && !isJSON(r.Header.Get("Content-Type")) {
			m.api.fail(w, r, errContentType)
			return
		}
		if c.route.takesKey() {
			var err error
			if c.idempotency, err = idempotencyKey(r); err != nil {
				m.api.fail(w, r, err)
				return
			}
		}
		r.Header.Del("Accept") // there is one representation, whatever is asked for
		handler(w, r.WithContext(withCaller(r.Context(), c)))
	})
}

// guard registers a handler for a route of the table.
func (m *guardedMux) guard(pattern string, handler func(http.ResponseWriter, *http.Request, *caller)) {
	var rt *route
	for i := range routes {
		if routes[i].pattern() == pattern {
			rt = &routes[i]
		}
	}
	if rt == nil || m.guarded[pattern] {
		panic("httpapi: " + pattern + " is not in the table of routes, or twice")
	}
	m.guarded[pattern] = true
	m.ServeMux.HandleFunc(pattern, m.counted(rt.method, rt.path, func(w http.ResponseWriter, r *http.Request) {
		var c caller
		if rt.scope == scopeToken {
			r.URL.Path = rt.path // a token is a secret: it is in no log and no answer
		}
		if rt.scope != scopePublic && rt.scope != scopeToken {
			if err := m.api.authenticate(r, rt, &c); err != nil {
				m.api.fail(w, r, err)
				return
			}
		}
		if !m.api.refuseUnread(w, r, rt, &c) {
			handler(w, r, &c)
		}
	}))
}

// counted counts a handler's answers by class, and answers for one that panics.
func (m *guardedMux) counted(method, path string, h http.HandlerFunc) http.HandlerFunc {
	var classes [6]prometheus.Counter
	for i, class := range []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		classes[i] = m.requests.WithLabelValues(method, path, class)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		t := &tracked{ResponseWriter: w}
		defer func() {
			if class := t.status / 100; class < len(classes) {
				classes[class].Inc()
			}
		}()
		defer func() {
			if v := recover(); v != nil {
				m.panicked(t, r, v)
			}
		}()
		h(t, r)
	}
}

// panicked answers 500 where nothing was answered yet; else it breaks the connection, for half an answer is none.
func (m *guardedMux) panicked(t *tracked, r *http.Request, v any) {
	if v == http.ErrAbortHandler { //nolint:errorlint // the value that net/http compares by identity
		panic(v)
	}
	err := fmt.Errorf("panic: %v\n%s", v, debug.Stack())
	if t.status != 0 {
		m.api.Logger.Error("request failed in mid-answer", "method", r.Method, "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
	m.api.fail(t, r, err)
}

// unmatched answers what no route takes: 405 where another method would be, else 404.
func (m *guardedMux) unmatched(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		probe := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := m.Handler(probe); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		m.api.fail(w, r, newProblem(http.StatusMethodNotAllowed, "method_not_allowed",
			"this path does not take "+r.Method+": use "+strings.Join(allowed, ", ")))
		return
	}
	m.api.fail(w, r, newProblem(http.StatusNotFound, "no_such_route",
		"there is no such path: /openapi.json lists those that there are"))
}

// tracked remembers the status that was answered.
type tracked struct {
	http.ResponseWriter
	status int
}

func (t *tracked) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	return t.ResponseWriter.Write(b)
}

// Unwrap lets an http.ResponseController through.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }
