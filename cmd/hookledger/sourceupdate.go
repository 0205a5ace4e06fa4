package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

func newSourceUpdate(a *app, r *remote) *cobra.Command {
	f := &sourceFlags{}
	c := &cobra.Command{Use: "update ID", Short: "Change a source; what is not named stays",
		Long: `Change a source; what is not named stays. Its kind can't be changed. With --credentials new ones are taken
from HOOKLEDGER_SOURCE_PASSWORD, which --email goes with, or from HOOKLEDGER_SOURCE_API_KEY, as when it was added; the
old ones are destroyed. A cron source gets a new token with hookledger source rotate-token.`,
		Example: `  hookledger source update src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --every 30s --costs-every 1h
  hookledger source update src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C \
    --description 'the cron server in Berlin' --tz Europe/Berlin
  HOOKLEDGER_SOURCE_PASSWORD_FILE=password hookledger source update src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C \
    --credentials --email bridge@example.com`,
		Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			is, err := apiclient.Fetch[apiclient.Source](cmd.Context(), c, sourcePath(args[0]))
			if err != nil {
				return err
			}
			f.kind = is.Value.Kind
			body, err := f.given(a, cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().NFlag() == 0 {
				return usage("nothing to change was named", "give one of the flags of: hookledger source update --help")
			}
			var out apiclient.Item[apiclient.Source]
			if err := c.Patch(cmd.Context(), sourcePath(args[0]), body, &out,
				apiclient.WithHeader("If-Match", strconv.Quote(output.Int(is.Value.Revision)))); err != nil {
				return err
			}
			return output.One(a.printer, sourceColumns(), out.Raw, out.Value)
		}}
	f.flags(c)
	c.Flags().BoolVar(&f.credentials, "credentials", false, "agenfleet: take new credentials from the environment")
	return c
}

func newSourceRotate(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "rotate-token ID", Short: "Give a cron source a new token; the old one ends at once",
		Long: `Give a cron source a new token: the answer shows the new path, once. What is posted to the old one is
refused from then on, so let the cron system have the new one at once; its posts in between are its own to repeat.`,
		Example: "  hookledger source rotate-token src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Source]
			if err := c.Post(cmd.Context(), sourcePath(args[0])+"/rotate-token", nil, &out); err != nil {
				return err
			}
			if err := output.One(a.printer, sourceColumns(), out.Raw, out.Value); err != nil {
				return err
			}
			a.note("let the cron system post to this path; keep it: it is not shown again, and the old one is refused")
			return nil
		}}
}
