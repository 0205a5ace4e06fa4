package main

import (
	"testing"

	"github.com/spf13/cobra"
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
