package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ingest"
)

func TestWhatNoRouteTakes(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/", 404, "no_such_route"},
		{"GET", "/v1", 404, "no_such_route"},
		{"GET", "/v1/events/", 404, "no_such_route"},
		{"POST", "/v1/attempts", 405, "method_not_allowed"},
		{"DELETE", "/v1/events/x", 405, "method_not_allowed"},
		{"OPTIONS", "/v1/events", 405, "method_not_allowed"},
		{"POST", "/readyz", 405, "method_not_allowed"},
	} {
		got := s.call("", c.method, c.path, nil).want(c.status, c.code)
		if allow := got.header.Get("Allow"); (allow != "") != (c.status == 405) {
			t.Errorf("%s %s: Allow %q", c.method, c.path, allow)
		}
	}
	if got := s.call("", "GET", "/docs", nil); got.status != 301 || got.header.Get("Location") != "/docs/" {
		t.Errorf("/docs: %d %v", got.status, got.header)
	}
	page := s.call("", "GET", "/docs/", nil).want(200, "")
	if !strings.Contains(string(page.body), "/openapi.json") || strings.Contains(string(page.body), "//cdn") ||
		strings.Contains(string(page.body), "https://unpkg") {
		t.Errorf("the page is not this document's, or loads from elsewhere: %s", page.body)
	}
}

// TestAcceptDoesNotMatter: whatever a client says it accepts, answers are JSON and errors problems.
func TestAcceptDoesNotMatter(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	for _, accept := range []string{"*/*", "text/html,application/xhtml+xml", "application/json", "application/x-ndjson",
		"json"} {
		got := s.call(key, "GET", "/v1/events", nil, "Accept", accept).want(200, "")
		if contentType := got.header.Get("Content-Type"); contentType != "application/json" {
			t.Errorf("Accept: %s was answered with %s", accept, contentType)
		}
		s.call(key, "GET", "/v1/events?limit=0", nil, "Accept", accept).want(400, "invalid_request")
	}
}

func TestKeysThatOpenNothing(t *testing.T) {
	t.Parallel()
	now := time.Now()
	clock := func() time.Time { return now }
	s := newStack(t, func(c *Config) { c.Now = func() time.Time { return clock() } })
	admin := s.key("default", domain.RoleAdmin)
	made := into[APIKey](s.call(admin, "POST", "/v1/api-keys", map[string]any{"role": "producer",
		"expires_at": now.Add(time.Hour).Format(time.RFC3339)}).want(201, ""))
	if !strings.HasPrefix(made.Key, KeyPrefix) || len(made.Key) < 46 || !strings.HasPrefix(made.Key, made.Prefix) {
		t.Fatalf("key %+v", made)
	}
	s.call(made.Key, "GET", "/v1/events", nil).want(200, "")
	now = now.Add(2 * time.Hour)
	got := s.call(made.Key, "GET", "/v1/events", nil).want(401, "invalid_api_key")
	if got.header.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate")
	}
	now = now.Add(-2 * time.Hour)
	s.call(admin, "DELETE", "/v1/api-keys/"+made.ID, nil).want(204, "")
	s.call(made.Key, "GET", "/v1/events", nil).want(401, "invalid_api_key")
	s.call(admin, "DELETE", "/v1/api-keys/"+made.ID, nil).want(204, "")
	for _, header := range []string{"Basic eDp5", "Bearer", "Bearer ", "hl_x", "Bearer hl_" + strings.Repeat("x", 5000)} {
		if got := s.call("", "GET", "/v1/events", nil, "Authorization", header); got.status != 401 {
			t.Errorf("%q: status %d", header, got.status)
		}
	}
	list := into[List[APIKey]](s.call(admin, "GET", "/v1/api-keys", nil).want(200, ""))
	for _, k := range list.Data {
		if k.Key != "" || (k.ID == made.ID) != (k.Status == "revoked") {
			t.Errorf("listed %+v", k)
		}
	}
	root := s.key(platform, domain.RoleAdmin)
	platforms := into[List[APIKey]](s.call(root, "GET", "/v1/api-keys", nil, HeaderTenant, "*").want(200, ""))
	if len(platforms.Data) != 1 {
		t.Errorf("platform keys: %+v", platforms.Data)
	}
	s.call(root, "GET", "/v1/api-keys", nil).want(400, "tenant_required")
	s.call(root, "GET", "/v1/events", nil, HeaderTenant, "*").want(404, "tenant_not_found")
}

func TestReadinessAndMetrics(t *testing.T) {
	t.Parallel()
	var why error
	s := newStack(t, func(c *Config) {
		c.Ready = func() error { return why }
		c.Space = func() (free, low uint64, known bool) { return 29 << 20, 256 << 20, true }
	})
	if h := into[Health](s.call("", "GET", "/readyz", nil).want(200, "")); h.Status != "ok" || h.LedgerID == "" ||
		h.Disk != "ok" {
		t.Errorf("ready: %+v", h)
	}
	s.full.Store(true)
	if h := into[Health](s.call("", "GET", "/readyz", nil).want(200, "")); h.Status != "reads_only" ||
		h.Disk != "the disk is nearly full" {
		t.Errorf("ready on a full disk: %+v", h)
	}
	for _, a := range []*answer{s.call("", "GET", "/readyz", nil), s.call(s.key("default", domain.RoleProducer), "POST",
		"/v1/events", example("")).want(507, "no_room")} {
		if body := string(a.body); strings.Contains(body, "MiB") || strings.Contains(body, "canary") {
			t.Errorf("what is free, and where, is for the log: %s", body)
		}
	}
	node := func(key string) Node { return into[Node](s.call(key, "GET", "/v1/node", nil).want(200, "")) }
	want := Node{Status: "reads_only", Version: "0.0.0-dev", LedgerID: s.api.LedgerID, Disk: "the disk is nearly full"}
	if n := node(s.key("default", domain.RoleAuditor)); n != want {
		t.Errorf("a tenant's key is told %+v", n)
	}
	if n := node(s.key(platform, domain.RoleAuditor)); n.Space == nil || *n.Space != (Space{29 << 20, 256 << 20}) {
		t.Errorf("a platform key is told %+v", n)
	}
	s.full.Store(false)
	why = errors.New("the vault is closed")
	got := s.call("", "GET", "/readyz", nil).want(503, "not_ready")
	if !strings.Contains(string(got.body), "the vault is closed") || got.header.Get("Retry-After") == "" {
		t.Errorf("not ready: %s", got.body)
	}
	s.call("", "GET", "/livez", nil).want(200, "")
	s.call("", "POST", "/v1/events", `{}`).want(401, "unauthenticated")
	s.call("", "GET", "/nowhere", nil).want(404, "no_such_route")
	for _, h := range []http.Handler{s.api.mux, admin(t, s)} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		text, _ := io.ReadAll(w.Body)
		for _, line := range []string{
			`hookledger_http_requests_total{class="4xx",method="POST",route="/v1/events"} 1`,
			`hookledger_http_requests_total{class="4xx",method="",route="unmatched"} 1`,
			`hookledger_http_requests_total{class="5xx",method="GET",route="/readyz"} 1`,
		} {
			if !strings.Contains(string(text), line) {
				t.Errorf("no %s", line)
			}
		}
	}
}

func admin(t *testing.T, s *stack) http.Handler {
	h, err := NewAdmin(s.api.Config)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// brokenIngest fails in ways that are nobody's fault.
type brokenIngest struct {
	Ingest
	fail func() error
}

func (b brokenIngest) Post(context.Context, ingest.Post) (*ingest.Receipt, error) {
	return nil, b.fail()
}

// TestInternalErrorsAreLoggedNotShown: the client gets an id, the log the cause under that id; a panic is one of them.
func TestInternalErrorsAreLoggedNotShown(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("canary: disk on fire") },
		"panic": func() error { panic("canary: disk on fire") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, func(c *Config) { c.Ingest = brokenIngest{fail: fail} })
			key := s.key("default", domain.RoleAdmin)
			got := s.call(key, "POST", "/v1/events", example("")).want(500, "internal")
			if strings.Contains(string(got.body), "canary") {
				t.Errorf("the cause is shown: %s", got.body)
			}
			var logged struct {
				ID    string `json:"error_id"`
				Error string `json:"error"`
			}
			if err := json.Unmarshal([]byte(s.log.String()), &logged); err != nil {
				t.Fatal(err, s.log.String())
			}
			if _, err := ulid.Parse(logged.ID); err != nil || !strings.Contains(string(got.body), logged.ID) ||
				!strings.Contains(logged.Error, "canary") {
				t.Errorf("answer %s, log %s", got.body, s.log.String())
			}
		})
	}
}
