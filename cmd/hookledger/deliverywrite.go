package main

import (
	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

func newDeliveryRetry(a *app, r *remote) *cobra.Command {
	force := false
	c := &cobra.Command{Use: "retry ID", Short: "Have a delivery tried again, now",
		Long: "Have a delivery tried again, now. The retry takes the place of the next one, and with it its step of the " +
			"schedule; one that was exhausted or cancelled is reopened for one attempt. What it does is said on stderr.",
		Example: "  hookledger delivery retry dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C\n" +
			"  hookledger delivery retry dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --force", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Delivery]
			body := map[string]any{}
			if force {
				body["force"] = true
			}
			if err := c.Post(cmd.Context(), deliveryPath(args[0])+"/retry", body, &out); err != nil {
				return err
			}
			if out.Value.Retry != nil {
				a.note("%s", out.Value.Retry.Says)
			}
			return output.One(a.printer, deliveryColumns(), out.Raw, out.Value)
		}}
	c.Flags().BoolVar(&force, "force", false, "although the receiver has confirmed it; the request is marked as a replay")
	return c
}

func newDeliveryCancel(a *app, r *remote) *cobra.Command {
	reason := ""
	c := &cobra.Command{Use: "cancel ID", Short: "End a delivery that waits: nothing more is sent",
		Long: "End a delivery that waits: for its first attempt, for a retry, or held. Nothing more is sent, unless " +
			"somebody retries it. While an attempt is in flight it is refused.",
		Example: `  hookledger delivery cancel dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --reason "sent by hand"`, Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Delivery]
			body := map[string]any{}
			if reason != "" {
				body["reason"] = reason
			}
			if err := c.Post(cmd.Context(), deliveryPath(args[0])+"/cancel", body, &out); err != nil {
				return err
			}
			return output.One(a.printer, deliveryColumns(), out.Raw, out.Value)
		}}
	c.Flags().StringVar(&reason, "reason", "", "why, in your own words (at most 1024 bytes); kept sealed on the ledger")
	return c
}
