package hookledger_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestObservabilityPage runs every command of docs/observability.md, and looks for each metric that the page and the
// dashboard name among those that a server shows once something happened to it.
func TestObservabilityPage(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.run("go build -o hookledger ./cmd/hookledger")
	page := read(t, "docs/observability.md")
	r.page(page, 5, func(line string) { r.run(strings.ReplaceAll(line, "http://127.0.0.1:8420", r.server)) })
	// An attempt at a receiver that is not there is one, too.
	r.command(r.dir, "./hookledger endpoint create --url http://localhost:"+r.port+"/hook --events 'cron.*'")
	r.command(r.dir, "./hookledger event send --example cron.completed")
	r.expect("curl -s "+r.server+"/metrics", "hookledger_attempt_duration_seconds_count 1")
	resp, err := http.Get(r.server + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "# TYPE "), " ")
		name, _, _ = strings.Cut(name, "{")
		shown[strings.TrimSpace(name)] = true
	}
	dashboard := read(t, "docs/grafana/hookledger.json")
	if !json.Valid([]byte(dashboard)) {
		t.Error("the dashboard is no JSON")
	}
	names := regexp.MustCompile(`(hookledger_|handler_execution)[a-z_]+`).FindAllString(page+dashboard, -1)
	if len(names) < 30 {
		t.Fatalf("the page and the dashboard name only %d metrics", len(names))
	}
	for _, name := range names {
		if !shown[name] {
			t.Errorf("%s is named, and /metrics does not show it", name)
		}
	}
}
