package hookledger_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"hookledger/domain"
)

// captured is one request as docs/examples/node/verify.mjs reads it.
type captured struct {
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	header  http.Header
}

// capture is a receiver that keeps what it got. The first request to /flaky is answered 503.
type capture struct {
	mu      sync.Mutex // guards what follows
	got     map[string][]captured
	taken   int
	changed chan struct{}
}

func (c *capture) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	headers := map[string]string{}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	c.mu.Lock()
	c.got[r.URL.Path] = append(c.got[r.URL.Path], captured{Headers: headers, Body: string(body), header: r.Header.Clone()})
	if r.URL.Path == "/flaky" && len(c.got["/flaky"]) == 1 {
		w.WriteHeader(http.StatusServiceUnavailable)
	} else {
		c.taken++
	}
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *capture) await(t *testing.T, taken int) map[string][]captured {
	t.Helper()
	for {
		c.mu.Lock()
		if c.taken >= taken {
			defer c.mu.Unlock()
			return c.got
		}
		c.mu.Unlock()
		select {
		case <-c.changed:
		case <-t.Context().Done():
			t.Fatal("the test ended before all was delivered")
		}
	}
}

// TestWhatIsSentVerifiesWithTheOfficialLibraries: the real server sends the six example events and one with odd bytes
// to two endpoints, one of which fails at first; every request verifies with the Go library of Standard Webhooks, and
// with its npm package where HOOKLEDGER_NODE names a folder that has it: make verify.
func TestWhatIsSentVerifiesWithTheOfficialLibraries(t *testing.T) {
	t.Parallel()
	c := &capture{got: map[string][]captured{}, changed: make(chan struct{}, 1)}
	receiver := httptest.NewServer(c)
	defer receiver.Close()
	server := serve(t)

	secrets := map[string]string{}
	for _, path := range []string{"/ok", "/flaky"} {
		var endpoint struct{ Secret string }
		server.call(http.MethodPost, "/v1/endpoints", map[string]any{"url": receiver.URL + path,
			"event_types": []string{"*"}, "retry_schedule": []string{"20ms", "20ms"}}, &endpoint)
		secrets[path] = endpoint.Secret
	}
	server.call(http.MethodPost, "/v1/event-types", map[string]any{"type": "text.odd"}, nil)
	sent := 0
	for _, et := range domain.BuiltInEventTypes() {
		server.call(http.MethodPost, "/v1/events", map[string]any{"event": et.Type, "data": et.Example}, nil)
		sent++
	}
	server.call(http.MethodPost, "/v1/events", map[string]any{"event": "text.odd",
		"data": json.RawMessage(`{ "é\u00e9" : [1.0, 1e2, "\u2028<&>", {} ] ,"x":null}`)}, nil)
	sent++

	got := c.await(t, 2*sent)
	if n := len(got["/flaky"]); n != sent+1 {
		t.Errorf("/flaky got %d requests for %d events, one of them twice", n, sent)
	}
	var lines bytes.Buffer
	for path, requests := range got {
		webhook, err := standardwebhooks.NewWebhook(secrets[path])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range requests {
			if err := webhook.Verify([]byte(r.Body), r.header); err != nil {
				t.Errorf("%s %s: %v", path, r.Headers["webhook-id"], err)
			}
			r.Secret = secrets[path]
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			lines.Write(append(line, '\n'))
		}
	}
	verifyWithNode(t, &lines, 2*sent+1)
}

func verifyWithNode(t *testing.T, lines *bytes.Buffer, want int) {
	t.Helper()
	dir := os.Getenv("HOOKLEDGER_NODE")
	if dir == "" {
		t.Log("HOOKLEDGER_NODE is not set: not verified with the npm package; make verify does")
		return
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "verify.mjs"))
	cmd.Stdin = lines
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	if verified := strings.Contains(string(out), " verified, 0 failed"); !verified || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("the npm package did not verify all %d requests:\n%s", want, out)
	}
}
