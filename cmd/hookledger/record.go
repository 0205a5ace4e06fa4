package main

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// patience is how long a tail waits for a server that went away.
const patience = 2 * time.Minute

func recordColumns() []output.Column[apiclient.Record] {
	return []output.Column[apiclient.Record]{
		{Name: "position", Value: func(r apiclient.Record) string { return strconv.FormatUint(r.Position, 10) }, Width: 12},
		{Name: "recorded_at", Value: func(r apiclient.Record) string { return output.Time(r.RecordedAt) }, Width: 24},
		{Name: "type", Value: func(r apiclient.Record) string { return r.Type }, Width: 20},
		{Name: "stream", Value: func(r apiclient.Record) string { return r.Stream }, Width: 48},
		{Name: "revision", Value: func(r apiclient.Record) string { return output.Int(r.Revision) }, Width: 3},
		{Name: "correlation_id", Value: func(r apiclient.Record) string { return r.CorrelationID }, Width: 30},
		detail("record_id", func(r apiclient.Record) string { return r.ID }),
		detail("causation_id", func(r apiclient.Record) string { return r.CausationID }),
		detail("data", func(r apiclient.Record) string { return string(compactJSON(r.Data)) }),
	}
}

func newRecord(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("record", "Read the ledger itself", newRecordList(a, r), newRecordTail(a, r)), r)
}

// recordFilter holds the flags that list and tail take.
type recordFilter struct {
	after  uint64
	stream string
	types  []string
}

func (f *recordFilter) flags(c *cobra.Command) {
	c.Flags().Uint64Var(&f.after, "after", 0, "only records behind this position")
	c.Flags().StringVar(&f.stream, "stream", "", "only this stream, such as delivery-default.dlv_...")
	c.Flags().StringSliceVar(&f.types, "type", nil, "only these types, such as AttemptStarted,ResponseReceived")
}

func (f *recordFilter) query() url.Values {
	q := url.Values{}
	set(q, "stream", f.stream)
	set(q, "type", strings.Join(f.types, ","))
	return q
}

var errEnough = errors.New("as many as were asked for")

func newRecordList(a *app, r *remote) *cobra.Command {
	f, limit, event := &recordFilter{}, 0, ""
	c := &cobra.Command{Use: "list", Short: "List records, oldest first",
		Example: "  hookledger record list --event-id evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C -o json\n" +
			"  hookledger record list --after 0 --limit 0 -o ndjson > ledger.ndjson", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usage("--limit is negative", "give 0 for all")
			}
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			out := output.NewList(a.printer, recordColumns())
			add := func(rec apiclient.Item[apiclient.Record]) error {
				if limit > 0 && out.Len() == limit {
					return errEnough
				}
				return out.Add(rec.Raw, rec.Value)
			}
			if event != "" {
				err = eventRecords(cmd.Context(), c, event, add)
			} else {
				query := f.query()
				query.Set("after", strconv.FormatUint(f.after, 10))
				err = c.Records(cmd.Context(), query, add)
			}
			if err != nil && !errors.Is(err, errEnough) {
				return err
			}
			more := err != nil
			if err := out.Close(); err != nil {
				return err
			}
			if more {
				a.note("there are more: raise --limit, or --limit 0 for all")
			}
			return nil
		}}
	f.flags(c)
	c.Flags().IntVar(&limit, "limit", 100, "how many to list; 0: all")
	c.Flags().StringVar(&event, "event-id", "", "all that the ledger holds about this event")
	c.MarkFlagsMutuallyExclusive("event-id", "stream")
	c.MarkFlagsMutuallyExclusive("event-id", "after")
	c.MarkFlagsMutuallyExclusive("event-id", "type")
	return c
}

func newRecordTail(a *app, r *remote) *cobra.Command {
	f := &recordFilter{}
	c := &cobra.Command{Use: "tail", Short: "Print records as they come, until Ctrl-C",
		Long: `Print records as they come, until Ctrl-C: all behind --after, without gap or repeat, across restarts of
the server.`,
		Example: "  hookledger record tail --type DeliverySucceeded,RetryScheduled,DeliveryExhausted", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			out := output.NewStream(a.printer, recordColumns())
			return c.Follow(cmd.Context(), f.after, f.query(), patience, func(rec apiclient.Item[apiclient.Record]) error {
				return out.Add(rec.Raw, rec.Value)
			})
		}}
	f.flags(c)
	return c
}

// eventRecords hands all that the ledger holds about an event to fn.
func eventRecords(ctx context.Context, c *apiclient.Client, event string,
	fn func(apiclient.Item[apiclient.Record]) error) error {
	path := "/v1/events/" + url.PathEscape(event) + "/records"
	for page, err := range apiclient.All[apiclient.Record](ctx, c, path, url.Values{"limit": {strconv.Itoa(pageSize)}}) {
		if err != nil {
			return err
		}
		for _, rec := range page.Data {
			if err := fn(rec); err != nil {
				return err
			}
		}
	}
	return nil
}
