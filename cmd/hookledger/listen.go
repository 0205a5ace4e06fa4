package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
)

// listening holds listen's flags.
type listening struct {
	forward, event, since, secret, secretFile string
	timeout                                   time.Duration
}

// Forwarded is an event that was handed to a receiver on this machine.
type Forwarded struct {
	At       time.Time `json:"at"`
	ID       string    `json:"id"`
	Event    string    `json:"event"`
	Position uint64    `json:"position"`
	Status   int       `json:"status,omitempty"`
	Error    string    `json:"error,omitempty"`
	Millis   float64   `json:"duration_ms"`
	Answer   string    `json:"answer,omitempty"` // its beginning
}

func (f Forwarded) result() string {
	if f.Error != "" {
		return f.Error
	}
	return strconv.Itoa(f.Status)
}

func forwardedColumns() []output.Column[Forwarded] {
	return []output.Column[Forwarded]{
		{Name: "at", Value: func(f Forwarded) string { return output.Time(f.At) }, Width: 24},
		{Name: "event", Value: func(f Forwarded) string { return f.Event }, Width: 22},
		{Name: "id", Value: func(f Forwarded) string { return f.ID }, Width: 30},
		{Name: "result", Value: Forwarded.result, Width: 4},
		{Name: "duration_ms", Value: func(f Forwarded) string { return output.Float(f.Millis, 1) + " ms" }, Width: 9},
		{Name: "answer", Value: func(f Forwarded) string { return f.Answer }},
	}
}

func newListen(a *app) *cobra.Command {
	r, f := &remote{}, &listening{}
	c := &cobra.Command{Use: "listen --forward-to URL", Short: "Get events on this machine, which nobody needs to reach",
		Long: `Get events on this machine: each event that comes is posted to --forward-to, signed with a secret of this
command's own, and printed with what the receiver answered. The connection goes out from here; when it breaks
off, it is taken up again behind the last event. Nothing is retried, and nothing of it is on the ledger.`,
		Example: `  hookledger listen --forward-to http://localhost:3000/hook
  hookledger listen --forward-to http://localhost:3000/hook --event 'agent.*' --since 2h`, Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listen(cmd.Context(), r, f) }}
	flags := c.Flags()
	flags.StringVar(&f.forward, "forward-to", "", "URL that gets each event")
	flags.StringVar(&f.event, "event", "", "only this event type, or pattern such as agent.*")
	flags.StringVar(&f.since, "since", "", "first those since then: a time (RFC 3339), or how long ago, such as 2h")
	flags.DurationVar(&f.timeout, "timeout", domain.DefaultTimeout, "how long the receiver may take")
	secretFlags(flags, &f.secret, &f.secretFile)
	_ = c.MarkFlagRequired("forward-to")
	return withRemote(c, r)
}

func (a *app) listen(ctx context.Context, r *remote, f *listening) error {
	if u, err := url.Parse(f.forward); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usage("--forward-to is no URL", "give one like http://localhost:3000/hook")
	}
	query := url.Values{}
	set(query, "event", f.event)
	if f.since != "" {
		t, err := moment("--since", f.since)
		if err != nil {
			return err
		}
		query.Set("created_after", t.UTC().Format(time.RFC3339Nano))
	}
	secret, err := a.signingSecret(f.secret, f.secretFile)
	if err != nil {
		return err
	}
	if secret.Empty() {
		var key [32]byte
		_, _ = rand.Read(key[:]) // never fails
		secret = domain.NewSecret(domain.SecretPrefix + base64.StdEncoding.EncodeToString(key[:]))
		a.note("signing secret, of this run alone: %s", secret.Reveal())
	}
	key, err := domain.SigningKey(secret)
	if err != nil {
		return err
	}
	c, err := a.connect(r)
	if err != nil {
		return err
	}
	to := &forwarder{url: f.forward, key: key, client: &http.Client{Timeout: f.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	list := output.NewStream(a.printer, forwardedColumns())
	if f.since != "" {
		a.note("forwarding to %s", f.forward)
	}
	return c.Feed(ctx, query, patience, func(e apiclient.FedEvent) error {
		switch {
		case e.ID == "":
			a.note("forwarding to %s what comes from now on", f.forward)
			return nil
		case e.Erased:
			a.note("event %s was erased", e.ID)
			return nil
		}
		row := to.post(ctx, &e)
		if ctx.Err() != nil {
			return nil
		}
		raw, err := json.Marshal(row)
		if err != nil {
			return fmt.Errorf("write the event: %w", err)
		}
		return list.Add(raw, row)
	})
}

// forwarder posts events to one receiver on this machine.
type forwarder struct {
	url    string
	key    []byte
	client *http.Client
}

// maxShownAnswer is how much of an answer is printed.
const maxShownAnswer = 200

// post sends an event as an endpoint gets it, but for the key, and says what came of it.
func (f *forwarder) post(ctx context.Context, e *apiclient.FedEvent) Forwarded {
	at := now()
	out := Forwarded{At: at, ID: e.ID, Event: e.Event, Position: e.Position}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader([]byte(e.Body)))
	if err != nil {
		out.Error = err.Error()
		return out
	}
	req.GetBody = nil // it is sent once
	req.Header.Set("Content-Type", e.ContentType)
	req.Header.Set("User-Agent", "hookledger")
	for name, v := range map[string]string{domain.HeaderWebhookID: e.ID,
		domain.HeaderWebhookTimestamp: strconv.FormatInt(at.Unix(), 10),
		domain.HeaderWebhookSignature: domain.Sign([][]byte{f.key}, e.ID, at.Unix(), []byte(e.Body))} {
		req.Header[name] = []string{v}
	}
	resp, err := f.client.Do(req)
	out.Millis = float64(now().Sub(at).Microseconds()) / 1000
	if err != nil {
		out.Error = err.Error()
		return out
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxShownAnswer)) // what came of it; the rest says nothing more
	out.Status, out.Answer = resp.StatusCode, output.Clean(string(answer))
	return out
}
