package main

import (
	"net/url"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

func eventColumns() []output.Column[apiclient.Event] {
	return []output.Column[apiclient.Event]{
		column("id", func(e apiclient.Event) string { return e.ID }),
		column("event", func(e apiclient.Event) string { return e.Event }),
		column("timestamp", func(e apiclient.Event) string { return output.Time(e.Timestamp) }),
		column("created_at", func(e apiclient.Event) string { return output.Time(e.CreatedAt) }),
		column("size", func(e apiclient.Event) string { return output.Int(e.Size) }),
		detail("subject", func(e apiclient.Event) string { return e.Subject }),
		detail("source", func(e apiclient.Event) string { return e.Source }),
		detail("deliveries", deliveriesOf),
		detail("left_out", leftOutOf),
		detail("body", bodyOf),
	}
}

func newEvent(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("event", "Send events, and see what became of them",
		newEventSend(a, r), newEventList(a, r), newEventGet(a, r)), r)
}

func newEventList(a *app, r *remote) *cobra.Command {
	l, eventType := &listing{}, ""
	refused := &refusedFlags{}
	c := &cobra.Command{Use: "list", Short: "List events, newest first; with --refused those that were posted and not taken",
		Long: refusedHelp,
		Example: "  hookledger event list --event \"agent.*\" --created-after 2h\n" +
			"  hookledger event list --refused --reason schema_mismatch --created-after 24h",
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			if refused.only {
				return listRefused(cmd, a, c, l, refused, eventType)
			}
			if err := refused.unused(); err != nil {
				return err
			}
			q := url.Values{}
			set(q, "event", eventType)
			return listAll(cmd, a, c, "/v1/events", q, l, eventColumns())
		}}
	l.flags(c.Flags())
	refused.flags(c.Flags())
	c.Flags().StringVar(&eventType, "event", "", "only this type, or pattern such as agent.*")
	return c
}

func newEventGet(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "get ID", Short: "Show an event with its data",
		Example: "  hookledger event get evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return getOne(cmd, a, c, "/v1/events/"+url.PathEscape(args[0]), eventColumns())
		}}
}

func deliveriesOf(e apiclient.Event) string {
	if len(e.Deliveries) == 0 {
		return output.NonZero(e.DeliveryCount)
	}
	ids := make([]string, len(e.Deliveries))
	for i, d := range e.Deliveries {
		ids[i] = d.ID + " to " + d.EndpointID
	}
	return output.Join(ids)
}

func leftOutOf(e apiclient.Event) string {
	out := make([]string, len(e.LeftOut))
	for i, l := range e.LeftOut {
		out[i] = l.EndpointID + " (" + l.Reason + ")"
	}
	return output.Join(out)
}

func bodyOf(e apiclient.Event) string {
	if e.Erased {
		return "(erased)"
	}
	return string(e.Body)
}
