package hookledger_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// TestDocsPageInChromium: a real browser shows /docs of a real server with each operation and each webhook of the
// document, and asks for nothing that the server does not have or that lies elsewhere. make docs-page
func TestDocsPageInChromium(t *testing.T) {
	t.Parallel()
	program := os.Getenv("HOOKLEDGER_CHROMIUM")
	if program == "" {
		t.Skip("HOOKLEDGER_CHROMIUM is not the path of a Chromium; make docs-page runs this with the one in PATH")
	}
	server := serve(t)
	var (
		mu      sync.Mutex
		asked   []string
		missing []string
	)
	at, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(at)
	pass.ModifyResponse = func(resp *http.Response) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, resp.Request.URL.Path)
		if resp.StatusCode >= http.StatusBadRequest {
			missing = append(missing, resp.Status+" "+resp.Request.URL.Path)
		}
		return nil
	}
	front := httptest.NewServer(pass)
	defer front.Close()

	// Virtual time: the page's timers run at once, and it is printed when nothing is under way any more.
	cmd := exec.CommandContext(t.Context(), program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=20000", "--dump-dom", front.URL+"/docs/")
	var noise strings.Builder
	cmd.Stderr = &noise
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, noise.String())
	}
	page := string(out)

	mu.Lock()
	defer mu.Unlock()
	if len(missing) > 0 {
		t.Errorf("the page asked for what is not there: %q", missing)
	}
	if !strings.Contains(strings.Join(asked, " "), "/openapi.json") {
		t.Errorf("the page did not read the document, but %q", asked)
	}
	for _, m := range regexp.MustCompile(`<(?:script|link|img|iframe)[^>]*\s(?:src|href)="([^"]*)"`).
		FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "/docs/") && !strings.HasPrefix(m[1], "data:") {
			t.Errorf("the page takes %s, which the server does not give", m[1])
		}
	}
	if strings.Contains(page, "errors-wrapper") {
		t.Error("the page shows errors of the document")
	}
	for _, id := range documented(t, server) {
		// Swagger UI writes the id of an operation as operations-TAG-ID, with a backslash before a dot.
		if !strings.Contains(page, "-"+strings.ReplaceAll(id, ".", `\.`)+`"`) {
			t.Errorf("the page does not show %s", id)
		}
	}
}

// documented are the ids of the document's operations and webhooks.
func documented(t *testing.T, server *api) []string {
	t.Helper()
	type item map[string]json.RawMessage
	var document struct{ Paths, Webhooks map[string]item }
	server.call(http.MethodGet, "/openapi.json", nil, &document)
	var ids []string
	for _, items := range []map[string]item{document.Paths, document.Webhooks} {
		for at, methods := range items {
			for method, raw := range methods {
				var operation struct {
					OperationID string `json:"operationId"`
				}
				if err := json.Unmarshal(raw, &operation); err != nil || operation.OperationID == "" {
					t.Fatalf("%s %s has no operation id: %v", method, at, err)
				}
				ids = append(ids, operation.OperationID)
			}
		}
	}
	if len(ids) < 50 {
		t.Fatalf("the document has only %d operations: %q", len(ids), ids)
	}
	return ids
}
