package main

import (
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

const refusedHelp = "List events, newest first.\n\n" +
	"--refused lists what was posted with a key, or a source's token, and not taken: one row for each minute, key and\n" +
	"reason, with the number of posts and what the first of them was. A row is there within a minute."

// refusedFlags are those of a list of refused posts.
type refusedFlags struct {
	only        bool
	reason, key string
}

func (r *refusedFlags) flags(flags *pflag.FlagSet) {
	flags.BoolVar(&r.only, "refused", false, "list what was posted and refused instead")
	flags.StringVar(&r.reason, "reason", "",
		"with --refused: only what was refused for this reason, such as schema_mismatch or invalid_json")
	flags.StringVar(&r.key, "key-id", "", "with --refused: only what this API key posted, or this source took")
}

// unused says that a flag was given that goes with --refused.
func (r *refusedFlags) unused() error {
	if r.reason != "" || r.key != "" {
		return usage("--reason and --key-id are of refused posts", "give --refused too")
	}
	return nil
}

func listRefused(cmd *cobra.Command, a *app, c *apiclient.Client, l *listing, r *refusedFlags, eventType string) error {
	if eventType != "" {
		return usage("the type of a refused post is sealed, and no list selects by it", "leave out --event")
	}
	q := url.Values{}
	set(q, "reason", r.reason)
	set(q, "key_id", r.key)
	return listAll(cmd, a, c, "/v1/refusals", q, l, refusalColumns())
}

func refusalColumns() []output.Column[apiclient.Refusal] {
	first := func(value func(*apiclient.RefusedEvent) string) func(apiclient.Refusal) string {
		return func(r apiclient.Refusal) string {
			switch {
			case r.Erased:
				return "(erased)"
			case r.First == nil:
				return ""
			}
			return value(r.First)
		}
	}
	return []output.Column[apiclient.Refusal]{
		column("last_at", func(r apiclient.Refusal) string { return output.Time(r.LastAt) }),
		status("reason", func(r apiclient.Refusal) string { return r.Reason }),
		column("count", func(r apiclient.Refusal) string { return output.Int(r.Count) }),
		column("key_id", func(r apiclient.Refusal) string { return r.KeyID }),
		column("event", first(func(e *apiclient.RefusedEvent) string { return e.Event })),
		column("detail", first(func(e *apiclient.RefusedEvent) string { return e.Detail })),
		detail("first_at", func(r apiclient.Refusal) string { return output.Time(r.FirstAt) }),
		detail("event_id", first(func(e *apiclient.RefusedEvent) string { return e.ID })),
		detail("size", first(func(e *apiclient.RefusedEvent) string { return output.NonZero(e.Size) })),
		detail("sha256", first(func(e *apiclient.RefusedEvent) string { return e.SHA256 })),
		detail("id", func(r apiclient.Refusal) string { return r.ID }),
	}
}
