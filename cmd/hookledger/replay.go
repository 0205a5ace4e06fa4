package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

func replayColumns() []output.Column[apiclient.Replay] {
	return []output.Column[apiclient.Replay]{
		column("id", func(r apiclient.Replay) string { return r.ID }),
		status("status", func(r apiclient.Replay) string { return r.Status }),
		column("planned", func(r apiclient.Replay) string { return output.Int(r.Planned) }),
		column("delivered", func(r apiclient.Replay) string { return output.Int(r.Delivered) }),
		column("failed", func(r apiclient.Replay) string { return output.Int(r.Failed) }),
		column("created_at", func(r apiclient.Replay) string { return output.Time(r.CreatedAt) }),
		column("created_by", func(r apiclient.Replay) string { return r.CreatedBy }),
		{Name: "reason", Value: func(r apiclient.Replay) string { return r.Reason }, Max: 32},
		detail("endpoint_id", func(r apiclient.Replay) string { return r.EndpointID }),
		detail("select", replaySelection),
		detail("because", func(r apiclient.Replay) string { return r.Because }),
		detail("skipped", func(r apiclient.Replay) string { return joinCounts(r.Skipped) }),
		detail("scheduled", func(r apiclient.Replay) string { return output.Int(r.Scheduled) }),
		detail("pending", func(r apiclient.Replay) string { return output.Int(r.Pending) }),
		detail("bytes", func(r apiclient.Replay) string { return output.Int(r.Bytes) }),
		detail("match", func(r apiclient.Replay) string { return r.Match }),
		detail("rate", func(r apiclient.Replay) string { return noZero(output.Float(r.Rate, 3)) }),
		detail("gap_factor", func(r apiclient.Replay) string { return noZero(output.Float(r.GapFactor, 6)) }),
		detail("ordered", func(r apiclient.Replay) string { return output.YesNo(r.Ordered) }),
		detail("first", func(r apiclient.Replay) string { return replayPair(r.First) }),
		detail("last", func(r apiclient.Replay) string { return replayPair(r.Last) }),
		detail("digest", func(r apiclient.Replay) string { return r.Digest }),
		detail("as_of", func(r apiclient.Replay) string { return r.AsOf }),
		detail("completed_at", func(r apiclient.Replay) string { return output.TimeOf(r.CompletedAt) }),
	}
}

// replaySelection writes what is selected as the API names it: "missed_by=ep_…, created_after=…".
func replaySelection(r apiclient.Replay) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Select)) {
		value := fmt.Sprint(r.Select[name])
		if several, ok := r.Select[name].([]any); ok {
			value = strings.Trim(fmt.Sprint(several), "[]")
		}
		parts = append(parts, name+"="+value)
	}
	return output.Join(parts)
}

func replayPair(e apiclient.ReplayEvent) string {
	if e.EventID == "" {
		return ""
	}
	return strings.Join([]string{output.Time(e.CreatedAt), e.Event, e.EventID, "to", e.EndpointID}, " ")
}

func joinCounts(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s: %d", k, m[k]))
	}
	return output.Join(parts)
}

func newReplay(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("replay", "Send events again, and see how it goes", newReplayCreate(a, r),
		newReplayList(a, r), newReplayGet(a, r), newReplayWatch(a, r),
		newReplayChange(a, r, "pause", "Hold a replay: what is in flight ends, nothing else of it goes out"),
		newReplayChange(a, r, "resume", "Let a paused replay go on"),
		newReplayChange(a, r, "cancel", "End a replay: what is in flight ends, what waits is cancelled"),
		newReplayFailures(a, r), newReplayRetry(a, r)), r)
}

func newReplayList(a *app, r *remote) *cobra.Command {
	l := &listing{}
	filter := map[string]*string{}
	c := &cobra.Command{Use: "list", Short: "List replays, newest first",
		Example: "  hookledger replay list --status running", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, "/v1/replays", filters(filter), l, replayColumns())
		}}
	l.flags(c.Flags())
	filterFlag(c, filter, "status", "only planned, running, paused, completed or cancelled ones")
	choices(c, "status", "planned", "running", "paused", "completed", "cancelled")
	return c
}

func replayPath(id string) string { return "/v1/replays/" + url.PathEscape(id) }

func newReplayGet(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "get ID", Short: "Show a replay, and how far it is",
		Example: "  hookledger replay get rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return getOne(cmd, a, c, replayPath(args[0]), replayColumns())
		}}
}

func newReplayChange(a *app, r *remote, verb, short string) *cobra.Command {
	return &cobra.Command{Use: verb + " ID", Short: short,
		Example: "  hookledger replay " + verb + " rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Replay]
			if err := c.Post(cmd.Context(), replayPath(args[0])+"/"+verb, nil, &out); err != nil {
				return err
			}
			return output.One(a.printer, replayColumns(), out.Raw, out.Value)
		}}
}

func newReplayFailures(a *app, r *remote) *cobra.Command {
	l := &listing{}
	c := &cobra.Command{Use: "failures ID", Short: "List what a replay could not deliver",
		Example: "  hookledger replay failures rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C -o csv", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, replayPath(args[0])+"/failures", nil, l, deliveryColumns())
		}}
	l.flags(c.Flags())
	return c
}

func newReplayRetry(a *app, r *remote) *cobra.Command {
	reason, watch := "", false
	c := &cobra.Command{Use: "retry-failures ID", Short: "Send again what a replay could not deliver, and that alone",
		Example: "  hookledger replay retry-failures rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Replay]
			err = c.Post(cmd.Context(), replayPath(args[0])+"/retry-failures", map[string]any{"reason": reason}, &out)
			if apiclient.CodeOf(err) == matchesNothing {
				a.note("nothing to send: %s has no failures that can be sent again", args[0])
				return nil
			}
			if err != nil {
				return err
			}
			return a.replayMade(cmd.Context(), c, out, watch)
		}}
	c.Flags().StringVar(&reason, "reason", "", "why; kept on the ledger")
	c.Flags().BoolVar(&watch, "watch", false, "watch it until it ends")
	return c
}

func newReplayWatch(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "watch ID", Short: "Watch a replay until it ends",
		Long: `Watch a replay until it ends: with a bar, its rate and the time left on a terminal. It exits 0 once all is
delivered, 1 where something failed or was left out. Ctrl-C ends the watching, not the replay.`,
		Example: "  hookledger replay watch rpl_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return a.watchReplay(cmd.Context(), c, args[0])
		}}
}

// watchEvery is how often a replay that is watched is looked at.
const watchEvery = 250 * time.Millisecond

func (a *app) watchReplay(ctx context.Context, c *apiclient.Client, id string) error {
	now, err := apiclient.Fetch[apiclient.Replay](ctx, c, replayPath(id))
	if err != nil {
		return err
	}
	begun := now.Value.Ended() // the bar's rate is that of what is watched
	bar := output.NewProgress(a.err, "replay", int64(max(now.Value.Planned-begun, 0)))
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for said := ""; now.Value.CompletedAt == nil; {
		if s := now.Value.Status + now.Value.Because; s != said && !output.IsTerminal(a.err) {
			said = s
			a.note("%s: %d of %d, %d failed", now.Value.Status, now.Value.Ended(), now.Value.Planned, now.Value.Failed)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			bar.Done()
			return nil
		}
		if now, err = apiclient.Fetch[apiclient.Replay](ctx, c, replayPath(id)); err != nil {
			bar.Done()
			return err
		}
		bar.Set(int64(now.Value.Ended() - begun))
	}
	bar.Done()
	if err := output.One(a.printer, replayColumns(), now.Raw, now.Value); err != nil {
		return err
	}
	if r := now.Value; r.Delivered < r.Planned {
		return fmt.Errorf("%d of %d deliveries did not arrive: see hookledger replay failures %s", r.Planned-r.Delivered,
			r.Planned, r.ID)
	}
	return nil
}
