package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// planPatience is how long the server may take to plan: it reads what is selected once.
const planPatience = 15 * time.Minute

// matchesNothing is the code of the refusal of a replay that comes to no delivery.
const matchesNothing = "replay_matches_nothing"

// replaying holds the flags of a replay that is to be made.
type replaying struct {
	after, before              string
	positionAfter, positionEnd uint64
	occurredAfter, occurredEnd string
	types, endpoints, events   []string
	deliveries                 []string
	subject, missedBy          string
	failuresOf                 string
	status                     []string
	to, match, reason, id      string
	asOf, digest               string
	rate, gaps                 float64
	ordered, dryRun            bool
	yes, watch                 bool
	since                      bool // which recover calls after so
}

// pace are the flags that every way to make a replay takes.
func (f *replaying) pace(flags *pflag.FlagSet) {
	flags.StringVar(&f.reason, "reason", "", "why; kept on the ledger")
	flags.StringVar(&f.id, "id", "", "an id of your own, rpl_...: a repeated command is then the same replay")
	flags.Float64Var(&f.rate, "rate", 0, "deliveries per second (default: as fast as the limits allow)")
	flags.Float64Var(&f.gaps, "gaps", 0, "keep the original gaps, times this: 1 is as it was, 0.1 ten times as fast")
	flags.BoolVar(&f.ordered, "ordered", false, "send the next one when the one before has ended")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what it comes to, and do nothing")
	flags.StringVar(&f.asOf, "as-of", "", "plan at this record, as a dry run named it")
	flags.StringVar(&f.digest, "digest", "", "refuse any other plan than that of this digest")
	flags.BoolVar(&f.yes, "yes", false, "also where it is more than 100000 deliveries")
	flags.BoolVar(&f.watch, "watch", false, "watch it until it ends")
}

func newReplayCreate(a *app, r *remote) *cobra.Command {
	f := &replaying{}
	c := &cobra.Command{Use: "create", Short: "Send events again: a selection, to where they went or elsewhere",
		Long: `Send events again: the same webhook-id and body, signed afresh, marked with the header webhook-replay. A
receiver that drops a webhook-id which it knows drops them, unless it looks at that header.

What is selected is fixed at one record of the ledger: what --dry-run shows is what runs later with its as_of and
digest, whatever comes meanwhile.`,
		Example: `  hookledger replay create --endpoint-id ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --created-after 2h --dry-run
  hookledger replay create --endpoint-id ep_OLD --to ep_NEW \
    --reason 'the new receiver begins with all of it'
  hookledger replay create --status exhausted --created-after 24h --rate 50 --watch`, Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.createReplay(cmd.Context(), r, f) }}
	flags := c.Flags()
	flags.StringVar(&f.after, "created-after", "", "received later: a time (RFC 3339), or how long ago, such as 2h")
	flags.StringVar(&f.before, "created-before", "", "received earlier, likewise")
	flags.StringVar(&f.occurredAfter, "occurred-after", "",
		"that happened later, as their producers say: a time, or how long ago")
	flags.StringVar(&f.occurredEnd, "occurred-before", "", "that happened earlier, likewise")
	flags.Uint64Var(&f.positionAfter, "position-after", 0, "behind this position of the ledger")
	flags.Uint64Var(&f.positionEnd, "position-before", 0, "before this position of the ledger")
	flags.StringSliceVar(&f.types, "event", nil, "of this type, or pattern such as agent.*")
	flags.StringSliceVar(&f.endpoints, "endpoint-id", nil, "that went to this endpoint")
	flags.StringSliceVar(&f.events, "event-id", nil, "this event")
	flags.StringSliceVar(&f.deliveries, "delivery-id", nil, "the event of this delivery, to where it went")
	flags.StringVar(&f.subject, "subject", "", "about this subject")
	flags.StringSliceVar(&f.status, "status", nil, "whose delivery is succeeded, exhausted, cancelled, pending, in_flight or retrying")
	flags.StringVar(&f.missedBy, "missed-by", "", "that this endpoint missed")
	flags.StringVar(&f.failuresOf, "failures-of", "", "that this replay could not deliver")
	flags.StringVar(&f.to, "to", "", "the endpoint that gets them (default: those that they went to)")
	flags.StringVar(&f.match, "match", "", "then: as they were routed (the default); now: as the endpoints subscribe today")
	choices(c, "status", recordedStatuses...)
	choices(c, "match", "then", "now")
	f.pace(flags)
	return c
}

func newRecover(a *app) *cobra.Command {
	r, f := &remote{}, &replaying{since: true}
	c := &cobra.Command{Use: "recover ENDPOINT --since T", Short: "Send an endpoint everything that it missed",
		Long: `Send an endpoint everything that it missed since T: what was routed to it and did not succeed, and what it
was left out of while it was disabled or not registered yet. It is a replay: see hookledger replay --help. Where nothing
was missed it says so, and exits 0.`,
		Example: `  hookledger recover ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --since 24h --dry-run
  hookledger recover ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --since 2026-02-01T08:00:00Z --watch`, Args: args("ENDPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.missedBy = args[0]
			err := a.createReplay(cmd.Context(), r, f)
			if apiclient.CodeOf(err) == matchesNothing {
				a.note("nothing was missed: %s has all that can be sent", args[0])
				return nil
			}
			return err
		}}
	c.Flags().StringVar(&f.after, "since", "", "a time (RFC 3339), or how long ago, such as 2h")
	c.Flags().StringVar(&f.to, "to", "", "another endpoint that gets it instead")
	f.pace(c.Flags())
	_ = c.MarkFlagRequired("since")
	return withRemote(c, r)
}

// body is what the API is asked with.
func (f *replaying) body() (map[string]any, error) {
	selected := map[string]any{}
	for name, v := range map[string]string{"created_after": f.after, "created_before": f.before,
		"occurred_after": f.occurredAfter, "occurred_before": f.occurredEnd} {
		if v == "" {
			continue
		}
		flag := flagNamed(name)
		if f.since && name == "created_after" {
			flag = "--since"
		}
		t, err := moment(flag, v)
		if err != nil {
			return nil, err
		}
		selected[name] = t.UTC().Format(time.RFC3339Nano)
	}
	body := map[string]any{"select": selected}
	given := func(into map[string]any, name string, v any, is bool) {
		if is {
			into[name] = v
		}
	}
	given(selected, "position_after", f.positionAfter, f.positionAfter > 0)
	given(selected, "position_before", f.positionEnd, f.positionEnd > 0)
	given(selected, "event_types", f.types, len(f.types) > 0)
	given(selected, "endpoint_ids", f.endpoints, len(f.endpoints) > 0)
	given(selected, "event_ids", f.events, len(f.events) > 0)
	given(selected, "delivery_ids", f.deliveries, len(f.deliveries) > 0)
	given(selected, "subject", f.subject, f.subject != "")
	given(selected, "status", f.status, len(f.status) > 0)
	given(selected, "missed_by", f.missedBy, f.missedBy != "")
	given(selected, "failures_of", f.failuresOf, f.failuresOf != "")
	given(body, "endpoint_id", f.to, f.to != "")
	given(body, "match", f.match, f.match != "")
	given(body, "rate", f.rate, f.rate != 0)
	given(body, "gap_factor", f.gaps, f.gaps != 0)
	given(body, "ordered", true, f.ordered)
	given(body, "reason", f.reason, f.reason != "")
	given(body, "id", f.id, f.id != "")
	given(body, "as_of", f.asOf, f.asOf != "")
	given(body, "digest", f.digest, f.digest != "")
	given(body, "dry_run", true, f.dryRun)
	given(body, "max_deliveries", 1<<30, f.yes)
	return body, nil
}

func (a *app) createReplay(ctx context.Context, r *remote, f *replaying) error {
	body, err := f.body()
	if err != nil {
		return err
	}
	patient := *r
	patient.timeout = planPatience
	c, err := a.connect(&patient)
	if err != nil {
		return err
	}
	var out apiclient.Item[apiclient.Replay]
	if err := c.Post(ctx, "/v1/replays", body, &out); err != nil {
		return f.nobody(err)
	}
	if f.dryRun {
		if err := output.One(a.printer, replayColumns(), out.Raw, out.Value); err != nil {
			return err
		}
		if err := a.showSample(out.Value.Sample); err != nil {
			return err
		}
		a.note("nothing was done: %s deliveries are planned; --as-of and --digest make sure that it is these",
			strconv.Itoa(out.Value.Planned))
		return nil
	}
	return a.replayMade(ctx, c, out, f.watch)
}

// nobody adds to the refusal of a replay that nobody would get how an endpoint is named that does.
func (f *replaying) nobody(err error) error {
	var p *apiclient.Problem
	if f.to != "" || !errors.As(err, &p) {
		return err
	}
	switch p.Code {
	case "replay_has_no_target":
		p.Fix = "name another endpoint that gets it with --to, or enable them"
	case matchesNothing:
		p.Fix = "widen it; what was routed to nobody goes to who subscribes to it today with --match now, to one of them " +
			"with --to ENDPOINT --match now"
	}
	return err
}

// showSample prints some pairs of a plan; other formats hold them already.
func (a *app) showSample(sample []apiclient.ReplayEvent) error {
	if a.printer.Format != output.Table || len(sample) == 0 {
		return nil
	}
	a.blank()
	list := output.NewList(a.printer, []output.Column[apiclient.ReplayEvent]{
		column("sample", func(e apiclient.ReplayEvent) string { return output.Time(e.CreatedAt) }),
		column("event", func(e apiclient.ReplayEvent) string { return e.Event }),
		column("event_id", func(e apiclient.ReplayEvent) string { return e.EventID }),
		column("endpoint_id", func(e apiclient.ReplayEvent) string { return e.EndpointID }),
	})
	for _, e := range sample {
		if err := list.Add(nil, e); err != nil {
			return err
		}
	}
	return list.Close()
}

// replayMade prints a new replay, or watches it.
func (a *app) replayMade(ctx context.Context, c *apiclient.Client, r apiclient.Item[apiclient.Replay],
	watch bool) error {
	if watch {
		a.note("%s", fmt.Sprintf("replay %s: %d deliveries", r.Value.ID, r.Value.Planned))
		return a.watchReplay(ctx, c, r.Value.ID)
	}
	if err := output.One(a.printer, replayColumns(), r.Raw, r.Value); err != nil {
		return err
	}
	a.note("watch it with: hookledger replay watch %s", r.Value.ID)
	return nil
}
