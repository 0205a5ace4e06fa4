package main

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
)

// recordedStatuses are a delivery's by its records; deliveryStatuses, which --status of deliveries takes, has the
// derived one, too.
var (
	recordedStatuses = []string{string(domain.StatusPending), string(domain.StatusInFlight),
		string(domain.StatusRetrying), string(domain.StatusSucceeded), string(domain.StatusExhausted),
		string(domain.StatusCancelled)}
	deliveryStatuses = slices.Insert(slices.Clone(recordedStatuses), 3, string(domain.StatusHeld))
)

func deliveryColumns() []output.Column[apiclient.Delivery] {
	return []output.Column[apiclient.Delivery]{
		column("id", func(d apiclient.Delivery) string { return d.ID }),
		column("event", func(d apiclient.Delivery) string { return d.Event }),
		status("status", func(d apiclient.Delivery) string { return d.Status }),
		column("last_result", apiclient.Delivery.LastResult),
		column("held", func(d apiclient.Delivery) string {
			if d.Held == nil {
				return ""
			}
			return d.Held.Reason + " since " + output.Time(d.Held.Since)
		}),
		column("attempt_count", func(d apiclient.Delivery) string { return output.Int(d.AttemptCount) }),
		column("next_attempt_at", nextAttempt),
		column("event_id", func(d apiclient.Delivery) string { return d.EventID }), // a narrow terminal cuts ids off
		column("endpoint_id", func(d apiclient.Delivery) string { return d.EndpointID }),
		detail("created_at", func(d apiclient.Delivery) string { return output.Time(d.CreatedAt) }),
		detail("completed_at", func(d apiclient.Delivery) string { return output.TimeOf(d.CompletedAt) }),
		detail("cancelled", apiclient.Delivery.WhyCancelled),
	}
}

// nextAttempt is when the next attempt is to come. What is held, or due already, has none that anybody knows, but where
// what holds it ends by itself.
func nextAttempt(d apiclient.Delivery) string {
	at := d.NextAt
	if d.Held != nil {
		at = d.Held.Until
	}
	if at == nil || at.Before(now()) {
		return ""
	}
	return output.Time(*at)
}

// waitsOf says what a delivery waits for: "endpoint_rate of 50, 3 ahead".
func waitsOf(d apiclient.Delivery) string {
	w := d.Waits
	if w == nil {
		return ""
	}
	s := w.For
	if w.Limit > 0 {
		s += " of " + strconv.FormatFloat(w.Limit, 'f', -1, 64)
	}
	if w.Behind != "" {
		s += " behind " + w.Behind
	}
	if w.Until != nil {
		s += " until " + output.Time(*w.Until)
	}
	if w.Ahead != nil && *w.Ahead > 0 {
		s += ", " + output.Int(*w.Ahead) + " ahead"
	}
	return s
}

func newDelivery(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("delivery", "See who got what, have it sent again, or end it",
		newDeliveryList(a, r), newDeliveryGet(a, r), newDeliveryRetry(a, r), newDeliveryCancel(a, r)), r)
}

func newDeliveryList(a *app, r *remote) *cobra.Command {
	l := &listing{}
	filter := map[string]*string{}
	c := &cobra.Command{Use: "list", Short: "List deliveries, newest first",
		Long: "List deliveries, newest first. By more conditions hookledger query deliveries finds them.",
		Example: "  hookledger delivery list --status exhausted --created-after 24h\n" +
			"  hookledger delivery list --event-id evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, "/v1/deliveries", filters(filter), l, deliveryColumns())
		}}
	l.flags(c.Flags())
	filterFlag(c, filter, "endpoint-id", "only those to this endpoint")
	filterFlag(c, filter, "event-id", "only those of this event")
	filterFlag(c, filter, "event", "only those of this event type, or pattern such as agent.*")
	filterFlag(c, filter, "status", "only "+choice(deliveryStatuses)+" ones")
	choices(c, "status", deliveryStatuses...)
	filterFlag(c, filter, "code", "only those whose last response had this HTTP status")
	filterFlag(c, filter, "replay-id", "only those of this replay")
	return c
}

// filterFlag adds a flag that goes into the query as it is, with underscores.
func filterFlag(c *cobra.Command, into map[string]*string, name, usage string) {
	into[name] = c.Flags().String(name, "", usage)
}

func filters(from map[string]*string) url.Values {
	q := url.Values{}
	for name, v := range from {
		set(q, underscored(name), *v)
	}
	return q
}

func newDeliveryGet(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "get ID", Short: "Show a delivery with its attempts",
		Example: "  hookledger delivery get dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			d, err := apiclient.Fetch[apiclient.Delivery](cmd.Context(), c, deliveryPath(args[0]))
			if err != nil {
				return err
			}
			columns := append(deliveryColumns(), detail("waits", waitsOf))
			if a.printer.Format != output.Table {
				return output.One(a.printer, columns, d.Raw, d.Value)
			}
			return a.showDelivery(cmd.Context(), c, &d, columns)
		}}
}

func deliveryPath(id string) string { return "/v1/deliveries/" + url.PathEscape(id) }
