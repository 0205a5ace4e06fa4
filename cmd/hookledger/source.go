package main

import (
	"errors"
	"maps"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

func sourceColumns() []output.Column[apiclient.Source] {
	return []output.Column[apiclient.Source]{
		column("id", func(s apiclient.Source) string { return s.ID }),
		column("kind", func(s apiclient.Source) string { return s.Kind }),
		status("status", func(s apiclient.Source) string { return s.Status.State }),
		column("agents", func(s apiclient.Source) string { return output.NonZero(s.Status.Agents) }),
		column("read_at", func(s apiclient.Source) string { return output.TimeOf(s.Status.ReadAt) }),
		column("events", func(s apiclient.Source) string { return output.NonZero(s.Events.Count) }),
		column("last_event_at", func(s apiclient.Source) string { return output.TimeOf(s.Events.LastAt) }),
		column("gap_since", func(s apiclient.Source) string { return output.TimeOf(s.Status.GapSince) }),
		column("code", func(s apiclient.Source) string { return s.Status.Code }),
		{Name: "description", Value: func(s apiclient.Source) string { return s.Description }, Max: 40},
		detail("tz", func(s apiclient.Source) string { return s.TZ }),
		detail("url", func(s apiclient.Source) string { return s.AgenFleet.URL }),
		detail("auth", func(s apiclient.Source) string { return s.AgenFleet.Auth }),
		detail("every", func(s apiclient.Source) string { return s.AgenFleet.Every }),
		detail("costs_every", func(s apiclient.Source) string { return s.AgenFleet.CostsEvery }),
		detail("rate_limit", func(s apiclient.Source) string { return output.NonZero(s.AgenFleet.RateLimit) }),
		detail("currency", func(s apiclient.Source) string { return s.AgenFleet.Currency }),
		detail("cost_period", func(s apiclient.Source) string { return s.AgenFleet.CostPeriod }),
		detail("alert_threshold", func(s apiclient.Source) string {
			return noZero(output.Float(s.AgenFleet.AlertThreshold, 4))
		}),
		detail("job", func(s apiclient.Source) string { return s.Cron.Job }),
		detail("window", func(s apiclient.Source) string { return s.Cron.Window }),
		detail("token_prefix", func(s apiclient.Source) string { return s.Cron.Prefix }),
		detail("fields", func(s apiclient.Source) string { return joinPairs(s.Fields) }),
		detail("statuses", func(s apiclient.Source) string { return joinPairs(s.Statuses) }),
		detail("costs_at", func(s apiclient.Source) string { return output.TimeOf(s.Status.CostsAt) }),
		detail("failed_polls", func(s apiclient.Source) string { return output.NonZero(s.Status.FailedPolls) }),
		detail("message", func(s apiclient.Source) string { return s.Status.Message }),
		detail("revision", func(s apiclient.Source) string { return output.Int(s.Revision) }),
		detail("created_at", func(s apiclient.Source) string { return output.Time(s.CreatedAt) }),
		detail("updated_at", func(s apiclient.Source) string { return output.Time(s.UpdatedAt) }),
		detail("path", func(s apiclient.Source) string { return s.Path }),
	}
}

func newSource(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("source", "Say what comes in from elsewhere: AgenFleet's API, cron systems",
		newSourceAdd(a, r), newSourceList(a, r), newSourceGet(a, r), newSourceTest(a, r), newSourceUpdate(a, r),
		newSourceRotate(a, r),
		newSourceRemove(a, r)), r)
}

func newSourceList(a *app, r *remote) *cobra.Command {
	l := &listing{}
	c := &cobra.Command{Use: "list", Short: "List the sources, and how polling them goes",
		Long: `List the sources, and how polling them goes: a gap with its code and since when nothing is known. A cron system
is not polled, it posts. Of both it says how many events came, and when the last one did; the events themselves,
hookledger event list shows.`,
		Example: "  hookledger source list", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, "/v1/sources", nil, l, sourceColumns())
		}}
	l.flags(c.Flags())
	return c
}

func sourcePath(id string) string { return "/v1/sources/" + url.PathEscape(id) }

func newSourceGet(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "get ID", Short: "Show a source",
		Example: "  hookledger source get src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return getOne(cmd, a, c, sourcePath(args[0]), sourceColumns())
		}}
}

func newSourceRemove(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "remove ID", Short: "End a source, and destroy its credentials",
		Example: "  hookledger source remove src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			if err := c.Delete(cmd.Context(), sourcePath(args[0]), nil); err != nil {
				return err
			}
			a.note("%s is removed", args[0])
			return nil
		}}
}

func sourceTestColumns() []output.Column[apiclient.SourceTest] {
	return []output.Column[apiclient.SourceTest]{
		column("ok", func(t apiclient.SourceTest) string { return output.YesNo(t.OK) }),
		column("agents", func(t apiclient.SourceTest) string { return output.NonZero(t.Agents) }),
		column("statuses", func(t apiclient.SourceTest) string {
			var out []string
			for _, s := range slices.Sorted(maps.Keys(t.Statuses)) {
				out = append(out, s+"="+output.Int(t.Statuses[s]))
			}
			return output.Join(out)
		}),
		column("budgets", func(t apiclient.SourceTest) string { return output.NonZero(t.Budgets) }),
		column("costs", func(t apiclient.SourceTest) string { return output.NonZero(t.Costs) }),
		column("code", func(t apiclient.SourceTest) string { return t.Code }),
		detail("event", func(t apiclient.SourceTest) string { return t.Event.Event }),
		detail("event_id", func(t apiclient.SourceTest) string { return t.Event.ID }),
		detail("data", func(t apiclient.SourceTest) string { return string(t.Event.Data) }),
	}
}

func newSourceTest(a *app, r *remote) *cobra.Command {
	var body, job string
	c := &cobra.Command{Use: "test ID", Short: "Try a source out; nothing is recorded",
		Long: `Try a source out, from the server: log in and read all that polling would read, or, for a cron source, show
what a post would become. Nothing is recorded. The exit code is 5 when it does not work.`,
		Example: `  hookledger source test src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C
  hookledger source test src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C \
    --body '{"job_id": "report", "status": "ok"}'`,
		Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := a.content("--body", body)
			if err != nil {
				return err
			}
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.SourceTest]
			if err := c.Post(cmd.Context(), sourcePath(args[0])+"/test", map[string]any{"body": string(raw), "job": job},
				&out); err != nil {
				return err
			}
			if err := output.One(a.printer, sourceTestColumns(), out.Raw, out.Value); err != nil {
				return err
			}
			if !out.Value.OK {
				return &unverifiedError{errors.New("the source does not work: " + out.Value.Message)}
			}
			return nil
		}}
	c.Flags().StringVar(&body, "body", "", "of a cron source: a post, or @file, as the cron system sends it")
	c.Flags().StringVar(&job, "job", "", "of a cron source: the job that the URL names")
	return c
}
