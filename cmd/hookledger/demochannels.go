package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/delivery/channeltest"
	"hookledger/domain"
)

// demoChannel is one of the services that the demo stands in for.
type demoChannel struct {
	name     string
	body     map[string]any // of its endpoint
	got      func() [][]byte
	show     func([]byte) (string, error)
	endpoint string
}

// channelRow is one delivery to a channel.
type channelRow struct {
	Channel  string   `json:"channel"`
	Event    string   `json:"event"`
	EventID  string   `json:"event_id"`
	Status   string   `json:"status"`
	Shown    string   `json:"shown"`
	Records  []string `json:"records"`
	Delivery string   `json:"delivery_id"`
}

const (
	demoBot  = "123456789:demo-bot-token-of-nobody"
	demoChat = "-1001234567890"
)

// demoChannels sends the six events to each kind of destination, and shows what each channel shows and what the ledger
// holds of it.
func (a *app) demoChannels(ctx context.Context) (err error) {
	d := &demonstration{a: a, live: newLiveLog(a.err, output.Paint(output.Colour(a.err, a.getenv))), ours: true}
	dir, err := os.MkdirTemp("", "hookledger-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	smtp := &channeltest.Mail{Username: "demo", Password: "demo-password-of-nobody"}
	at, err := smtp.Start()
	if err != nil {
		return fmt.Errorf("start the mail server: %w", err)
	}
	defer func() { err = errors.Join(err, smtp.Close()) }()
	d.roots = smtp.Roots
	d.receivers = []*demoReceiver{{name: "url", events: demoTypes(), schedule: []string{"1s", "5s"}}}
	if err := d.start(ctx, dir, storeConfig{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	channels, err := d.standIns(smtp, at)
	if err != nil {
		return err
	}
	for _, c := range channels {
		if err := d.register(ctx, c); err != nil {
			return err
		}
	}
	if err := d.send(ctx); err != nil {
		return err
	}
	if _, err := d.await(ctx); err != nil {
		return err
	}
	return d.showChannels(ctx, channels)
}

func demoTypes() (out []string) {
	for _, t := range domain.BuiltInEventTypes() {
		out = append(out, t.Type)
	}
	return out
}

// standIns starts Slack's and Telegram's; Slack's is too busy for the first message.
func (d *demonstration) standIns(smtp *channeltest.Mail, at string) ([]*demoChannel, error) {
	slack := &channeltest.Slack{}
	slack.Say(channeltest.Answer{Status: http.StatusTooManyRequests, RetryAfter: "1", Body: "rate_limited"})
	telegram := &channeltest.Telegram{Token: demoBot, Chat: demoChat}
	slackURL, err := d.serveStandIn(slack)
	if err != nil {
		return nil, err
	}
	telegramURL, err := d.serveStandIn(telegram)
	if err != nil {
		return nil, err
	}
	bodies := func(received func() []channeltest.Received) func() [][]byte {
		return func() (out [][]byte) {
			for _, r := range received() {
				out = append(out, r.Body)
			}
			return out
		}
	}
	return []*demoChannel{
		{name: domain.EndpointSlack, got: bodies(slack.Received), show: channeltest.ShowSlack,
			body: map[string]any{"url": slackURL + channeltest.SlackPath}},
		{name: domain.EndpointTelegram, got: bodies(telegram.Received), show: channeltest.ShowTelegram,
			body: map[string]any{"url": telegramURL, "telegram": map[string]string{"chat_id": demoChat, "token": demoBot}}},
		{name: domain.EndpointEmail, show: channeltest.ShowMail, got: func() (out [][]byte) {
			for _, l := range smtp.Letters() {
				out = append(out, l.Data)
			}
			return out
		}, body: map[string]any{"email": map[string]string{"server": at, "from": "hookledger <demo@example.com>",
			"to": "ops@example.com", "username": smtp.Username, "password": smtp.Password}}},
	}, nil
}

func (d *demonstration) serveStandIn(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return "", fmt.Errorf("start a stand-in: %w", err)
	}
	d.parts.Go(func() {
		if err := serveUntil(d.running, l, h); err != nil {
			d.live.say("error", "%v", err)
		}
	})
	return baseURL(l, false), nil
}

func (d *demonstration) register(ctx context.Context, c *demoChannel) error {
	body := map[string]any{"kind": c.name, "event_types": demoTypes(), "retry_schedule": []string{"1s", "5s"},
		"timeout": "5s", "rate_limit": 20, "metadata": map[string]string{"made_by": "demo"}}
	for name, v := range c.body {
		body[name] = v
	}
	var made apiclient.Item[apiclient.Endpoint]
	if err := d.client.Post(ctx, "/v1/endpoints", body, &made); err != nil {
		return err
	}
	c.endpoint = made.Value.ID
	d.live.name(c.endpoint, c.name)
	d.live.say("channel", "%s, a stand-in on this machine", c.name)
	return nil
}

// showChannels prints every delivery to a channel with what is shown there, and fails unless all of them succeeded.
func (d *demonstration) showChannels(ctx context.Context, channels []*demoChannel) error {
	list := output.NewList(d.a.printer, []output.Column[channelRow]{
		column("channel", func(r channelRow) string { return r.Channel }),
		column("event", func(r channelRow) string { return r.Event }),
		status("status", func(r channelRow) string { return r.Status }),
		column("records", func(r channelRow) string { return strings.Join(r.Records, ", ") }),
	})
	failed, total := 0, 0
	for _, c := range append(channels, &demoChannel{name: d.receivers[0].name, endpoint: d.receivers[0].endpoint}) {
		for _, e := range d.events {
			for _, ref := range e.Deliveries {
				if ref.EndpointID != c.endpoint {
					continue
				}
				row, err := d.channelRow(ctx, c, &e, ref.ID)
				if err != nil {
					return err
				}
				if total++; row.Status != string(domain.StatusSucceeded) || c.show != nil && row.Shown == "" {
					failed++
				}
				raw, err := marshal(row)
				if err != nil {
					return err
				}
				if row.Shown != "" {
					d.a.note("\n%s", d.live.paint.Bold(c.name+" shows:"))
					for line := range strings.Lines(strings.TrimSpace(row.Shown)) {
						d.a.note("  %s", output.Clean(strings.TrimRight(line, "\n")))
					}
				}
				if err := list.Add(raw, row); err != nil {
					return err
				}
			}
		}
	}
	d.a.note("")
	if err := list.Close(); err != nil {
		return err
	}
	if failed > 0 || total != (len(channels)+1)*len(d.events) {
		return fmt.Errorf("%d of %d deliveries to channels did not succeed", failed, total)
	}
	d.a.note("\n%s", d.live.paint.Green(fmt.Sprintf("All %d deliveries of %d events to %d channels succeeded (%.1f s).",
		total, len(d.events), len(channels)+1, time.Since(d.live.start).Seconds())))
	return nil
}

func (d *demonstration) channelRow(ctx context.Context, c *demoChannel, e *apiclient.Receipt,
	delivery string) (channelRow, error) {
	row := channelRow{Channel: c.name, Event: e.Event, EventID: e.ID, Delivery: delivery}
	got, err := apiclient.Fetch[apiclient.Delivery](ctx, d.client, deliveryPath(delivery))
	if err != nil {
		return row, err
	}
	row.Status = got.Value.Status
	for page, err := range apiclient.All[apiclient.Record](ctx, d.client, "/v1/events/"+e.ID+"/records", nil) {
		if err != nil {
			return row, err
		}
		for _, r := range page.Data {
			if domain.Stream(r.Value.Stream).ID() == delivery {
				row.Records = append(row.Records, recordSays(&r.Value))
			}
		}
	}
	if c.show == nil {
		return row, nil
	}
	for _, raw := range c.got() {
		shown, err := c.show(raw)
		if err != nil {
			return row, err
		}
		if strings.Contains(shown, e.ID) {
			row.Shown = shown
		}
	}
	return row, nil
}

// recordSays is a record's type, with the answer's status where it is one.
func recordSays(r *apiclient.Record) string {
	var f struct{ Status int }
	if err := json.Unmarshal(r.Data, &f); err != nil || f.Status == 0 {
		return r.Type
	}
	return r.Type + " " + strconv.Itoa(f.Status)
}
