package main

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

func historyColumns() []output.Column[apiclient.EndpointChange] {
	return []output.Column[apiclient.EndpointChange]{
		column("revision", func(c apiclient.EndpointChange) string { return output.Int(c.Revision) }),
		column("recorded_at", func(c apiclient.EndpointChange) string { return output.Time(c.RecordedAt) }),
		column("type", func(c apiclient.EndpointChange) string { return c.Type }),
		column("actor", func(c apiclient.EndpointChange) string { return c.Actor.Kind + " " + c.Actor.ID }),
		{Name: "changes", Value: changesOf, Below: true},
		detail("position", func(c apiclient.EndpointChange) string { return output.Int(c.Position) }),
		detail("record_id", func(c apiclient.EndpointChange) string { return c.RecordID }),
	}
}

// changesOf writes each field before and after.
func changesOf(c apiclient.EndpointChange) string {
	var out []string
	for _, f := range c.Changes {
		switch {
		case len(f.Before) == 0:
			out = append(out, f.Field+": "+plain(f.After))
		default:
			out = append(out, f.Field+": "+plain(f.Before)+" -> "+plain(f.After))
		}
	}
	return output.Join(out)
}

// plain is a JSON text without its quotes, and "none" where there is none.
func plain(raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0:
		return "none"
	case json.Unmarshal(raw, &s) == nil:
		return s
	}
	return string(raw)
}

func newEndpointHistory(a *app, r *remote) *cobra.Command {
	l := &listing{}
	c := &cobra.Command{Use: "history ID", Short: "List an endpoint's changes: who made each, and what was before and after",
		Example: "  hookledger endpoint history ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --order asc", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, endpointPath(args[0])+"/history", nil, l, historyColumns())
		}}
	l.flags(c.Flags())
	return c
}

// asOfFlag adds the flag that names a moment of the past.
func asOfFlag(c *cobra.Command, into *string) {
	c.Flags().StringVar(into, "as-of", "", "as it was then: a position, a time (RFC 3339), or how long ago, such as 2h")
}

// asOf reads it: a number alone is a position.
func asOf(s string) (string, error) {
	if _, err := strconv.ParseUint(s, 10, 64); s == "" || err == nil {
		return s, nil
	}
	t, err := moment("--as-of", s)
	if err != nil {
		return "", err
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}

func newQueryRouting(a *app, r *remote) *cobra.Command {
	when := ""
	c := &cobra.Command{Use: "routing TYPE", Short: "Say who gets events of a type, now or at a moment of the past",
		Example: "  hookledger query routing agent.budget_alert --as-of 2026-02-01T15:04:05Z", Args: args("TYPE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			q := url.Values{"event": {args[0]}}
			at, err := asOf(when)
			if err != nil {
				return err
			}
			set(q, "as_of", at)
			item, err := apiclient.Fetch[apiclient.Routing](cmd.Context(), c, "/v1/routing?"+q.Encode())
			if err != nil {
				return err
			}
			if err := output.One(a.printer, routingColumns(), item.Raw, item.Value); err != nil {
				return err
			}
			if len(item.Value.Matches) == 0 {
				a.note("no endpoint gets it: subscribe one with: hookledger endpoint update ID --events, or endpoint create")
			}
			return nil
		}}
	asOfFlag(c, &when)
	return c
}

func routingColumns() []output.Column[apiclient.Routing] {
	return []output.Column[apiclient.Routing]{
		column("event", func(r apiclient.Routing) string { return r.Event }),
		column("matches", func(r apiclient.Routing) string {
			var out []string
			for _, m := range r.Matches {
				out = append(out, m.EndpointID+" (revision "+output.Int(m.Revision)+")")
			}
			return output.Join(out)
		}),
		column("left_out", func(r apiclient.Routing) string {
			var out []string
			for _, l := range r.LeftOut {
				out = append(out, l.EndpointID+" ("+l.Reason+")")
			}
			return output.Join(out)
		}),
		column("routed_as_of", func(r apiclient.Routing) string { return r.RoutedAsOf }),
	}
}

func newQueryOpen(a *app, r *remote) *cobra.Command {
	l, when, endpoint := &listing{}, "", ""
	c := &cobra.Command{Use: "open", Short: "List the deliveries that had not ended, now or at a moment of the past",
		Long: "List the deliveries that were pending, in flight, retrying or held, with the status, the attempts and the next " +
			"attempt's\ntime of then: each is computed from its records.",
		Example: "  hookledger query open --as-of 24h --endpoint-id ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			q := url.Values{}
			at, err := asOf(when)
			if err != nil {
				return err
			}
			set(q, "as_of", at)
			set(q, "endpoint_id", endpoint)
			return listAll(cmd, a, c, "/v1/open-deliveries", q, l, deliveryColumns())
		}}
	l.flags(c.Flags())
	asOfFlag(c, &when)
	c.Flags().StringVar(&endpoint, "endpoint-id", "", "only those to this endpoint")
	return c
}
