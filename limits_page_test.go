package hookledger_test

import "testing"

// TestLimitsPage runs every command of docs/limits.md, in its order.
func TestLimitsPage(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.run("go build -o hookledger ./cmd/hookledger")
	r.page(read(t, "docs/limits.md"), 10, r.runQuiet)
	r.expect("./hookledger endpoint get "+r.last["ep_"], "yes, on exhausted: continue")
	r.expect("./hookledger delivery list --status succeeded -o csv", "cron.completed")
	r.expect("./hookledger tenant get acme -o json", `"max_in_flight_per_host": 16`)
}
