package main

import (
	"net/http"
	"strings"
	"testing"
)

// What was refused is written when the server ends, and listed by the next one.
func TestRefusedPostsAreListedByTheNextServer(t *testing.T) {
	t.Parallel()
	cfg := serverConfig{DataDir: t.TempDir(), Listen: "127.0.0.1:0"}
	first := started(t, cfg)
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, first.URL+"/v1/events",
			strings.NewReader(`{"event":"agent.budget_alert","data":{"agentId":7}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+first.AdminKey.Reveal())
		req.Header.Set("Hookledger-Tenant", "default")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Fatal(resp.Status)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next := started(t, cfg)
	env := []string{"HOOKLEDGER_SERVER=" + next.URL, "HOOKLEDGER_API_KEY=" + next.AdminKey.Reveal()}
	code, out, errs := commandLine(t, env, "event", "list", "--refused", "-o", "csv")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != 0 || len(lines) != 2 ||
		!strings.Contains(lines[1], ",schema_mismatch,3,key_") || !strings.Contains(lines[1], "agent.budget_alert") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	for _, args := range [][]string{{"--reason", "schema_mismatch"}, {"--refused", "--event", "agent.*"}} {
		code, out, errs := commandLine(t, env, append([]string{"event", "list"}, args...)...)
		if code != exitUsage || !strings.Contains(errs, "fix:") {
			t.Errorf("%s: exit code %d\n%s\n%s", args, code, out, errs)
		}
	}
}
