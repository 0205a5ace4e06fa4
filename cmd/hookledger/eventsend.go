package main

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// sending holds the flags of event send.
type sending struct {
	event, data, id, subject, source, timestamp, key, example string
	sequence                                                  uint64
	batch, skip                                               int
	wait                                                      time.Duration
}

func newEventSend(a *app, r *remote) *cobra.Command {
	s := &sending{}
	c := &cobra.Command{Use: "send [FILE | -]", Short: "Send an event, or many",
		Long: `Send an event: one that flags describe, the example of an event type, or those of a file or of stdin. A
file holds one JSON object, several one after the other (NDJSON), or an array; each is what POST /v1/events
takes. Many are sent in batches; each is taken or refused on its own, and one without an id is given one. What is no
JSON ends it: those before it were sent, and it says which one to repair, and how to go on.

What the server can't take for now, because of the tenant's rate or while its ledger is away, is sent again when the
server says; nothing is taken twice. Ctrl-C ends it behind what was sent: it says how many, and --skip goes on there.
With one event alone it does not wait: the error says when to repeat it.`,
		Example: `  hookledger event send --example agent.status_changed
  hookledger event send --event order.paid --data '{"orderId":"o1"}' --id order-o1-paid
  hookledger event send --event order.paid --data @order.json --subject customer-17
  hookledger event send events.ndjson
  generate | hookledger event send - -o ndjson`,
		Args: func(cmd *cobra.Command, got []string) error {
			if len(got) > 1 {
				return usage("the command takes one FILE at most", seeHelp(cmd))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			switch {
			case len(args) == 1 && (s.event != "" || s.example != "" || s.data != ""):
				return usage("a FILE and an event of its own were given", "send one after the other")
			case len(args) == 1:
				return a.sendFile(cmd.Context(), c, s, args[0])
			case s.event == "" && s.example == "" && s.data == "" && !output.IsTerminal(a.in):
				return a.sendFile(cmd.Context(), c, s, "-")
			}
			return a.sendOne(cmd, c, s)
		}}
	f := c.Flags()
	f.StringVar(&s.event, "event", "", "the event's type")
	f.StringVar(&s.data, "data", "", "its data: a JSON object, @file, or @- for stdin (default {})")
	f.StringVar(&s.example, "example", "", "send the example of this event type")
	f.StringVar(&s.id, "id", "", "its id, if it has one of its own: sending it again is then harmless")
	f.StringVar(&s.subject, "subject", "", "whom or what it is about: what can be erased together one day")
	f.StringVar(&s.source, "source", "", "where it comes from")
	f.Uint64Var(&s.sequence, "sequence", 0, "its number within the source")
	f.StringVar(&s.timestamp, "timestamp", "", "when it happened (RFC 3339; default now)")
	f.StringVar(&s.key, "idempotency-key", "", "makes the request repeatable where the event has no id")
	f.IntVar(&s.batch, "batch", 500, "events of a request, 1 to 1000, where there are many")
	f.IntVar(&s.skip, "skip", 0, "begin behind so many events of FILE, which were sent already")
	f.DurationVar(&s.wait, "wait", patience, "how long to wait in a row, without an event taken, where the server says "+
		"to send the rest later; 0s: not at all")
	return c
}

// sendOne sends the event that the flags describe.
func (a *app) sendOne(cmd *cobra.Command, c *apiclient.Client, s *sending) error {
	post, err := a.describe(cmd.Context(), c, s, cmd.Flags().Changed("sequence"))
	if err != nil {
		return err
	}
	return a.postOne(cmd.Context(), c, post, s.key)
}

func (a *app) postOne(ctx context.Context, c *apiclient.Client, post []byte, key string) error {
	var out apiclient.Item[apiclient.Receipt]
	if err := c.PostRaw(ctx, "/v1/events", "application/json", post, &out,
		apiclient.WithHeader("Idempotency-Key", key)); err != nil {
		return err
	}
	if err := output.One(a.printer, receiptColumns(), out.Raw, out.Value); err != nil {
		return err
	}
	if len(out.Value.Deliveries) == 0 && !out.Value.Duplicate {
		a.note("no endpoint gets it: subscribe one with: hookledger endpoint create --url URL --events %s", out.Value.Event)
	}
	return nil
}

// describe writes the body of the post. data stands in it exactly as it was given.
func (a *app) describe(ctx context.Context, c *apiclient.Client, s *sending, sequenced bool) ([]byte, error) {
	event := s.event
	var data json.RawMessage
	var err error
	switch {
	case s.example != "" && (s.event != "" || s.data != ""):
		return nil, usage("--example names the event and its data itself", "leave out --event and --data")
	case s.example != "":
		event = s.example
		if data, err = example(ctx, c, s.example); err != nil {
			return nil, err
		}
	case s.event == "":
		return nil, usage("which event?", "give --event and --data, or --example TYPE, or a FILE")
	default:
		if s.data == "" {
			s.data = "{}"
		}
		if data, err = a.object("--data", s.data); err != nil {
			return nil, err
		}
	}
	b := []byte{'{'}
	field := func(name string, value any) {
		raw, merr := json.Marshal(value)
		if merr != nil {
			err = merr
		}
		b = append(append(append(b, '"'), name...), `":`...)
		b = append(append(b, raw...), ',')
	}
	if s.id != "" {
		field("id", s.id)
	}
	field("event", event)
	if s.timestamp != "" {
		t, terr := time.Parse(time.RFC3339, s.timestamp)
		if terr != nil {
			return nil, usage("--timestamp is no time", "write it like 2026-02-01T15:04:05Z")
		}
		field("timestamp", t)
	}
	if s.subject != "" {
		field("subject", s.subject)
	}
	if s.source != "" {
		field("source", s.source)
	}
	if sequenced {
		field("sequence", s.sequence)
	}
	b = append(append(b, `"data":`...), data...)
	return append(b, '}'), err
}

// example is the example of an event type, as the server knows it.
func example(ctx context.Context, c *apiclient.Client, eventType string) (json.RawMessage, error) {
	t, err := apiclient.Fetch[apiclient.EventType](ctx, c, "/v1/event-types/"+url.PathEscape(eventType))
	if err != nil {
		return nil, err
	}
	if len(t.Value.Example) == 0 || string(t.Value.Example) == "null" {
		return nil, usage("the event type "+eventType+" has no example", "give --event "+eventType+" --data '{...}'")
	}
	return t.Value.Example, nil
}

func receiptColumns() []output.Column[apiclient.Receipt] {
	return []output.Column[apiclient.Receipt]{
		column("id", func(r apiclient.Receipt) string { return r.ID }),
		column("event", func(r apiclient.Receipt) string { return r.Event }),
		column("timestamp", func(r apiclient.Receipt) string { return output.Time(r.Timestamp) }),
		column("duplicate", func(r apiclient.Receipt) string { return output.YesNo(r.Duplicate) }),
		column("deliveries", func(r apiclient.Receipt) string {
			ids := make([]string, len(r.Deliveries))
			for i, d := range r.Deliveries {
				ids[i] = d.ID
			}
			return output.Join(ids)
		}),
	}
}

// batchColumns show each event of a batch.
func batchColumns() []output.Column[apiclient.Result] {
	return []output.Column[apiclient.Result]{
		column("n", func(r apiclient.Result) string { return strconv.Itoa(r.N) }),
		column("status", func(r apiclient.Result) string { return strconv.Itoa(r.Status) }),
		column("id", func(r apiclient.Result) string { return r.ID }),
		column("event", func(r apiclient.Result) string { return r.Event }),
		column("duplicate", func(r apiclient.Result) string { return output.YesNo(r.Duplicate) }),
		column("deliveries", func(r apiclient.Result) string { return strconv.Itoa(len(r.Deliveries)) }),
		column("error", func(r apiclient.Result) string {
			if r.Error == nil {
				return ""
			}
			return r.Error.Code + ": " + r.Error.Detail
		}),
	}
}
