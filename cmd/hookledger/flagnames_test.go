package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
)

func TestRefusalsNameTheCommandsFlags(t *testing.T) {
	t.Parallel()
	c := &cobra.Command{}
	for _, name := range []string{"code", "role", "created-after", "event", "gaps", "rate", "force", "from",
		"server", "smtp"} {
		c.Flags().String(name, "", "")
	}
	for said, want := range map[string]string{
		"query.code_class: expected number":                 "--code: expected number",
		"body.role: one of admin":                           "--role: one of admin",
		"body.select.created_after[0]: no time":             "--created-after: no time",
		"email.from is no address":                          "--from is no address",
		"give email.server as host:port":                    "give --smtp as host:port",
		"set force to true as well":                         "give --force as well",
		"repeat with force to send it":                      "repeat with --force to send it",
		"start with role models":                            "start with --role models",
		"body: a duration is written like 5s" + forPrograms: "a duration is written like 5s",
		"both rate and gap_factor are given":                "both rate and --gaps are given",
		"give created_after, event_types or status":         "give --created-after, --event or status",
		"body.other: the role of no_such_flag, a_rate_b":    "body.other: the role of no_such_flag, a_rate_b",
		"status_changed of agent.status_changed":            "status_changed of agent.status_changed",
	} {
		if got := inFlags(c, said); got != want {
			t.Errorf("%q became %q, want %q", said, got, want)
		}
	}
}

// TestRefusalsInWordsNameTheFlags: by their code, where the API's sentence speaks of its fields in words, or of none.
func TestRefusalsInWordsNameTheFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command     string // with the flags that were given
		problem     apiclient.Problem
		detail, fix string
	}{
		{"reconcile", apiclient.Problem{Code: "no_period", Detail: "the period is missing",
			Fix: "give from and to, or a month or day as period"},
			"the --period is missing", "give --from and --to, or a month or day as --period"},
		{"reconcile", apiclient.Problem{Code: "empty_range", Detail: "from is not before to", Fix: "swap them"},
			"--from is not before --to", "swap them"},
		{"reconcile", apiclient.Problem{Code: "invalid_tz", Detail: `tz: there is no time zone "Mars"`, Fix: "name one"},
			`--tz: there is no time zone "Mars"`, "name one"},
		{"endpoint create --smtp x --to y", apiclient.Problem{Code: "invalid_destination",
			Detail: "email was given for an endpoint of kind webhook", Fix: "give it with the kind email alone"},
			"--smtp was given for an endpoint of --kind webhook", "give it with --kind email alone"},
		{"endpoint update ep_1 --to y", apiclient.Problem{Code: "invalid_destination",
			Detail: "email was given for an endpoint of kind webhook", Fix: "give it with the kind email alone"},
			"--to was given for an endpoint of kind webhook", "give it with the kind email alone"},
		{"endpoint create", apiclient.Problem{Code: "invalid_destination", Detail: "what goes there is not signed",
			Fix: "leave secret and scheme out"}, "what goes there is not signed", "leave --secret-file and --scheme out"},
		{"endpoint create", apiclient.Problem{Code: "invalid_retry_schedule", Detail: "a retry waits 1000h", Fix: "use less"},
			"--retry-schedule: a retry waits 1000h", "use less"},
		{"endpoint create --legacy-header X", apiclient.Problem{Code: "invalid_header", Detail: "a header's name is long"},
			"--legacy-header: a header's name is long", ""},
		{"endpoint create", apiclient.Problem{Code: "invalid_signing_secret", Detail: "the legacy signature has no secret",
			Fix: "give legacy_signature.secret, too"}, "the legacy signature has no secret", "give --legacy-secret-file, too"},
		{"event send --event x", apiclient.Problem{Detail: `the field "event" is no event type`},
			"--event is no event type", ""},
		{"event send FILE", apiclient.Problem{Detail: `the field "event" is no event type`},
			`the field "event" is no event type`, ""},
		{"source add", apiclient.Problem{Code: "invalid_source", Detail: "the credentials are not complete",
			Fix: "give email and password for a login, or api_key"}, "the credentials are not complete",
			"give --email and HOOKLEDGER_SOURCE_PASSWORD for a login, or HOOKLEDGER_SOURCE_API_KEY"},
	} {
		a, _, _ := testApp(nil, "")
		cmd, args, err := newRoot(a).Find(strings.Fields(c.command))
		if err == nil {
			err = cmd.ParseFlags(args)
		}
		if err != nil {
			t.Fatal(err)
		}
		if detail, fix := refusedInFlags(cmd, &c.problem); detail != c.detail || fix != c.fix {
			t.Errorf("%s: it says %q, %q", c.command, detail, fix)
		}
	}
}

// TestEveryFieldOfARefusalIsAFlag: of some command, or the table is wrong.
func TestEveryFieldOfARefusalIsAFlag(t *testing.T) {
	t.Parallel()
	a, _, _ := testApp(nil, "")
	known := func(field string) bool {
		if strings.HasPrefix(field, "HOOKLEDGER_") {
			return true
		}
		for _, c := range newRoot(a).Commands() {
			for _, sub := range append(c.Commands(), c) {
				if flagOf(sub, field) != "" {
					return true
				}
			}
		}
		return false
	}
	for code, words := range wordFields {
		for _, field := range words {
			if !known(field) {
				t.Errorf("%s: no command has a flag for %s", code, field)
			}
		}
	}
	for code, field := range aboutFields {
		if !known(field) {
			t.Errorf("%s: no command has a flag for %s", code, field)
		}
	}
}
