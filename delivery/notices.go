package delivery

import (
	"math/big"
	"strings"
)

// shape is how events of a type are told: the title, the fields with a row of their own in their order, the fields that
// the title has said already, and the field with long text.
type shape struct {
	title  func(eventData) []span
	rows   []labelled
	silent []string
	output string
}

type labelled struct{ field, label string }

// amounts are the fields with an amount, of which the unit is another field.
var amounts = []string{"budget", "spent"}

var jobRows = []labelled{{"jobId", "Job"}, {"runId", "Run"}}

var budgetRows = []labelled{{"agentId", "Agent"}, {"spent", "Spent"}, {"budget", "Budget"}, {"threshold", "Alert at"},
	{"period", "Period"}, {"periodStart", "Since"}}

// shapes are those of the catalogue; events of other types show their fields by name.
var shapes = map[string]shape{
	"cron.completed": {
		title: func(d eventData) []span {
			if d.raw("status") == "error" {
				return []span{said("Cron job "), quoted(d.raw("jobId")), said(" failed")}
			}
			return []span{said("Cron job "), quoted(d.raw("jobId")), said(" completed")}
		},
		rows: append(jobRows[:2:2], labelled{"agentId", "Agent"}, labelled{"status", "Status"},
			labelled{"startedAt", "Started"}, labelled{"durationMs", "Took"}),
		output: "output",
	},
	"cron.delivered": {
		title: func(d eventData) []span {
			return []span{said("Output of cron job "), quoted(d.raw("jobId")), said(" was delivered to "),
				quoted(d.raw("channel"))}
		},
		rows: append(jobRows[:2:2], labelled{"channel", "Channel"}, labelled{"attempts", "Attempts"},
			labelled{"deliveredAt", "Delivered"}, labelled{"deliveryId", "Delivery"}),
	},
	"cron.failed": {
		title: func(d eventData) []span {
			return []span{said("Output of cron job "), quoted(d.raw("jobId")), said(" did not reach "),
				quoted(d.raw("channel"))}
		},
		rows: append(jobRows[:2:2], labelled{"channel", "Channel"}, labelled{"attempts", "Attempts"},
			labelled{"deliveryId", "Delivery"}),
		output: "error",
	},
	"agent.status_changed": {
		title: func(d eventData) []span {
			return []span{said("Agent "), quoted(d.raw("agentId")), said(" is "), quoted(d.raw("to"))}
		},
		rows: []labelled{{"agentId", "Agent"}, {"from", "Was"}, {"to", "Is"}, {"reason", "Reason"},
			{"observedBetween", "Seen between"}},
	},
	"agent.budget_alert": {
		title: func(d eventData) []span {
			return []span{said("Agent "), quoted(d.raw("agentId")), said(" has spent " + share(d.raw("spent"),
				d.raw("budget")) + "of its "), quoted(d.raw("period")), said(" budget")}
		},
		rows: budgetRows, silent: []string{"unit", "currency"},
	},
	"agent.budget_exhausted": {
		title: func(d eventData) []span {
			return []span{said("Agent "), quoted(d.raw("agentId")), said(" has exhausted its "), quoted(d.raw("period")),
				said(" budget")}
		},
		rows: budgetRows, silent: []string{"unit", "currency"},
	},
}

// share is what part of the whole is, such as "82 % ", rounded down: an amount must not read as more than it is.
func share(part, whole string) string {
	const unsure = "much "
	if len(part) > 40 || len(whole) > 40 || strings.ContainsAny(part+whole, "eE/") { // what a number could blow up to
		return unsure
	}
	p, ok := new(big.Rat).SetString(part)
	w, fine := new(big.Rat).SetString(whole)
	if !ok || !fine || w.Sign() <= 0 || p.Sign() < 0 {
		return unsure
	}
	p.Quo(p.Mul(p, big.NewRat(100, 1)), w)
	return new(big.Int).Quo(p.Num(), p.Denom()).String() + " % "
}
