package hookledger_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestCompliancePage runs every command of docs/compliance.md, in its order; a signature that does not verify ends it.
func TestCompliancePage(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.run("go build -o hookledger ./cmd/hookledger")
	r.page(read(t, "docs/compliance.md"), 15, func(line string) {
		switch r.step(line); {
		case strings.Contains(line, "--id alert-17"):
			r.expect("./hookledger delivery list", "succeeded")
		case strings.HasSuffix(line, "query event alert-17"):
			r.expect(line, "v1,")
		}
	})
	if got := read(t, filepath.Join(r.dir, "body.json")); !strings.HasPrefix(got, `{"id":"alert-17",`) {
		t.Errorf("body.json:\n%s", got)
	}
	if got := read(t, filepath.Join(r.dir, "attempts.csv")); strings.Count(got, "\n") != 2 {
		t.Errorf("attempts.csv:\n%s", got)
	}
}
