package hookledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
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
// to endpoints of both schemes, of which one fails at first and one is moving from v1 to v1a and gets both signatures.
// Every request verifies: v1 with the Go library of Standard Webhooks, v1a, which that does not know, with Go's own
// ed25519; where HOOKLEDGER_NODE names a folder that has them (make verify), with the npm package and Node's crypto.
func TestWhatIsSentVerifiesWithTheOfficialLibraries(t *testing.T) {
	t.Parallel()
	c := &capture{got: map[string][]captured{}, changed: make(chan struct{}, 1)}
	receiver := httptest.NewServer(c)
	defer receiver.Close()
	server := serve(t)

	keys := map[string][]string{} // by path: the secrets and public keys that each request verifies with
	for path, scheme := range map[string]string{"/ok": "v1", "/flaky": "v1", "/v1a": "v1a", "/moving": "v1"} {
		var endpoint struct{ ID, Secret string }
		server.call(http.MethodPost, "/v1/endpoints", map[string]any{"url": receiver.URL + path, "scheme": scheme,
			"event_types": []string{"*"}, "retry_schedule": []string{"20ms", "20ms"}}, &endpoint)
		if scheme == "v1" {
			keys[path] = append(keys[path], endpoint.Secret)
		}
		if path == "/moving" {
			server.call(http.MethodPost, "/v1/endpoints/"+endpoint.ID+"/rotate-secret", map[string]any{"scheme": "v1a"}, nil)
		}
		var shown struct {
			Data []struct {
				PublicKey string `json:"public_key"`
			}
		}
		server.call(http.MethodGet, "/v1/endpoints/"+endpoint.ID+"/keys", nil, &shown)
		for _, k := range shown.Data {
			if k.PublicKey != "" {
				keys[path] = append(keys[path], k.PublicKey)
			}
		}
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

	got := c.await(t, len(keys)*sent)
	if n := len(got["/flaky"]); n != sent+1 {
		t.Errorf("/flaky got %d requests for %d events, one of them twice", n, sent)
	}
	var lines bytes.Buffer
	for path, requests := range got {
		for _, key := range keys[path] {
			verify := verifierOf(t, key)
			for _, r := range requests {
				if err := verify([]byte(r.Body), r.header); err != nil {
					t.Errorf("%s %s: %v", path, r.Headers["webhook-id"], err)
				}
				r.Secret = key
				line, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				lines.Write(append(line, '\n'))
			}
		}
	}
	verifyWithNode(t, &lines, 3*sent+1, 2*sent)
}

// verifierOf checks requests with what is not ours.
func verifierOf(t *testing.T, key string) func(body []byte, headers http.Header) error {
	t.Helper()
	text, asymmetric := strings.CutPrefix(key, "whpk_")
	if !asymmetric {
		webhook, err := standardwebhooks.NewWebhook(key)
		if err != nil {
			t.Fatal(err)
		}
		return webhook.Verify
	}
	public, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(public) != ed25519.PublicKeySize {
		t.Fatalf("%q is no public key: %v", key, err)
	}
	return func(body []byte, headers http.Header) error {
		signed := append([]byte(headers.Get("Webhook-Id")+"."+headers.Get("Webhook-Timestamp")+"."), body...)
		for part := range strings.FieldsSeq(headers.Get("Webhook-Signature")) {
			text, ok := strings.CutPrefix(part, "v1a,")
			if sig, err := base64.StdEncoding.DecodeString(text); ok && err == nil && ed25519.Verify(public, signed, sig) {
				return nil
			}
		}
		return errors.New("no signature of v1a verifies")
	}
}

func verifyWithNode(t *testing.T, lines *bytes.Buffer, v1, v1a int) {
	t.Helper()
	dir := os.Getenv("HOOKLEDGER_NODE")
	if dir == "" {
		t.Log("HOOKLEDGER_NODE is not set: not verified with Node; make verify does")
		return
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "verify.mjs"))
	cmd.Stdin = lines
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	want := fmt.Sprintf("%d verified by standardwebhooks, %d verified by node:crypto, 0 failed\n", v1, v1a)
	if err != nil || string(out) != want {
		t.Errorf("Node did not verify all requests, %v:\n%s", err, out)
	}
}
