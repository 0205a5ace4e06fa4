package hookledger_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookledger/sources/agenfleet/agenfleettest"
)

// TestSourcesPage runs every command of docs/sources.md, in its order, with a stand-in in AgenFleet's place.
func TestSourcesPage(t *testing.T) {
	t.Parallel()
	fleet := httptest.NewServer(agenfleettest.New(agenfleettest.Agent{ID: "atlas", Status: "online", TokensInput: 1200,
		Daily: 1000, Threshold: 0.8, Cost: "8.00", CostBudget: "10.00"}))
	defer fleet.Close()
	r := newReader(t)
	if err := os.WriteFile(filepath.Join(r.dir, "password"), []byte("fleet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run("go build -o hookledger ./cmd/hookledger")
	r.page(read(t, "docs/sources.md"), 12, func(line string) {
		line = strings.NewReplacer("https://api.agenfleet.ai/api", fleet.URL+agenfleettest.Base,
			"http://127.0.0.1:8420", r.server).Replace(line)
		r.run(line)
		if strings.Contains(line, "--kind agenfleet") { // what is polled comes by itself
			r.expect("./hookledger event list --event agent.budget_exhausted", "agent.budget_exhausted")
			r.expect("./hookledger source list", "polled")
		}
	})
	r.expect("./hookledger event list", "cron.completed")
	r.expect("./hookledger event list", "agent.status_changed") // the CloudEvent
	r.expect("./hookledger record list", "SourceRemoved")
}
