package main

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// newQueryServiceLevels is the command query service-levels.
func newQueryServiceLevels(a *app, r *remote) *cobra.Command {
	var by []string
	values := map[string]*string{}
	c := &cobra.Command{Use: "service-levels", Args: args(),
		Short: "How long events took to their delivery: p50, p95, p99, and the share in time",
		Long: "How long events took from their receipt to the first success of their delivery, in milliseconds, by the\n" +
			"month (UTC) of the receipt: p50, p95, p99, and the share within a target. What is exhausted or still open is\n" +
			"not within; what was cancelled does not count, and what replays deliver neither. Percentiles are exact or up to 0.8 % too\n" +
			"long, never too short.",
		Example: "  hookledger query service-levels --month 2026-11 --target 30s --by endpoint,event\n" +
			"  hookledger query service-levels --month 2026-01 --through 2026-12 --by month -o csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			q := url.Values{}
			for name, v := range values {
				set(q, underscored(name), *v)
			}
			set(q, "by", strings.Join(by, ","))
			var page apiclient.Page[apiclient.ServiceLevel]
			if err := c.Get(cmd.Context(), "/v1/service-levels", q, &page); err != nil {
				return err
			}
			list := output.NewList(a.printer, serviceLevelColumns(by))
			for _, item := range page.Data {
				if err := list.Add(item.Raw, item.Value); err != nil {
					return err
				}
			}
			if err := list.Close(); err != nil {
				return err
			}
			if list.Len() == 0 && a.printer.Format == output.Table {
				a.note("no event was received then; name the months with --month and --through")
			}
			return nil
		}}
	c.Flags().StringSliceVar(&by, "by", nil, "a row for each month, endpoint or event: one or more of them, with commas")
	filterFlag(c, values, "month", "the (first) month of the receipt, such as 2026-11; default: this month, in UTC")
	filterFlag(c, values, "through", "the last month, such as 2026-12; default: the same")
	filterFlag(c, values, "target", "within how long a delivery should succeed, such as 30s (the default) or 1m30s")
	filterFlag(c, values, "endpoint-id", "only those to this endpoint")
	filterFlag(c, values, "event", "only those of this event type, or pattern such as agent.*")
	return c
}

func serviceLevelColumns(by []string) []output.Column[apiclient.ServiceLevel] {
	type row = apiclient.ServiceLevel
	var out []output.Column[row]
	for _, name := range []string{"month", "endpoint", "event"} {
		value := map[string]func(row) string{"month": func(s row) string { return s.Month },
			"endpoint": func(s row) string { return s.EndpointID }, "event": func(s row) string { return s.Event }}[name]
		if name == "endpoint" {
			out = append(out, output.Column[row]{Name: "endpoint_id", Value: value, Detail: !has(by, name)})
			continue
		}
		out = append(out, output.Column[row]{Name: name, Value: value, Detail: !has(by, name)})
	}
	float := func(value func(row) *float64, digits int) func(row) string {
		return func(s row) string {
			if v := value(s); v != nil {
				return output.Float(*v, digits)
			}
			return ""
		}
	}
	return append(out,
		column("deliveries", func(s row) string { return output.Int(s.Deliveries) }),
		column("succeeded", func(s row) string { return output.Int(s.Succeeded) }),
		column("exhausted", func(s row) string { return output.Int(s.Exhausted) }),
		column("cancelled", func(s row) string { return output.Int(s.Cancelled) }),
		column("open", func(s row) string { return output.Int(s.Open) }),
		column("p50_ms", float(func(s row) *float64 { return s.P50MS }, 1)),
		column("p95_ms", float(func(s row) *float64 { return s.P95MS }, 1)),
		column("p99_ms", float(func(s row) *float64 { return s.P99MS }, 1)),
		column("within", func(s row) string { return output.Int(s.Within) }),
		column("share", float(func(s row) *float64 { return s.Share }, 4)))
}

func has(list []string, s string) bool {
	for _, l := range list {
		if strings.TrimSpace(l) == s {
			return true
		}
	}
	return false
}
