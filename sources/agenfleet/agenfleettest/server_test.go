package agenfleettest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTheDocumentedAPI: shapes, paging, errors and limits are those of AgenFleet's public documentation.
func TestTheDocumentedAPI(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 17, 12, 0, 0, 0, time.UTC)
	s := New()
	s.Now = func() time.Time { return now }
	for i := range 142 {
		s.Change(fmt.Sprintf("agent_%03d", i), func(a *Agent) { a.TokensInput, a.Daily, a.Cost = 7, 300000, "28.40" })
	}
	s.Change("agent_000", func(a *Agent) { a.Status, a.CostBudget = "degraded", "100.00" })
	client := &http.Client{Transport: s.Transport()}
	token := ""
	call := func(method, path, body string, want int) map[string]any {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://stand.in/api"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		var v map[string]any
		if err != nil || json.Unmarshal(raw, &v) != nil || resp.StatusCode != want || want >= 400 && v["error"] == nil {
			t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, raw)
		}
		if want == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
		}
		return v
	}
	call("GET", "/agents", "", 401)
	call("POST", "/auth/login", `{"email":"bridge@example.com","password":"wrong"}`, 401)
	token = call("POST", "/auth/login", `{"email":"bridge@example.com","password":"fleet"}`, 200)["token"].(string)
	if got := call("GET", "/agents", "", 200)["data"].([]any); len(got) != 20 {
		t.Errorf("%d rows", len(got))
	}
	last := call("GET", "/agents?limit=500&offset=100", "", 200)
	if page := last["pagination"].(map[string]any); len(last["data"].([]any)) != 42 || page["hasMore"] != false ||
		page["total"] != 142.0 || page["limit"] != 100.0 {
		t.Errorf("%v", page)
	}
	if got := call("GET", "/agents?status=degraded", "", 200)["data"].([]any); len(got) != 1 {
		t.Errorf("%d rows", len(got))
	}
	one := call("GET", "/agents/agent_000", "", 200)
	if one["config"].(map[string]any)["limits"].(map[string]any)["dailyTokenBudget"] != 300000.0 {
		t.Errorf("%v", one)
	}
	if got := call("GET", "/cost-analysis/agents", "", 200)["agents"].([]any); len(got) != 142 ||
		got[0].(map[string]any)["utilization"] != 0.284 {
		t.Errorf("%v", got[0])
	}
	for _, path := range []string{"summary", "by-provider", "by-model", "recommendations"} {
		call("GET", "/cost-analysis/"+path, "", 200)
	}
	call("GET", "/agents/nobody", "", 404)
	call("GET", "/agents?limit=x", "", 400)
	call("POST", "/agents", "{}", 404)
	for s.Requests() < 62 { // two of those were logins
		call("GET", "/agents", "", 200)
	}
	call("GET", "/agents", "", 429)
	now = now.Add(time.Minute)
	call("GET", "/agents", "", 200)
	s.ExpireTokens()
	call("GET", "/agents", "", 401)
	for range 8 {
		call("POST", "/auth/login", `{`, 400)
	}
}
