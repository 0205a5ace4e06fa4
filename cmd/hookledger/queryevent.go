package main

import (
	"encoding/json"
	"net/url"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// exchange is one attempt to give an event to an endpoint; a delivery that was not tried yet has none.
type exchange struct {
	Delivery apiclient.Item[apiclient.Delivery] `json:"delivery"`
	Attempt  *apiclient.Item[apiclient.Attempt] `json:"attempt,omitempty"`
}

// of is a column about the attempt.
func of(value func(apiclient.Attempt) string) func(exchange) string {
	return func(e exchange) string {
		if e.Attempt == nil {
			return ""
		}
		return value(e.Attempt.Value)
	}
}

func exchangeColumns() []output.Column[exchange] {
	return []output.Column[exchange]{
		column("endpoint_id", func(e exchange) string { return e.Delivery.Value.EndpointID }),
		column("url", of(func(t apiclient.Attempt) string {
			if t.Request == nil {
				return ""
			}
			return t.Request.URL
		})),
		status("delivery_status", func(e exchange) string { return e.Delivery.Value.Status }),
		column("replay_id", func(e exchange) string { return e.Delivery.Value.ReplayID }),
		column("n", of(func(t apiclient.Attempt) string { return output.Int(t.N) })),
		column("trigger", of(func(t apiclient.Attempt) string { return t.Trigger })),
		column("sent_at", of(func(t apiclient.Attempt) string { return output.Time(t.StartedAt) })),
		column("signature", of(func(t apiclient.Attempt) string {
			if t.Signature == nil {
				return ""
			}
			return t.Signature.Signatures
		})),
		column("answer", of(apiclient.Attempt.Result)),
		{Name: "answer_body", Value: of(answerBody), Max: maxAnswerShown},
		detail("remote_addr", of(func(t apiclient.Attempt) string { return t.RemoteAddr })),
		detail("duration_ms", of(func(t apiclient.Attempt) string { return output.Float(t.DurationMS, 3) })),
		detail("delivery_id", func(e exchange) string { return e.Delivery.Value.ID }),
		detail("attempt_id", of(func(t apiclient.Attempt) string { return t.ID })),
	}
}

// maxAnswerShown is how much of an answer a table has room for; every other format has all of it.
const maxAnswerShown = 80

func answerBody(t apiclient.Attempt) string {
	if t.Erased {
		return "(erased)"
	}
	if t.Response == nil {
		return ""
	}
	return t.Response.Body
}

func newQueryEvent(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "event ID", Args: args("ID"),
		Short: "Show who got an event, when, with which signature, and what they answered",
		Example: "  hookledger query event evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C\n" +
			"  hookledger query event evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			path := "/v1/events/" + url.PathEscape(args[0])
			event, err := apiclient.Fetch[apiclient.Event](cmd.Context(), c, path)
			if err != nil {
				return err
			}
			list, replayed := output.NewList(a.printer, exchangeColumns()), map[string][]string{}
			for page, err := range apiclient.All[apiclient.Delivery](cmd.Context(), c, path+"/deliveries", nil) {
				if err != nil {
					return err
				}
				for _, d := range page.Data {
					if v := d.Value; v.ReplayID != "" {
						replayed[v.EndpointID] = append(replayed[v.EndpointID], v.ReplayID+" ("+v.Status+")")
					}
					if err := addExchanges(cmd, c, list, d); err != nil {
						return err
					}
				}
			}
			if err := list.Close(); err != nil {
				return err
			}
			if list.Len() == 0 {
				a.note("no endpoint got it: none that is enabled subscribed to %s when it came", event.Value.Event)
			}
			for _, l := range event.Value.LeftOut {
				if by := replayed[l.EndpointID]; len(by) > 0 {
					a.note("%s was left out when it came: %s; replayed by %s", l.EndpointID, l.Reason, output.Join(by))
					continue
				}
				a.note("%s subscribes and did not get it: %s", l.EndpointID, l.Reason)
			}
			return nil
		}}
}

// addExchanges adds a delivery's attempts with all that the ledger holds of each.
func addExchanges(cmd *cobra.Command, c *apiclient.Client, list *output.List[exchange],
	d apiclient.Item[apiclient.Delivery]) error {
	add := func(e exchange) error {
		raw, err := json.Marshal(e)
		if err != nil {
			return err
		}
		return list.Add(raw, e)
	}
	q := url.Values{"delivery_id": {d.Value.ID}, "order": {"asc"}}
	tried := false
	for page, err := range apiclient.All[apiclient.Attempt](cmd.Context(), c, "/v1/attempts", q) {
		if err != nil {
			return err
		}
		for _, t := range page.Data {
			whole, err := apiclient.Fetch[apiclient.Attempt](cmd.Context(), c, "/v1/attempts/"+url.PathEscape(t.Value.ID))
			if err != nil {
				return err
			}
			tried = true
			if err := add(exchange{d, &whole}); err != nil {
				return err
			}
		}
	}
	if tried {
		return nil
	}
	return add(exchange{Delivery: d})
}
