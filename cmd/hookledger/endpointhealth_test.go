package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// TestHealthFitsATerminal: with its changes as a table, each with the records that led to it.
func TestHealthFitsATerminal(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 17, 12, 0, 40, 0, time.UTC)
	const record, delivery = "01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", "delivery-default.dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"
	h := apiclient.Health{EndpointID: "ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", State: "failing", Since: &at,
		Reason: "failures_in_a_row", Causes: []apiclient.HealthCause{{RecordID: record, Stream: delivery},
			{RecordID: record, Stream: delivery}}, Breaker: "half_open", At: at,
		Hold: &apiclient.HealthHold{Reason: "breaker_open", Since: at, Until: &at, RecordID: record,
			Says: "it goes on by itself"},
		Windows: map[string]apiclient.HealthWindow{"5m": {Attempts: 1_000_000, SuccessRate: 0.123, P50: 12345.6,
			P95: 12345.6, P99: 12345.6, Errors: map[string]int{"503": 10000, "connection_refused": 99999}}},
		Changes: []apiclient.HealthChange{
			{At: at, State: "degraded", Breaker: "closed", Reason: "success_rate", Because: []string{record}},
			{At: at.Add(time.Minute), State: "failing", Breaker: "half_open", Reason: "failures_in_a_row",
				Because: []string{record, record, record, record}},
		}}
	var b bytes.Buffer
	a := &app{out: &b, printer: &output.Printer{Out: &b, Format: output.Table, Width: 100}}
	if err := a.showHealth(apiclient.Item[apiclient.Health]{Value: h}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for _, line := range lines {
		if len(line) > 100 || strings.Contains(line, "…") {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	for i, want := range strings.Split(`
changed at                state     breaker    reason
2026-03-17T12:01:40.000Z  failing   half_open  failures_in_a_row
  01KP8Z6Y3S4V5W6X7Y8Z9A0B1C, 01KP8Z6Y3S4V5W6X7Y8Z9A0B1C, 01KP8Z6Y3S4V5W6X7Y8Z9A0B1C,
  01KP8Z6Y3S4V5W6X7Y8Z9A0B1C
2026-03-17T12:00:40.000Z  degraded  closed     success_rate
  01KP8Z6Y3S4V5W6X7Y8Z9A0B1C
`, "\n") {
		if at := len(lines) - 8 + i; at < 0 || strings.TrimRight(lines[at], " ") != want {
			t.Fatalf("line %d is not %q in\n%s", i, want, &b)
		}
	}
	b.Reset()
	a.printer.Format = output.CSV
	if err := a.showHealth(apiclient.Item[apiclient.Health]{Value: h}); err != nil ||
		!strings.Contains(b.String(), "2026-03-17T12:00:40.000Z degraded, breaker closed: success_rate") {
		t.Errorf("%v: %s", err, &b)
	}
}
