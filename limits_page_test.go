package hookledger_test

import (
	"strings"
	"testing"
)

// TestLimitsPage runs every command of docs/limits.md, in its order.
func TestLimitsPage(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.run("go build -o hookledger ./cmd/hookledger")
	ordered, limited := "", ""
	r.page(read(t, "docs/limits.md"), 15, func(line string) {
		r.runQuiet(line)
		switch {
		case strings.Contains(line, "--ordered"):
			ordered = r.last["ep_"]
		case strings.Contains(line, "--rate-limit 0.001"):
			limited = r.last["ep_"]
		}
	})
	r.expect("./hookledger endpoint get "+ordered, "yes, on exhausted: continue")
	r.expect("./hookledger delivery list --endpoint-id "+limited+" --status succeeded -o csv", "agent.budget_alert")
	r.command(r.dir, "./hookledger delivery list --endpoint-id "+limited+" --status pending")
	r.expect("./hookledger delivery get "+r.last["dlv_"], "endpoint_rate of 0.001 until 20")
	r.expect("./hookledger delivery list --status succeeded -o csv", "cron.completed")
	r.expect("./hookledger tenant get acme -o json", `"max_in_flight_per_host": 16`)
}
