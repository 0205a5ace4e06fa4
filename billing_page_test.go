package hookledger_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hookledger/sources/agenfleet/agenfleettest"
)

var namedFile = regexp.MustCompile("(?s)```(?:csv|ndjson) ([a-z.]+)\n(.*?)```")

// TestBillingPage runs every command of docs/billing.md, in its order, with the files that stand there and a stand-in
// in AgenFleet's place.
func TestBillingPage(t *testing.T) {
	t.Parallel()
	fleet := httptest.NewServer(agenfleettest.New(agenfleettest.Agent{ID: "atlas", Status: "online", Cost: "12.00",
		CostBudget: "10.00"}))
	defer fleet.Close()
	r := newReader(t)
	page := read(t, "docs/billing.md")
	files := [][]string{{"", "password", "fleet\n"}}
	for _, f := range append(files, namedFile.FindAllStringSubmatch(page, -1)...) {
		if err := os.WriteFile(filepath.Join(r.dir, f[1]), []byte(f[2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.run("go build -o hookledger ./cmd/hookledger")
	r.page(page, 15, func(line string) {
		line = strings.Replace(line, "https://api.agenfleet.ai/api", fleet.URL+agenfleettest.Base, 1)
		if out := r.step(line); strings.Contains(line, "wrong.csv") != strings.Contains(out, "exit code 5") {
			t.Errorf("$ %s\n%s", line, out)
		}
	})
	if got := read(t, filepath.Join(r.dir, "findings.csv")); strings.Count(got, "\n") != 6 {
		t.Errorf("findings.csv:\n%s", got)
	}
}

// step runs a line of the page, and waits for what comes by itself. What exits by an error ends the test.
func (r *reader) step(line string) string {
	r.t.Helper()
	if strings.Contains(line, "hookledger serve") || strings.Contains(line, "hookledger receive ") {
		r.run(line)
		return ""
	}
	line = r.filled(line)
	out := r.command(r.dir, line)
	switch {
	case strings.Contains(line, "source add"):
		r.expect("./hookledger event list --event agent.budget_exhausted", "evt_") // the costs were read
	case strings.Contains(line, "--id r1"):
		r.expect("./hookledger delivery list", "succeeded")
	}
	return out
}
