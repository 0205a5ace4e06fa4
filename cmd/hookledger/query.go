package main

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// querying holds the conditions that the three lists of query all take.
type querying struct {
	listing
	plain map[string]*string // go into the query as they are
	times map[string]*string // a time, or how long ago
	code  string
	any   string
	least int
	total bool
}

func (q *querying) flags(c *cobra.Command) {
	q.listing.flags(c.Flags())
	q.plain, q.times = map[string]*string{}, map[string]*string{}
	for _, f := range []struct{ name, usage string }{
		{"event", "of this event type, or pattern such as agent.*"},
		{"endpoint-id", "to this endpoint"}, {"event-id", "of this event"}, {"delivery-id", "of this delivery"},
		{"replay-id", "that this replay scheduled"},
		{"subject", "about this subject; what the other conditions select is opened for it, so give a time as well"},
		{"text", "whose event says these words; \"disk full\" in quotes is a phrase, time* a beginning"},
		{"error-code", "that failed so, such as timeout or connection_refused; of deliveries the last attempt"},
		{"trigger", "that were tried for this reason: initial, automatic, manual or replay"},
		{"latency-at-least", "that took so long, such as 1.5s"},
		{"remote-addr", "that went to this address, with or without its port"},
	} {
		filterFlag(c, q.plain, f.name, "only those "+f.usage)
	}
	for _, f := range []struct{ name, usage string }{{"occurred", "events happened, as their producers say"},
		{"received", "events were accepted"}, {"attempted", "attempts started"}} {
		filterFlag(c, q.times, f.name+"-after",
			"only those whose "+f.usage+" after this: a time, or how long ago, such as 2h")
		filterFlag(c, q.times, f.name+"-before", "only those whose "+f.usage+" before this, likewise")
	}
	c.Flags().StringVar(&q.code, "code", "",
		"only those with this HTTP status, or class such as 5xx; of deliveries the last answer")
	c.Flags().StringVar(&q.any, "any-code", "",
		"only those with an attempt, the last or an earlier one, of this HTTP status, or class such as 5xx")
	c.Flags().IntVar(&q.least, "attempts-at-least", 0, "only those with so many attempts")
	c.Flags().BoolVar(&q.total, "total", false, "also say how many there are, on stderr")
}

// statusOrClass is an HTTP status, a class of them, or nothing.
var statusOrClass = regexp.MustCompile(`^([1-9][0-9]{2}|[1-5]xx)?$`)

func (q *querying) values() (url.Values, error) {
	out := filters(q.plain)
	for name, v := range q.times {
		if *v == "" {
			continue
		}
		t, err := moment("--"+name, *v)
		if err != nil {
			return nil, err
		}
		out.Set(underscored(name), t.Format(time.RFC3339Nano))
	}
	for name, code := range map[string]string{"code": q.code, "any_code": q.any} {
		if strings.HasSuffix(code, "xx") {
			name += "_class"
		}
		if !statusOrClass.MatchString(code) {
			return nil, usage("--"+strings.ReplaceAll(strings.TrimSuffix(name, "_class"), "_", "-")+
				": \""+code+"\" is no HTTP status", "write it like 503, or 5xx for a class")
		}
		set(out, name, code)
	}
	set(out, "attempts_at_least", output.NonZero(q.least))
	if q.total {
		out.Set("total", "true")
	}
	return out, nil
}

func newQuery(a *app) *cobra.Command {
	r := &remote{}
	events := newQueryList(a, r, "events", "event", "/v1/events", eventColumns())
	filterOnly(events, "sort", "received (the default) or occurred: in the order of the events' own timestamps")
	filterOnly(events, "status", "only those with a delivery that is pending, in_flight, retrying, succeeded, …")
	deliveries := newQueryList(a, r, "deliveries", "delivery", "/v1/deliveries", deliveryColumns())
	filterOnly(deliveries, "status", "only "+choice(deliveryStatuses)+" ones")
	attempts := newQueryList(a, r, "attempts", "attempt", "/v1/attempts", foundAttemptColumns())
	filterOnly(attempts, "status", "only "+choice(attemptStatuses)+" ones")
	filterOnly(attempts, "delivery-status", "only those of deliveries that are pending, succeeded, exhausted, …")
	choices(events, "sort", "received", "occurred")
	choices(events, "status", recordedStatuses...)
	choices(deliveries, "status", deliveryStatuses...)
	choices(attempts, "status", attemptStatuses...)
	choices(attempts, "delivery-status", recordedStatuses...)
	return withRemote(group("query", "Find any event, delivery or attempt by any mix of conditions",
		events, deliveries, attempts, newQueryEvent(a, r), newQueryOpen(a, r), newQueryRouting(a, r),
		newQueryServiceLevels(a, r)), r)
}

// filterOnly adds a flag that one of the lists takes.
func filterOnly(c *cobra.Command, name, usage string) { c.Flags().String(name, "", usage) }

func foundAttemptColumns() []output.Column[apiclient.Attempt] {
	columns := attemptColumns()
	for i := range columns {
		switch columns[i].Name {
		case "delivery_id", "remote_addr":
			columns[i].Detail = false
		}
	}
	return columns
}

func newQueryList[T any](a *app, r *remote, what, one, path string, columns []output.Column[T]) *cobra.Command {
	q := &querying{}
	c := &cobra.Command{Use: what, Short: "Find " + what + ", newest first", Args: args(),
		Long: "Find " + what + " by any mix of conditions, newest first. A condition on an attempt finds deliveries with one such " +
			"attempt,\na condition on a delivery finds events with one such delivery. " +
			"--code and --error-code are of a delivery's last\nattempt: one that failed at first and succeeded since is found by --any-code 5xx.\n\n" +
			"--created-after and --created-before are of the rows that are listed, and the way to go through many of them: an\nevent is " +
			"created when it is received, a delivery when it is routed or replayed, an attempt when it starts. Of deliveries\n" +
			"and attempts --received-after is about their event, which may be much older; --occurred-after is that event's own time.\n\n" +
			"With --all and -o ndjson, json or csv " +
			"any number of rows is written as they come.",
		Example: "  hookledger query " + what + " --event \"agent.*\" --received-after 24h --code 5xx --total\n" +
			"  hookledger query " + what + " --all -o csv \\\n" +
			"    --endpoint-id ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C > " + one + ".csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			values, err := q.values()
			if err != nil {
				return err
			}
			for _, name := range []string{"sort", "status", "delivery-status"} {
				if f := cmd.Flags().Lookup(name); f != nil {
					set(values, underscored(name), f.Value.String())
				}
			}
			return listAll(cmd, a, c, path, values, &q.listing, columns)
		}}
	q.flags(c)
	return c
}
