package hookledger_test

import (
	"strings"
	"testing"
)

// TestRetriesPage runs every command of docs/retries.md, in its order.
func TestRetriesPage(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.run("go build -o hookledger ./cmd/hookledger")
	r.page(read(t, "docs/retries.md"), 12, func(line string) {
		switch {
		case strings.Contains(line, "delivery retry"), strings.Contains(line, "delivery cancel"):
			r.expect("./hookledger delivery get "+r.last["dlv_"], "retrying") // its first attempt has failed
		}
		r.run(strings.ReplaceAll(line, "event send", "event  send")) // it goes nowhere that could print it
		switch {
		case strings.Contains(line, "delivery retry"):
			r.expect("./hookledger delivery get "+r.last["dlv_"], "exhausted")
			r.expect("./hookledger event list --event delivery.exhausted", "delivery.exhausted")
			r.expect("./hookledger event list --event cron.failed", "cron.failed")
			r.receiver.await(t, "cron.failed")
		case strings.Contains(line, "delivery cancel"):
			r.expect("./hookledger delivery get "+r.last["dlv_"], "requested: sent by hand")
		}
	})
}
