package hookledger_test

import "testing"

// TestHealthPage runs every command of docs/health.md, in its order. The receiver fails its first ten requests,
// whatever they are: so the breaker opened once, and the endpoint did well in the end, however fast the commands were.
func TestHealthPage(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.run("go build -o hookledger ./cmd/hookledger")
	r.page(read(t, "docs/health.md"), 8, r.runQuiet)
	health := "./hookledger endpoint health " + r.last["ep_"]
	r.expect(health, "failures_in_a_row")
	r.expect(health, "10 x 503")
	r.expect(health, "closed")
	r.expect("./hookledger endpoint get "+r.last["ep_"], "72h")
	r.expect("./hookledger delivery list --status succeeded -o csv", "agent.status_changed")
}
