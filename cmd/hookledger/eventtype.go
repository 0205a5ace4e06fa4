package main

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
)

func eventTypeColumns() []output.Column[apiclient.EventType] {
	return []output.Column[apiclient.EventType]{
		column("type", func(t apiclient.EventType) string { return t.Type }),
		column("version", func(t apiclient.EventType) string { return output.Int(t.Version) }),
		column("built_in", func(t apiclient.EventType) string { return output.YesNo(t.BuiltIn) }),
		column("description", func(t apiclient.EventType) string { return t.Description }),
		detail("schema", func(t apiclient.EventType) string { return string(compactJSON(t.Schema)) }),
		detail("example", func(t apiclient.EventType) string { return string(compactJSON(t.Example)) }),
	}
}

func newEventType(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("event-type", "Say which events there are, and what their data looks like",
		newEventTypeList(a, r), newEventTypeGet(a, r), newEventTypeWrite(a, r, false), newEventTypeWrite(a, r, true)), r)
}

func newEventTypeList(a *app, r *remote) *cobra.Command {
	l := &listing{}
	c := &cobra.Command{Use: "list", Short: "List the event types", Example: "  hookledger event-type list", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return listAll(cmd, a, c, "/v1/event-types", nil, l, eventTypeColumns())
		}}
	l.flags(c.Flags())
	return c
}

func newEventTypeGet(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "get TYPE", Short: "Show an event type with its schema and example",
		Example: "  hookledger event-type get agent.budget_alert -o json", Args: args("TYPE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			return getOne(cmd, a, c, "/v1/event-types/"+url.PathEscape(args[0]), eventTypeColumns())
		}}
}

// noteUnmatched says which patterns no event type matches: a word may be misspelt. Where the types can't be listed it
// says nothing.
func (a *app) noteUnmatched(ctx context.Context, c *apiclient.Client, patterns []string) {
	open := slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return p == "*" })
	if len(open) == 0 {
		return
	}
	for page, err := range apiclient.All[apiclient.EventType](ctx, c, "/v1/event-types", nil) {
		if err != nil {
			return
		}
		for _, t := range page.Data {
			open = slices.DeleteFunc(open, func(p string) bool { return domain.MatchType(p, t.Value.Type) })
		}
	}
	for _, p := range open {
		a.note("no event type matches %s yet; those that there are: hookledger event-type list", p)
	}
}

// newEventTypeWrite is create, or update: both take the same flags.
func newEventTypeWrite(a *app, r *remote, update bool) *cobra.Command {
	var description, schema, example string
	c := &cobra.Command{Use: "create TYPE", Short: "Register an event type of your own",
		Example: `  hookledger event-type create order.paid
  hookledger event-type create order.paid --schema @order.paid.schema.json \
    --example '{"orderId":"o1","total":12.5}'`}
	if update {
		c.Use, c.Short = "update TYPE", "Give an event type a new version"
		c.Example = "  hookledger event-type update order.paid --schema @order.paid.v2.schema.json"
	}
	c.Args = args("TYPE")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{}
		if cmd.Flags().Changed("description") {
			body["description"] = description
		}
		for name, value := range map[string]string{"schema": schema, "example": example} {
			raw, err := a.object("--"+name, value)
			if err != nil {
				return err
			}
			if raw != nil {
				body[name] = raw
			}
		}
		c, err := a.connect(r)
		if err != nil {
			return err
		}
		var out apiclient.Item[apiclient.EventType]
		if update {
			if len(body) == 0 {
				return usage("nothing to change was named", "give --schema, --example or --description")
			}
			err = c.Patch(cmd.Context(), "/v1/event-types/"+url.PathEscape(args[0]), body, &out)
		} else {
			body["type"] = args[0]
			err = c.Post(cmd.Context(), "/v1/event-types", body, &out)
		}
		if err != nil {
			return err
		}
		return output.One(a.printer, eventTypeColumns(), out.Raw, out.Value)
	}
	c.Flags().StringVar(&description, "description", "", "what it means")
	c.Flags().StringVar(&schema, "schema", "", "JSON Schema of data, or @file (default: any object)")
	c.Flags().StringVar(&example, "example", "", "an example of data, or @file")
	return c
}

func compactJSON(raw json.RawMessage) json.RawMessage {
	out, err := json.Marshal(raw)
	if err != nil || string(out) == "null" {
		return nil
	}
	return out
}
