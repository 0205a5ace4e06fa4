package hookledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// TestInARealN8N: an n8n imports the workflow and activates it; the real server sends an event to it straight, and past
// one who passes it on as it is, alters it, writes it with other spaces, makes it old, or takes the signature off. n8n
// takes what is as it was signed and nothing else, and each of its answers is on the ledger. make n8n
func TestInARealN8N(t *testing.T) {
	program := os.Getenv("HOOKLEDGER_N8N")
	if program == "" {
		t.Skip("HOOKLEDGER_N8N is not the path of an n8n; make n8n installs one")
	}
	const misfit = "the signature does not fit the body"
	refusals := map[string]string{"straight": "", "good": "", "altered": misfit, "re-spaced": misfit,
		"stale": "the timestamp is more than 5 minutes off", "unsigned": "the request is not signed"}
	behind := &capture{got: map[string][]captured{}, changed: make(chan struct{}, 1)}
	taker := httptest.NewServer(behind)
	defer taker.Close()
	n8n := startN8N(t, program, n8nWorkflow(t, taker.URL))
	meddler := httptest.NewServer(between(t, n8n))
	defer meddler.Close()

	server := serve(t)
	endpoints := map[string]string{}
	for way := range refusals {
		target := meddler.URL + "/" + way
		if way == "straight" {
			target = n8n
		}
		var made struct{ ID string }
		server.call(http.MethodPost, "/v1/endpoints", map[string]any{"url": target, "event_types": []string{"text.odd"},
			"secret": n8nSecret, "retry_schedule": []string{}}, &made)
		endpoints[way] = made.ID
	}
	server.call(http.MethodPost, "/v1/event-types", map[string]any{"type": "text.odd"}, nil)
	server.call(http.MethodPost, "/v1/events", map[string]any{"event": "text.odd",
		"data": json.RawMessage(`{ "é\u00e9" : [1.0, 1e2, "\u2028<&>", {} ] ,"x":null}`)}, nil)

	var sent string
	for _, way := range slices.Sorted(maps.Keys(refusals)) {
		got := onlyAttempt(server, endpoints[way])
		want, body := "succeeded 204", ""
		if reason := refusals[way]; reason != "" {
			want, body = "failed 401", `{"error":"`+reason+`"}`
		}
		t.Logf("%-9s %s %d %s", way, got.Status, got.Response.Status, got.Response.Body)
		if is := got.Status + " " + strconv.Itoa(got.Response.Status); is != want || got.Response.Body != body {
			t.Errorf("%s: recorded is %s %q, not %s %q", way, is, got.Response.Body, want, body)
		}
		sent = got.Request.Body
	}
	if t.Failed() {
		return // what was not taken never comes
	}
	taken := behind.await(t, 2)["/"]
	for _, r := range taken {
		if !sameJSON(t, r.Body, sent) {
			t.Errorf("behind the workflow came\n%s\nand not\n%s", r.Body, sent)
		}
	}
	if len(taken) != 2 {
		t.Errorf("behind the workflow came %d events, and not the two that it took", len(taken))
	}
}

// attempt is one as the API shows it.
type attempt struct {
	ID, Status string
	Request    struct{ Body string }
	Response   struct {
		Status int
		Body   string
	}
}

// onlyAttempt waits until the endpoint's first attempt has ended, and gives it.
func onlyAttempt(server *api, endpoint string) (a attempt) {
	server.t.Helper()
	var page struct{ Data []attempt }
	for len(page.Data) == 0 || page.Data[0].Status == "in_flight" {
		server.call(http.MethodGet, "/v1/attempts?endpoint_id="+endpoint, nil, &page)
	}
	server.call(http.MethodGet, "/v1/attempts/"+page.Data[0].ID, nil, &a)
	return a
}

// between does to a request what its path says, sends it on, and brings the answer back.
func between(t *testing.T, target string) http.HandlerFunc {
	t.Helper()
	key, err := domain.ParseSigningKey(domain.NewSecret(n8nSecret))
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		header := r.Header.Clone()
		switch r.URL.Path {
		case "/altered":
			body = bytes.Replace(body, []byte("null"), []byte("true"), 1)
		case "/re-spaced": // what a parser cannot tell from what was signed
			body = append([]byte("{ "), body[1:]...)
		case "/stale": // as somebody kept it who sends it again: the signature is right
			at := time.Now().Unix() - 301
			id := header.Get(domain.HeaderWebhookID)
			header.Set(domain.HeaderWebhookTimestamp, strconv.FormatInt(at, 10))
			header.Set(domain.HeaderWebhookSignature, domain.Sign([][]byte{key.Bytes}, id, at, body))
		case "/unsigned":
			header.Del(domain.HeaderWebhookSignature)
		}
		req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, target, bytes.NewReader(body))
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		req.Header = header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}
}

// n8nWorkflow is the workflow that docs/n8n.md has, with a node behind Taken that posts the event to a URL.
func n8nWorkflow(t *testing.T, to string) []byte {
	t.Helper()
	var workflow map[string]any
	if err := json.Unmarshal([]byte(read(t, "docs/examples/n8n/workflow.json")), &workflow); err != nil {
		t.Fatal(err)
	}
	workflow["nodes"] = append(workflow["nodes"].([]any), map[string]any{
		"id": "behind", "name": "Behind", "type": "n8n-nodes-base.httpRequest", "typeVersion": 4.2,
		"position": []int{880, -100}, "parameters": map[string]any{"method": "POST", "url": to, "sendBody": true,
			"specifyBody": "json", "jsonBody": "={{ JSON.stringify($json.event) }}"}})
	workflow["connections"].(map[string]any)["Taken"] = map[string]any{
		"main": [][]any{{map[string]any{"node": "Behind", "type": "main", "index": 0}}}}
	out, err := json.Marshal(workflow)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// startN8N starts an n8n of its own on loopback that has the workflow, and gives the webhook's URL.
func startN8N(t *testing.T, program string, workflow []byte) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "workflow.json")
	if err := os.WriteFile(file, workflow, 0o600); err != nil {
		t.Fatal(err)
	}
	port, broker := freePort(t), freePort(t)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "N8N_USER_FOLDER="+dir, "N8N_LISTEN_ADDRESS=127.0.0.1", "N8N_PORT="+port,
			"N8N_RUNNERS_BROKER_PORT="+broker, "N8N_DIAGNOSTICS_ENABLED=false", "N8N_VERSION_NOTIFICATIONS_ENABLED=false",
			"N8N_TEMPLATES_ENABLED=false", "NODE_FUNCTION_ALLOW_BUILTIN=crypto", "N8N_BLOCK_ENV_ACCESS_IN_NODE=false",
			"HOOKLEDGER_SECRET="+n8nSecret)
		return cmd
	}
	for _, args := range [][]string{{"import:workflow", "--input=" + file},
		{"update:workflow", "--id=hookledgerVerify", "--active=true"}} { // n8n 2 warns of it, and 1 has no other
		if out, err := command(args...).CombinedOutput(); err != nil {
			t.Fatalf("n8n %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	start(t, command("start")).await(t, `Editor is now accessible`)
	url := "http://127.0.0.1:" + port
	for tick := time.NewTicker(100 * time.Millisecond); !isReady(t, url+"/healthz/readiness"); <-tick.C {
	}
	return url + "/webhook/hookledger"
}

func isReady(t *testing.T, url string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// freePort gives a port that nothing listens on, below those that connections get: n8n takes it seconds later.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := strconv.Itoa(20_000 + rand.IntN(10_000)) //nolint:gosec // which one is free is no secret
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return port
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Fatalf("%v: %s, %s", err, a, b)
	}
	return reflect.DeepEqual(x, y)
}
