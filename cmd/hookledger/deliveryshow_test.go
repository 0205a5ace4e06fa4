package main

import (
	"strings"
	"testing"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// TestNoNextAttemptInThePast: what is held goes on when its hold ends, if that is known, and at no time of the past.
func TestNoNextAttemptInThePast(t *testing.T) {
	t.Parallel()
	past, soon := now().Add(-time.Hour), now().Add(time.Hour)
	for name, c := range map[string]struct {
		given apiclient.Delivery
		want  string
	}{
		"none":               {apiclient.Delivery{}, ""},
		"to come":            {apiclient.Delivery{NextAt: &soon}, output.Time(soon)},
		"due":                {apiclient.Delivery{NextAt: &past}, ""},
		"held":               {apiclient.Delivery{NextAt: &past, Held: &apiclient.Held{}}, ""},
		"held, later due":    {apiclient.Delivery{NextAt: &soon, Held: &apiclient.Held{}}, ""},
		"held until":         {apiclient.Delivery{NextAt: &past, Held: &apiclient.Held{Until: &soon}}, output.Time(soon)},
		"held until a probe": {apiclient.Delivery{NextAt: &past, Held: &apiclient.Held{Until: &past}}, ""},
	} {
		if got := nextAttempt(c.given); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestTheNextStepsAreCommands: each names a command that there is, with the delivery's own ids.
func TestTheNextStepsAreCommands(t *testing.T) {
	t.Parallel()
	a, _, _ := testApp(nil, "")
	for _, step := range nextSteps(&apiclient.Delivery{ID: "dlv_1", EventID: "evt_1"}, "att_1") {
		_, line, _ := strings.Cut(step, ": hookledger ")
		cmd, rest, err := newRoot(a).Find(strings.Fields(line))
		if err != nil || cmd.HasSubCommands() || cmd.ParseFlags(rest) != nil {
			t.Errorf("%q is no command: %v", line, err)
		}
		if !strings.Contains(line, "_1") {
			t.Errorf("%q names nothing", line)
		}
	}
}
