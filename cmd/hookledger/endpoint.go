package main

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

func endpointColumns() []output.Column[apiclient.Endpoint] {
	return []output.Column[apiclient.Endpoint]{
		column("id", func(e apiclient.Endpoint) string { return e.ID }),
		detail("kind", func(e apiclient.Endpoint) string { return e.Kind }),
		column("url", func(e apiclient.Endpoint) string { return e.URL }),
		detail("recipient", recipientOf),
		column("event_types", func(e apiclient.Endpoint) string { return output.Join(e.EventTypes) }),
		status("status", func(e apiclient.Endpoint) string { return e.Status }),
		column("description", func(e apiclient.Endpoint) string { return e.Description }),
		detail("disabled_reason", func(e apiclient.Endpoint) string { return e.DisabledReason }),
		detail("retry_schedule", func(e apiclient.Endpoint) string { return output.Join(e.RetrySchedule) }),
		detail("timeout", func(e apiclient.Endpoint) string { return e.Timeout }),
		detail("rate_limit", func(e apiclient.Endpoint) string { return noZero(output.Float(e.RateLimit, 3)) }),
		detail("max_in_flight", func(e apiclient.Endpoint) string { return output.NonZero(e.MaxInFlight) }),
		detail("channel", func(e apiclient.Endpoint) string { return e.Channel }),
		detail("ordered", func(e apiclient.Endpoint) string { return ordered(e.Ordered, e.OnExhausted) }),
		detail("disable_after", func(e apiclient.Endpoint) string { return e.DisableAfter }),
		detail("metadata", func(e apiclient.Endpoint) string { return joinPairs(e.Metadata) }),
		detail("revision", func(e apiclient.Endpoint) string { return output.Int(e.Revision) }),
		detail("created_at", func(e apiclient.Endpoint) string { return output.Time(e.CreatedAt) }),
		detail("updated_at", func(e apiclient.Endpoint) string { return output.Time(e.UpdatedAt) }),
		detail("signing", signingOf),
		detail("public_key", func(e apiclient.Endpoint) string { return e.Signing.PublicKey }),
		detail("headers", headersOf),
		detail("auth", authOf),
		detail("client_cert", clientCertOf),
		detail("legacy_signature", legacyOf),
		detail("secret", func(e apiclient.Endpoint) string { return e.Secret }),
	}
}

func newEndpoint(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("endpoint", "Say who gets which events",
		newEndpointList(a, r), newEndpointGet(a, r), newEndpointCreate(a, r), newEndpointUpdate(a, r), newEndpointDelete(a,
			r),
		newEndpointHealth(a, r), newEndpointHistory(a, r), newEndpointKeys(a, r), newEndpointRotate(a, r),
		newEndpointSwitch(a, r, "enable", "Let an endpoint's deliveries go on"),
		newEndpointSwitch(a, r, "disable", "Hold an endpoint's deliveries back")), r)
}

func newEndpointList(a *app, r *remote) *cobra.Command {
	l := &listing{}
	c := &cobra.Command{Use: "list", Short: "List the endpoints", Example: "  hookledger endpoint list -o csv",
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, "/v1/endpoints", nil, l, endpointColumns())
		}}
	l.flags(c.Flags())
	return c
}

func newEndpointGet(a *app, r *remote) *cobra.Command {
	when := ""
	c := &cobra.Command{Use: "get ID", Short: "Show an endpoint, as it is or as it was",
		Example: "  hookledger endpoint get ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --as-of 24h",
		Args:    args("ID"), RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			at, err := asOf(when)
			if err != nil {
				return err
			}
			path := endpointPath(args[0])
			if at != "" {
				path += "?as_of=" + url.QueryEscape(at)
			}
			return getOne(cmd, a, c, path, endpointColumns())
		}}
	asOfFlag(c, &when)
	return c
}

func endpointPath(id string) string { return "/v1/endpoints/" + url.PathEscape(id) }

// endpointFlags are what create and update take; body holds only what was given.
type endpointFlags struct {
	url, description string
	timeout          span
	events, meta     []string
	schedule         spans
	rate             float64
	inFlight         int
	ordered          bool
	channel          string
	onExhausted      string
	disableAfter     span
	to               kindFlags
}

func (f *endpointFlags) flags(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.url, "url", "", "where to send to")
	flags.StringSliceVar(&f.events, "events", nil, `event types or patterns, such as agent.*,cron.failed or "*"`)
	flags.StringVar(&f.description, "description", "", "what it is for")
	flags.Var(&f.schedule, "retry-schedule", "the wait before each retry, such as 5s,5m,30m,2h")
	flags.Var(&f.timeout, "timeout", "how long an attempt may take, such as 20s")
	flags.StringSliceVar(&f.meta, "metadata", nil, "key=value, several times or separated by commas")
	flags.Float64Var(&f.rate, "rate-limit", 0, "requests per second at most; 0: no limit")
	flags.IntVar(&f.inFlight, "max-in-flight", 0, "attempts at once at most; 0: the server's default")
	flags.StringVar(&f.channel, "channel", "", "url: this webhook is a channel of cron outputs; what becomes of them there "+
		"is said by cron.delivered and cron.failed")
	flags.BoolVar(&f.ordered, "ordered", false, "one delivery after the other, in the order of the events")
	flags.Var(&f.disableAfter, "disable-after",
		"disable it after so long of nothing but failures, such as 72h; 0s: never (default: the server's)")
	flags.StringVar(&f.onExhausted, "on-exhausted", "",
		"what those behind an exhausted delivery do when ordered: continue (the default) or wait")
	choices(c, "on-exhausted", "continue", "wait")
}

func (f *endpointFlags) body(cmd *cobra.Command) (map[string]any, error) {
	body := map[string]any{}
	given := func(flag, name string, v any) {
		if cmd.Flags().Changed(flag) {
			body[name] = v
		}
	}
	if cmd.Flags().Changed("events") && strings.Join(f.events, "") == "" {
		return nil, usage("--events is empty", `give event types or patterns, such as --events agent.*,cron.failed or --events "*"`)
	}
	meta, err := pairs("--metadata", f.meta)
	if err != nil {
		return nil, err
	}
	given("url", "url", f.url)
	given("events", "event_types", f.events)
	given("description", "description", f.description)
	given("retry-schedule", "retry_schedule", f.schedule)
	given("timeout", "timeout", f.timeout)
	given("metadata", "metadata", meta)
	given("rate-limit", "rate_limit", f.rate)
	given("max-in-flight", "max_in_flight", f.inFlight)
	given("channel", "channel", f.channel)
	given("ordered", "ordered", f.ordered)
	given("on-exhausted", "on_exhausted", f.onExhausted)
	given("disable-after", "disable_after", f.disableAfter)
	return body, nil
}

func newEndpointCreate(a *app, r *remote) *cobra.Command {
	f, demands, key := &endpointFlags{}, &demandFlags{}, &keyFlags{}
	c := &cobra.Command{Use: "create", Short: "Register an endpoint; its signing secret is shown once",
		Example: `  hookledger endpoint create --url https://example.com/hook --events "agent.*,cron.failed"
  hookledger endpoint create --url http://localhost:3000/ --events "*" --retry-schedule 1s,5s,1m
  hookledger endpoint create --url https://example.com/hook --events "cron.*" \
    --ordered --on-exhausted wait
  hookledger endpoint create --url https://n8n.example.com/webhook/7 --events "*" \
    --header X-Api-Key=@key.txt
  hookledger endpoint create --url https://example.com/hook --events "*" \
    --secret-file the-secret-it-has.txt
  hookledger endpoint create --url https://example.com/hook --events "*" --scheme v1a
  hookledger endpoint create --kind slack --url https://hooks.slack.com/services/T0/B0/x \
    --events "agent.*"
  hookledger endpoint create --kind telegram --chat-id -1001234567890 --token-file bot.txt \
    --events "cron.*"
  hookledger endpoint create --kind email --smtp smtp.example.com:587 --from agents@example.com \
    --to ops@example.com --username agents --password-file smtp.txt --events "cron.failed"`, Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := f.body(cmd)
			if err != nil {
				return err
			}
			if err := f.to.missing(cmd); err != nil {
				return err
			}
			if err := errors.Join(f.to.into(a, cmd, body), demands.into(a, body), key.into(body)); err != nil {
				return err
			}
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Endpoint]
			if err := c.Post(cmd.Context(), "/v1/endpoints", body, &out); err != nil {
				return err
			}
			if err := output.One(a.printer, endpointColumns(), out.Raw, out.Value); err != nil {
				return err
			}
			a.noteSecret(&out.Value)
			a.noteWarnings(&out.Value)
			a.noteUnmatched(cmd.Context(), c, f.events)
			return nil
		}}
	f.flags(c)
	f.to.flags(c, false)
	demands.flags(c, false)
	key.flags(c)
	return c
}

// noteWarnings says what the server took and doubts.
func (a *app) noteWarnings(e *apiclient.Endpoint) {
	for _, w := range e.Warnings {
		a.note("warning: %s", w)
	}
}

func newEndpointUpdate(a *app, r *remote) *cobra.Command {
	f, demands := &endpointFlags{}, &demandFlags{}
	revision := ""
	c := &cobra.Command{Use: "update ID", Short: "Change an endpoint; what is not named stays",
		Example: "  hookledger endpoint update ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --events \"*\" --timeout 10s", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.body(cmd)
			if err != nil {
				return err
			}
			if err := errors.Join(f.to.into(a, cmd, body), demands.into(a, body)); err != nil {
				return err
			}
			if len(body) == 0 {
				return usage("nothing to change was named", "give one of the flags of: hookledger endpoint update --help")
			}
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Endpoint]
			match := ""
			if revision != "" {
				match = `"` + strings.Trim(revision, `"`) + `"`
			}
			if err := c.Patch(cmd.Context(), endpointPath(args[0]), body, &out, apiclient.WithHeader("If-Match",
				match)); err != nil {
				return err
			}
			if err := output.One(a.printer, endpointColumns(), out.Raw, out.Value); err != nil {
				return err
			}
			a.noteWarnings(&out.Value)
			a.noteUnmatched(cmd.Context(), c, f.events)
			return nil
		}}
	f.flags(c)
	f.to.flags(c, true)
	demands.flags(c, true)
	c.Flags().StringVar(&revision, "if-revision", "", "change it only if it is still at this revision")
	return c
}

func newEndpointDelete(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "delete ID", Short: "Remove an endpoint; what it had not got is cancelled",
		Example: "  hookledger endpoint delete ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			if err := c.Delete(cmd.Context(), endpointPath(args[0]), nil); err != nil {
				return err
			}
			a.note("%s is removed", args[0])
			return nil
		}}
}

// newEndpointSwitch is enable or disable.
func newEndpointSwitch(a *app, r *remote, verb, short string) *cobra.Command {
	return &cobra.Command{Use: verb + " ID", Short: short,
		Example: "  hookledger endpoint " + verb + " ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Endpoint]
			if err := c.Post(cmd.Context(), endpointPath(args[0])+"/"+verb, nil, &out); err != nil {
				return err
			}
			return output.One(a.printer, endpointColumns(), out.Raw, out.Value)
		}}
}

func joinPairs(m map[string]string) string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return output.Join(out)
}

// ordered says how the deliveries of an endpoint follow each other; empty: each when it is due.
func ordered(on bool, onExhausted string) string {
	switch {
	case !on:
		return ""
	case onExhausted == "":
		return "yes"
	}
	return "yes, on exhausted: " + onExhausted
}

func noZero(s string) string {
	if s == "0" {
		return ""
	}
	return s
}
