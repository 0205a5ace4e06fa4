package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hookledger/delivery"
)

// saying is what a receiver got.
type saying struct {
	Event string
	Data  map[string]any
}

// listener is a receiver that takes everything and hands it on.
func listener(t *testing.T) (url string, got <-chan saying) {
	t.Helper()
	ch := make(chan saying, 100)
	r := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		var e saying
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil {
			t.Error(err)
		}
		ch <- e
	}))
	t.Cleanup(r.Close)
	return r.URL, ch
}

func answering(t *testing.T, status int) string {
	t.Helper()
	r := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(r.Close)
	return r.URL
}

// ask calls the server's API and gives the answer, which must be a 2xx.
func (s *server) ask(t *testing.T, method, path string, body any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.AdminKey.Reveal())
	req.Header.Set("Hookledger-Tenant", "default")
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s: %s %v", method, path, resp.Status, text, err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

// TestWhatFollowsFromDeliveries, in a whole server: a receiver that is gone is disabled, with its evidence, its
// delivery is held and goes on when it is enabled; who asked is told, and a cron job's output on its way to a channel
// is said.
func TestWhatFollowsFromDeliveries(t *testing.T) {
	t.Parallel()
	cfg := serverConfig{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Egress: delivery.EgressConfig{Dev: true}}
	s := started(t, cfg)
	watch, got := listener(t)
	endpoint := func(more map[string]any, url string, types ...string) string {
		body := map[string]any{"url": url, "event_types": types, "retry_schedule": []string{}}
		for k, v := range more {
			body[k] = v
		}
		id, _ := s.ask(t, http.MethodPost, "/v1/endpoints", body)["id"].(string)
		return id
	}
	endpoint(nil, watch, "endpoint.*", "delivery.*", "cron.delivered", "cron.failed")
	gone := endpoint(map[string]any{"retry_schedule": []string{"0s", "0s"}}, answering(t, http.StatusGone), "agent.*")
	endpoint(map[string]any{"channel": "url"}, answering(t, http.StatusOK), "cron.completed")
	bad := endpoint(nil, answering(t, http.StatusInternalServerError), "cron.completed")

	post := func(event, data string) {
		s.ask(t, http.MethodPost, "/v1/events", map[string]any{"event": event, "data": json.RawMessage(data)})
	}
	post("agent.status_changed", `{"agentId":"a","from":"online","to":"offline"}`)
	post("cron.completed", `{"jobId":"job_1","runId":"run_1"}`)
	want := map[string]func(map[string]any) bool{
		"endpoint.disabled": func(d map[string]any) bool { return d["endpointId"] == gone && d["reason"] == "gone" },
		"cron.delivered": func(d map[string]any) bool {
			return d["jobId"] == "job_1" && d["runId"] == "run_1" && d["channel"] == "url" && d["attempts"] == 1.0
		},
		"delivery.exhausted": func(d map[string]any) bool {
			return d["endpointId"] == bad && d["error"] == "500" && d["event"] == "cron.completed"
		},
	}
	for len(want) > 0 {
		e := <-got
		if check, ok := want[e.Event]; !ok || !check(e.Data) {
			t.Fatalf("got %+v", e)
		}
		delete(want, e.Event)
	}
	e := s.ask(t, http.MethodGet, "/v1/endpoints/"+gone, nil)
	if e["status"] != "disabled" || e["disabled_reason"] != "gone" {
		t.Errorf("%v", e)
	}
	list := s.ask(t, http.MethodGet, fmt.Sprintf("/v1/deliveries?status=held&endpoint_id=%s&min_position=%d", gone,
		s.store.Head()), nil)
	if held, _ := list["data"].([]any); len(held) != 1 {
		t.Errorf("%v", held)
	}
	if ready := s.ask(t, http.MethodGet, "/readyz", nil); ready["follow_ups"] != "ok" {
		t.Errorf("%v", ready)
	}
	if metrics := s.metrics(t); !strings.Contains(metrics,
		`hookledger_follow_ups_total{kind="disable_gone",result="done"} 1`) {
		t.Errorf("%s", metrics)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// The next life says nothing again.
	s = started(t, cfg)
	post("cron.completed", `{"jobId":"job_1","runId":"run_2"}`)
	for range 2 {
		if e := <-got; e.Event != "cron.delivered" && e.Event != "delivery.exhausted" || e.Data["runId"] == "run_1" {
			t.Errorf("got %+v", e)
		}
	}
}

func (s *server) metrics(t *testing.T) string {
	t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
