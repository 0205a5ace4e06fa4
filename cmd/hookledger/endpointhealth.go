package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

func newEndpointHealth(a *app, r *remote) *cobra.Command {
	when := ""
	c := &cobra.Command{Use: "health ID", Short: "Say how an endpoint does, and which records say so",
		Long: `Say how an endpoint does: its state (healthy, degraded, failing or disabled) with the records that led to it,
the breaker, success rate and latencies (in milliseconds) of the last five minutes, hour and day, and what waits for it.

because names records, with the stream that each stands in: hookledger record list --stream shows it.`,
		Example: "  hookledger endpoint health ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C\n" +
			"  hookledger endpoint health ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --as-of 2h -o json",
		Args: args("ID"), RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			at, err := asOf(when)
			if err != nil {
				return err
			}
			path := endpointPath(args[0]) + "/health"
			if at != "" {
				path += "?as_of=" + url.QueryEscape(at)
			}
			h, err := apiclient.Fetch[apiclient.Health](cmd.Context(), c, path)
			if err != nil {
				return err
			}
			return a.showHealth(h)
		}}
	asOfFlag(c, &when)
	return c
}

func healthColumns() []output.Column[apiclient.Health] {
	return []output.Column[apiclient.Health]{
		column("endpoint_id", func(h apiclient.Health) string { return h.EndpointID }),
		status("state", func(h apiclient.Health) string { return h.State }),
		column("since", func(h apiclient.Health) string { return output.TimeOf(h.Since) }),
		column("reason", func(h apiclient.Health) string { return h.Reason }),
		column("because", func(h apiclient.Health) string {
			var out []string
			for _, c := range h.Causes {
				out = append(out, strings.TrimSuffix(c.RecordID+" in "+c.Stream, " in "))
			}
			return output.Join(out)
		}),
		column("breaker", func(h apiclient.Health) string { return h.Breaker }),
		column("hold", holdOf),
		column("places", func(h apiclient.Health) string { return output.NonZero(h.Places) }),
		column("consecutive_failures", func(h apiclient.Health) string { return output.Int(h.Failures) }),
		column("last_success_at", func(h apiclient.Health) string { return output.TimeOf(h.LastOK) }),
		column("last_failure_at", func(h apiclient.Health) string {
			return strings.TrimSpace(output.TimeOf(h.LastFailed) + " " + h.LastCode)
		}),
		column("in_flight", func(h apiclient.Health) string { return output.Int(h.InFlight) }),
		column("pending", pendingOf),
		column("last_5m", func(h apiclient.Health) string { return windowOf(h.Windows["5m"]) }),
		column("last_1h", func(h apiclient.Health) string { return windowOf(h.Windows["1h"]) }),
		column("last_24h", func(h apiclient.Health) string { return windowOf(h.Windows["24h"]) }),
		column("changes", changesOfHealth),
		column("as_of", func(h apiclient.Health) string { return output.Time(h.At) }),
	}
}

// showHealth prints an endpoint's health; as a table its changes are one of their own.
func (a *app) showHealth(h apiclient.Item[apiclient.Health]) error {
	columns := healthColumns()
	if a.printer.Format != output.Table {
		return output.One(a.printer, columns, h.Raw, h.Value)
	}
	columns = slices.DeleteFunc(columns, func(c output.Column[apiclient.Health]) bool { return c.Name == "changes" })
	if err := output.One(a.printer, columns, h.Raw, h.Value); err != nil || len(h.Value.Changes) == 0 {
		return err
	}
	a.blank()
	list := output.NewList(a.printer, []output.Column[apiclient.HealthChange]{
		column("changed_at", func(c apiclient.HealthChange) string { return output.Time(c.At) }),
		status("state", func(c apiclient.HealthChange) string { return c.State }),
		column("breaker", func(c apiclient.HealthChange) string { return c.Breaker }),
		column("reason", func(c apiclient.HealthChange) string { return c.Reason }),
		{Name: "because", Value: func(c apiclient.HealthChange) string { return output.Join(c.Because) }, Below: true},
	})
	for _, c := range slices.Backward(h.Value.Changes) { // the newest first
		if err := list.Add(nil, c); err != nil {
			return err
		}
	}
	return list.Close()
}

func holdOf(h apiclient.Health) string {
	if h.Hold == nil {
		return ""
	}
	says := h.Hold.Reason + " since " + output.Time(h.Hold.Since)
	if h.Hold.Until != nil {
		says += " until " + output.Time(*h.Hold.Until)
	}
	if h.Hold.RecordID != "" {
		says += " because of " + h.Hold.RecordID
	}
	return says + "; " + h.Hold.Says
}

func pendingOf(h apiclient.Health) string {
	switch {
	case h.Pending == nil:
		return ""
	case h.Oldest == nil:
		return output.Int(*h.Pending)
	}
	return output.Int(*h.Pending) + ", the oldest since " + output.Time(*h.Oldest)
}

// windowOf writes a window in one line, the commonest errors first.
func windowOf(w apiclient.HealthWindow) string {
	if w.Attempts == 0 {
		return "no attempt"
	}
	out := fmt.Sprintf("%d attempts, %s %% succeeded, p50 %s ms, p95 %s ms, p99 %s ms", w.Attempts,
		output.Float(100*w.SuccessRate, 1), output.Float(w.P50, 1), output.Float(w.P95, 1), output.Float(w.P99, 1))
	codes := slices.SortedFunc(maps.Keys(w.Errors), func(a, b string) int {
		return cmp.Or(cmp.Compare(w.Errors[b], w.Errors[a]), cmp.Compare(a, b))
	})
	for _, code := range codes {
		out += fmt.Sprintf(", %d x %s", w.Errors[code], code)
	}
	return out
}

// changesOfHealth writes the last changes in one cell, the newest first.
func changesOfHealth(h apiclient.Health) string {
	var lines []string
	for _, c := range slices.Backward(h.Changes) {
		lines = append(lines, fmt.Sprintf("%s %s, breaker %s: %s, %s", output.Time(c.At), c.State, c.Breaker, c.Reason,
			output.Join(c.Because)))
	}
	return strings.Join(lines, "; ")
}
