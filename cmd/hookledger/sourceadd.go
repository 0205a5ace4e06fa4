package main

import (
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
)

// sourceFlags are what add takes; body holds only what was given.
type sourceFlags struct {
	kind, description, tz string
	fields, statuses      []string
	url, email            string
	every, costsEvery     span
	rateLimit             int
	currency, costPeriod  string
	threshold             float64
	job                   string
	window                span
	credentials           bool // are taken from the environment
}

func newSourceAdd(a *app, r *remote) *cobra.Command {
	f := &sourceFlags{credentials: true}
	c := &cobra.Command{Use: "add", Short: "Add a source",
		Long: `Add a source.

Of kind agenfleet, the server polls AgenFleet's API: agent.status_changed, agent.budget_alert and agent.budget_exhausted
follow from what it reads. The password is taken from HOOKLEDGER_SOURCE_PASSWORD, or from the file that
HOOKLEDGER_SOURCE_PASSWORD_FILE names; an API key in place of a login from HOOKLEDGER_SOURCE_API_KEY, likewise. Both go
into the server's vault, and are never shown.

Of kind cron, the answer shows the path that the cron system posts to, once.`,
		Example: `  HOOKLEDGER_SOURCE_PASSWORD_FILE=password hookledger source add --kind agenfleet \
    --url https://api.agenfleet.ai/api --email bridge@example.com --tz Europe/Berlin \
    --costs-every 1h --currency USD
  hookledger source add --kind cron --job nightly-report
  hookledger source add --kind cron --field jobId=/meta/name --field runId=/meta/run \
    --status PAUSED=error`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := f.body(a, cmd)
			if err != nil {
				return err
			}
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Source]
			if err := c.Post(cmd.Context(), "/v1/sources", body, &out); err != nil {
				return err
			}
			if err := output.One(a.printer, sourceColumns(), out.Raw, out.Value); err != nil {
				return err
			}
			if out.Value.Path != "" {
				a.note("let the cron system post to the server's URL with this path; keep it: it is not shown again")
			}
			return nil
		}}
	c.Flags().StringVar(&f.kind, "kind", "", "agenfleet (its API is polled) or cron (a cron system posts)")
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{domain.SourceAgenFleet, domain.SourceCron},
		cobra.ShellCompDirectiveNoFileComp))
	f.flags(c)
	required(c, "kind")
	return c
}

func (f *sourceFlags) flags(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.description, "description", "", "what it is for")
	flags.StringVar(&f.tz, "tz", "UTC", "time zone in which the days and months of budgets begin")
	flags.StringArrayVar(&f.fields, "field", nil, "NAME=/json/pointer: where to read what is not where it is expected")
	flags.StringArrayVar(&f.statuses, "status", nil, "THEIRS=OURS: what a status of the source's stands for")
	flags.StringVar(&f.url, "url", "", "agenfleet: the API's base, such as https://api.agenfleet.ai/api")
	flags.StringVar(&f.email, "email", "", "agenfleet: whom to log in as")
	flags.Var(&f.every, "every", "agenfleet: how often agents are read (default 1m)")
	flags.Var(&f.costsEvery, "costs-every", "agenfleet: how often costs are read (default never)")
	flags.IntVar(&f.rateLimit, "rate-limit", 0, "agenfleet: requests a minute at most (default 50)")
	flags.StringVar(&f.currency, "currency", "", "agenfleet: of the costs, such as USD")
	flags.StringVar(&f.costPeriod, "cost-period", "",
		"agenfleet: which period costs are of, daily or monthly (default monthly)")
	flags.Float64Var(&f.threshold, "alert-threshold", 0, "agenfleet: where an agent has none, such as 0.8 (default none)")
	flags.StringVar(&f.job, "job", "", "cron: the job, where neither the body nor ?job= names one")
	flags.Var(&f.window, "window",
		"cron: how long an equal post that names no run is a repeat (default 45s)")
}

// body is what a source is added with.
func (f *sourceFlags) body(a *app, cmd *cobra.Command) (map[string]any, error) {
	if f.kind == domain.SourceAgenFleet && f.url == "" {
		return nil, usage("--url is missing", "give the API's base, https://api.agenfleet.ai/api")
	}
	body, err := f.given(a, cmd)
	if err == nil {
		body["kind"], body["tz"] = f.kind, f.tz
	}
	return body, err
}

// given is what the flags say of a source of the kind, and nothing else.
func (f *sourceFlags) given(a *app, cmd *cobra.Command) (map[string]any, error) {
	fields, err := pairs("--field", f.fields)
	if err != nil {
		return nil, err
	}
	statuses, err := pairs("--status", f.statuses)
	if err != nil {
		return nil, err
	}
	given := func(to map[string]any, flag, name string, v any) {
		if cmd.Flags().Changed(flag) {
			to[name] = v
		}
	}
	body := map[string]any{}
	given(body, "tz", "tz", f.tz)
	given(body, "description", "description", f.description)
	given(body, "field", "fields", fields)
	given(body, "status", "statuses", statuses)
	settings := map[string]any{}
	switch f.kind {
	case domain.SourceAgenFleet:
		if err := f.fleet(a, settings, given); err != nil {
			return nil, err
		}
	case domain.SourceCron:
		given(settings, "job", "job", f.job)
		given(settings, "window", "window", f.window)
	default:
		return nil, usage("--kind "+f.kind+" is unknown", "give agenfleet or cron")
	}
	if len(settings) > 0 || f.kind == domain.SourceCron {
		body[f.kind] = settings
	}
	return body, nil
}

// fleet fills in the settings of kind agenfleet, with the credentials.
func (f *sourceFlags) fleet(a *app, to map[string]any, given func(map[string]any, string, string, any)) error {
	given(to, "url", "url", strings.TrimSuffix(f.url, "/"))
	given(to, "email", "email", f.email)
	given(to, "every", "every", f.every)
	given(to, "costs-every", "costs_every", f.costsEvery)
	given(to, "rate-limit", "rate_limit", f.rateLimit)
	given(to, "currency", "currency", f.currency)
	given(to, "cost-period", "cost_period", f.costPeriod)
	given(to, "alert-threshold", "alert_threshold", f.threshold)
	if !f.credentials {
		return nil
	}
	for name, secret := range map[string]string{"password": "SOURCE_PASSWORD", "api_key": "SOURCE_API_KEY"} {
		s, err := a.secret(secret)
		if err != nil {
			return err
		}
		if !s.Empty() {
			to[name] = s.Reveal()
		}
	}
	return nil
}
