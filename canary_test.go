package hookledger_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookledger/sources/agenfleet/agenfleettest"
)

// TestSecretsAndContentStandNowhereInTheClear: canaries in every secret and in everything that can be erased one day
// are in no record, no log line and no file of the read models. Of an API key the ledger has the hash.
func TestSecretsAndContentStandNowhereInTheClear(t *testing.T) {
	t.Parallel()
	c := &capture{got: map[string][]captured{}, changed: make(chan struct{}, 1)}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Canary", "canary-response-header")
		_, _ = w.Write([]byte("canary-response-body"))
		c.ServeHTTP(w, r)
	}))
	defer receiver.Close()
	server := serve(t)
	var endpoint, key struct{ ID, Secret, Key string }
	server.call(http.MethodPost, "/v1/endpoints", map[string]any{"url": receiver.URL + "/canary-path?q=canary-query",
		"event_types": []string{"*"}, "headers": map[string]string{"X-Canary": "canary-header"},
		"auth":             map[string]string{"type": "basic", "username": "canary-user", "password": "canary-login"},
		"legacy_signature": map[string]string{"header": "X-Legacy", "secret": "canary-legacy"}}, &endpoint)
	var rotated struct{ Secret string }
	rotate(server, endpoint.ID, "once", &rotated)
	server.call(http.MethodPost, "/v1/api-keys", map[string]any{"role": "producer"}, &key)
	fleet := agenfleettest.New()
	fleet.Email, fleet.Password = "canary-email", "canary-password"
	fleet.Change("canary-agent", func(a *agenfleettest.Agent) { a.Daily, a.Threshold, a.TokensInput = 10, 0.5, 10 })
	upstream := httptest.NewServer(fleet)
	defer upstream.Close()
	server.call(http.MethodPost, "/v1/sources", map[string]any{"kind": "agenfleet", "agenfleet": map[string]string{
		"url": upstream.URL + agenfleettest.Base, "email": fleet.Email, "password": fleet.Password}}, nil)
	var cron struct{ Path string }
	server.call(http.MethodPost, "/v1/sources", map[string]string{"kind": "cron"}, &cron)
	server.call(http.MethodPost, cron.Path, map[string]string{"job_id": "canary-job", "output": "canary-output"}, nil)
	telegram := canaryChannels(t, server)
	var receipt struct{ ID string }
	server.call(http.MethodPost, "/v1/events", map[string]any{"event": "agent.status_changed",
		"subject": "canary-subject", "data": map[string]string{"agentId": "canary-body", "from": "online", "to": "offline"},
	}, &receipt)
	for path := range c.await(t, 1) {
		if path != "/canary-path" {
			t.Errorf("the request went to %s", path)
		}
	}
	var page struct{ Data []json.RawMessage }
	for len(page.Data) == 0 {
		server.call(http.MethodGet, "/v1/deliveries?status=succeeded&event_id="+receipt.ID, nil, &page)
	}
	for page.Data = nil; len(page.Data) == 0; { // what was polled is there, too
		server.call(http.MethodGet, "/v1/events?event=agent.budget_alert", nil, &page)
	}

	for page.Data = nil; len(page.Data) == 0; { // the message was rendered, sent and answered
		server.call(http.MethodGet, "/v1/deliveries?status=succeeded&endpoint_id="+telegram, nil, &page)
	}
	server.call(http.MethodPost, "/v1/reconciliations", map[string]any{"period": "2026-03", "reason": "canary-reason",
		"agent_ids": []string{"canary-agent"}}, nil)

	places := map[string]string{"the log": server.process.output(),
		"the records": string(server.text("/v1/records?after=0")), "the metrics": string(server.text("/metrics")),
		"the endpoint's keys":                 string(server.text("/v1/endpoints/" + endpoint.ID + "/keys")),
		"the first rotation, asked for again": rotate(server, endpoint.ID, "once", nil)}
	if !strings.Contains(places["the records"], "DeliverySucceeded") {
		t.Fatal("the records are not all there")
	}
	err := filepath.WalkDir(filepath.Join(server.dir, "projections"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		places[p] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	master, err := os.ReadFile(filepath.Join(server.dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	canaries := []string{"canary-", strings.TrimPrefix(cron.Path, "/in/cron/"), endpoint.Secret,
		strings.TrimPrefix(endpoint.Secret, "whsec_"), strings.TrimPrefix(rotated.Secret, "whsec_"),
		base64.StdEncoding.EncodeToString([]byte("canary-user:canary-login")), key.Key, server.key,
		strings.TrimSpace(string(master)), base64.StdEncoding.EncodeToString([]byte("canary-body"))}
	for where, text := range places {
		for i, canary := range canaries {
			if canary == "" {
				t.Fatalf("canary %d is empty", i)
			}
			if at := strings.Index(text, canary); at >= 0 {
				t.Errorf("%s: canary %d stands there: …%q…", where, i, text[max(0, at-60):min(len(text), at+20)])
			}
		}
	}
}

// canaryChannels makes endpoints of each kind that messages go to, with canaries in all that can be given to them. The
// id is that of the one whose service answers.
func canaryChannels(t *testing.T, server *api) (telegram string) {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"ok":true,"result":"canary-answer ` + r.URL.Path + `"}`))
	}))
	t.Cleanup(service.Close)
	var made struct{ ID string }
	for _, body := range []map[string]any{
		{"kind": "slack", "url": service.URL + "/services/canary-webhook"},
		{"kind": "email", "email": map[string]string{"server": strings.TrimPrefix(service.URL, "http://"),
			"from": "canary-from@example.com", "to": "canary-to@example.com", "username": "canary-user",
			"password": "canary-password"}},
		{"kind": "telegram", "url": service.URL, "telegram": map[string]string{"chat_id": "@canary_chat",
			"token": "123456:AA-canary-token"}},
	} {
		body["event_types"] = []string{"*"}
		server.call(http.MethodPost, "/v1/endpoints", body, &made)
	}
	return made.ID
}

// rotate asks for a rotation under an Idempotency-Key, and gives the answer.
func rotate(server *api, endpoint, idempotency string, into any) string {
	server.t.Helper()
	req, err := http.NewRequestWithContext(server.t.Context(), http.MethodPost,
		server.url+"/v1/endpoints/"+endpoint+"/rotate-secret", nil)
	if err != nil {
		server.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+server.key)
	req.Header.Set("Hookledger-Tenant", "default")
	req.Header.Set("Idempotency-Key", idempotency)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		server.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		server.t.Fatalf("rotate: %v, %d %s", err, resp.StatusCode, raw)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			server.t.Fatal(err)
		}
		return ""
	}
	var shown struct{ URL string } // the admin's view of the URL is whole
	if err := json.Unmarshal(raw, &shown); err != nil {
		server.t.Fatal(err)
	}
	return strings.ReplaceAll(string(raw), shown.URL, "")
}
