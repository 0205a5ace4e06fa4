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
	ran := 0
	for line := range commands(read(t, "docs/limits.md")) {
		r.run(strings.ReplaceAll(line, "event send", "event  send")) // nothing waits for the receiver, which is quiet
		ran++
	}
	if ran < 10 {
		t.Errorf("the page holds only %d commands", ran)
	}
	r.expect("./hookledger endpoint get "+r.last["ep_"], "yes, on exhausted: continue")
	r.expect("./hookledger delivery list --status succeeded -o csv", "cron.completed")
	r.expect("./hookledger tenant get acme -o json", `"max_in_flight_per_host": 16`)
}
