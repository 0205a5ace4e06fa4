package main

import (
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
)

func attemptColumns() []output.Column[apiclient.Attempt] {
	return []output.Column[apiclient.Attempt]{
		column("id", func(t apiclient.Attempt) string { return t.ID }),
		column("n", func(t apiclient.Attempt) string { return output.Int(t.N) }),
		column("trigger", func(t apiclient.Attempt) string { return t.Trigger }),
		status("status", func(t apiclient.Attempt) string { return t.Status }),
		column("result", apiclient.Attempt.Result),
		column("started_at", func(t apiclient.Attempt) string { return output.Time(t.StartedAt) }),
		column("duration_ms", func(t apiclient.Attempt) string { return output.Float(t.DurationMS, 3) }),
		detail("delivery_id", func(t apiclient.Attempt) string { return t.DeliveryID }),
		detail("event_id", func(t apiclient.Attempt) string { return t.EventID }),
		detail("endpoint_id", func(t apiclient.Attempt) string { return t.EndpointID }),
		detail("remote_addr", func(t apiclient.Attempt) string { return t.RemoteAddr }),
		detail("failure", failureOf),
	}
}

// failureOf is where an attempt failed, and how; empty where an answer came.
func failureOf(t apiclient.Attempt) string {
	if t.Failure == nil {
		return ""
	}
	return strings.TrimSuffix(t.Failure.Phase+": "+t.Failure.Message, ": ")
}

// attemptStatuses are those that --status of attempts takes.
var attemptStatuses = []string{"in_flight", "succeeded", "failed", "interrupted"}

func newAttempt(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(group("attempt", "See exactly what was sent, and what came back",
		newAttemptList(a, r), newAttemptGet(a, r), newAttemptCurl(a, r)), r)
}

func newAttemptList(a *app, r *remote) *cobra.Command {
	l := &listing{}
	filter := map[string]*string{}
	c := &cobra.Command{Use: "list", Short: "List attempts, newest first",
		Example: "  hookledger attempt list --error-code timeout --created-after 1h", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			columns := attemptColumns()
			for i := range columns {
				if columns[i].Name == "delivery_id" {
					columns[i].Detail = false
				}
			}
			return listAll(cmd, a, c, "/v1/attempts", filters(filter), l, columns)
		}}
	l.flags(c.Flags())
	filterFlag(c, filter, "endpoint-id", "only those at this endpoint")
	filterFlag(c, filter, "event-id", "only those of this event")
	filterFlag(c, filter, "delivery-id", "only those of this delivery")
	filterFlag(c, filter, "status", "only "+choice(attemptStatuses)+" ones")
	choices(c, "status", attemptStatuses...)
	filterFlag(c, filter, "code", "only those answered with this HTTP status")
	filterFlag(c, filter, "error-code", "only those that failed so, such as timeout or connection_refused")
	return c
}

func underscored(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// attempt asks the server for one attempt.
func (a *app) attempt(cmd *cobra.Command, r *remote, id string) (apiclient.Item[apiclient.Attempt], error) {
	c, err := a.connect(r)
	if err != nil {
		return apiclient.Item[apiclient.Attempt]{}, err
	}
	return apiclient.Fetch[apiclient.Attempt](cmd.Context(), c, "/v1/attempts/"+url.PathEscape(id))
}

func newAttemptGet(a *app, r *remote) *cobra.Command {
	body := false
	c := &cobra.Command{Use: "get ID", Short: "Show an attempt: the request, its signature, the response, the timings",
		Example: "  hookledger attempt get att_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C -o json\n" +
			"  hookledger attempt get att_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --body > body.json", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.attempt(cmd, r, args[0])
			if err != nil {
				return err
			}
			if body {
				if err := requestThere(&t.Value); err != nil {
					return err
				}
				_, err = io.WriteString(a.out, t.Value.Request.Body)
				return err
			}
			if err := output.One(a.printer, attemptColumns(), t.Raw, t.Value); err != nil {
				return err
			}
			if a.printer.Format == output.Table {
				printExchange(a.out, a.printer.Paint, &t.Value)
			}
			return nil
		}}
	c.Flags().BoolVar(&body, "body", false, "print the request's body alone, byte for byte as it was signed and sent")
	return c
}

// requestThere refuses an attempt whose request is not there any more.
func requestThere(t *apiclient.Attempt) error {
	if t.Request != nil && !t.Erased {
		return nil
	}
	return domain.Refuse(domain.KindErased, "no_request", "the request of this attempt is not there any more",
		"its content was erased; what is left shows: hookledger attempt get "+t.ID)
}

func newAttemptCurl(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "curl ID", Short: "Print a curl command that repeats an attempt's request, byte for byte",
		Long: `Print a curl command that repeats the exact request of an attempt: same URL, headers, signature and body.

The values of an endpoint's own headers and login, and a Telegram bot's token, are not shown: {vault:...} stands for
them. A mail can't be repeated so.

Receivers take a signature for five minutes only, by their clock: repeat an older attempt with a fresh signature by
hookledger delivery retry.`,
		Example: "  hookledger attempt curl att_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C | sh", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.attempt(cmd, r, args[0])
			if err != nil {
				return err
			}
			if err := a.curlable(&t.Value); err != nil {
				return err
			}
			_, err = io.WriteString(a.out, curl(&t.Value)+"\n")
			return err
		}}
}

// curlable refuses an attempt whose request no curl command can repeat, and says what must be put into the others'.
func (a *app) curlable(t *apiclient.Attempt) error {
	if err := requestThere(t); err != nil {
		return err
	}
	switch {
	case t.Request.Kind == domain.EndpointEmail:
		return domain.Refuse(domain.KindInvalid, "no_curl", "this attempt sent a mail, which is no request of HTTP's",
			"see it with: hookledger attempt get "+t.ID+"; send it again with: hookledger delivery retry "+t.DeliveryID)
	case strings.HasSuffix(t.Request.URL, "/…"):
		return domain.Refuse(domain.KindForbidden, "no_url", "the path of the URL is not shown to this API key",
			"use a key whose role is operator or admin")
	case t.Request.Kind == domain.EndpointSlack:
		a.note("who has this URL can post to the channel: keep it to yourself")
	case strings.Contains(t.Request.URL, inVault):
		a.note("the bot's token stands in the vault: put it where {vault:...} is")
	case slices.ContainsFunc(t.Request.Headers, func(h apiclient.Header) bool {
		return strings.HasPrefix(h.Value, inVault)
	}):
		a.note("the values of some headers stand in the vault: put them where {vault:...} is")
	}
	return nil
}

// inVault begins what stands for a secret.
const inVault = "{vault:"

// largeArgument is where a body is too long for one argument of a program (128 KiB on Linux); printf is the shell's
// own.
const largeArgument = 100 << 10

// curl writes the command. curl's own additions, Accept and Expect, are switched off.
func curl(t *apiclient.Attempt) string {
	var b strings.Builder
	body := t.Request.Body
	if len(body) > largeArgument {
		b.WriteString("printf %s " + shellQuote(body) + " | \\\n")
		body = "@-"
	}
	b.WriteString("curl -sS -i -X " + shellQuote(t.Request.Method) + " " + shellQuote(t.Request.URL))
	for _, h := range t.Request.Headers {
		if n := strings.ToLower(h.Name); n == "content-length" || n == "host" {
			continue
		}
		b.WriteString(" \\\n  -H " + shellQuote(h.Name+": "+h.Value))
	}
	b.WriteString(" \\\n  -H 'Accept:' -H 'Expect:' \\\n  ")
	if body == "@-" && len(t.Request.Body) > largeArgument {
		b.WriteString("--data-binary @-")
	} else {
		// --data-raw takes an @ at the beginning as it is.
		b.WriteString("--data-raw " + shellQuote(body))
	}
	return b.String()
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
