package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/cmd/hookledger/receiver"
	"hookledger/domain"
)

// demoPatience is how long the demo waits for its deliveries; they take about a second and a half.
const demoPatience = 30 * time.Second

func newDemo(a *app) *cobra.Command {
	var dir, tells string
	var once, channels bool
	store := &storeFlags{}
	c := &cobra.Command{Use: "demo", Short: "See it all work, here and now: a server, two receivers, six events, a retry",
		Long: `Start a server on a free port of this machine with two receivers, one of which fails at first; send the
six built-in events; show what happens as it happens; verify every request as a receiver does; and keep serving,
to be tried, until Ctrl-C. It needs no network and no configuration.

With --channels it sends the six events to Slack, Telegram, a mailbox and a URL, to stand-ins of them on this machine,
shows what each of them shows and what the ledger holds of it, and ends.

With --story it tells, command by command, what one of its users does with it, checks what it shows, and ends.`,
		Example: `  hookledger demo
  hookledger demo --channels
  hookledger demo --story engineer
  hookledger demo --once -o json
  hookledger demo --data-dir ./demo-data
  hookledger demo --data-dir ./demo-data --store eventstore \
    --eventstore 'esdb://127.0.0.1:2113?tls=false'`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tells != "" {
				return a.tell(cmd, tells)
			}
			if channels {
				return a.demoChannels(cmd.Context())
			}
			at, err := a.storeConfig(store)
			if err != nil {
				return err
			}
			if at.remote() && dir == "" {
				return usage("the demo's records stay in EventStoreDB, and the keys that open them would be removed at its end",
					"give --data-dir as well: the keys stay there")
			}
			return a.demo(cmd.Context(), dir, at, once)
		}}
	c.Flags().StringVar(&dir, "data-dir", "", "keep the data here (default: a temporary directory, removed at the end)")
	c.Flags().BoolVar(&once, "once", false,
		"end when everything is delivered; exit code 0 only if all of it was, and verified")
	c.Flags().BoolVar(&channels, "channels", false, "send to Slack, Telegram, email and a URL instead, and end")
	c.Flags().StringVar(&tells, "story", "", "tell one user's story instead, and end: "+strings.Join(storyNames(), ", "))
	_ = c.RegisterFlagCompletionFunc("story", cobra.FixedCompletions(storyNames(), cobra.ShellCompDirectiveNoFileComp))
	store.add(c)
	c.MarkFlagsMutuallyExclusive("story", "data-dir")
	for _, other := range []string{"story", "data-dir", "once", "store", "eventstore"} {
		c.MarkFlagsMutuallyExclusive("channels", other)
	}
	c.MarkFlagsMutuallyExclusive("story", "once")
	return c
}

// demonstration is a demo that runs.
type demonstration struct {
	a         *app
	server    *server
	client    *apiclient.Client
	live      *liveLog
	receivers []*demoReceiver
	events    []apiclient.Receipt
	ours      bool            // the data directory is temporary
	roots     *x509.CertPool  // of the stand-in of a mail server
	running   context.Context // of everything that runs until the end
	stop      context.CancelFunc
	parts     sync.WaitGroup
}

// demoReceiver is one of the two built-in receivers.
type demoReceiver struct {
	name     string
	events   []string
	schedule []string
	fail     int
	endpoint string

	mu       sync.Mutex // guards what follows
	verified map[string]bool
	invalid  int
}

func (a *app) demo(ctx context.Context, dir string, store storeConfig, once bool) (err error) {
	d := &demonstration{a: a, live: newLiveLog(a.err, output.Paint(output.Colour(a.err, a.getenv)))}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "hookledger-demo-"); err != nil {
			return fmt.Errorf("make a temporary directory: %w", err)
		}
		d.ours = true
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	d.receivers = []*demoReceiver{
		{name: "steady", events: []string{"*"}, schedule: []string{"1s", "5s"}},
		{name: "shaky", events: []string{"cron.*"}, schedule: []string{"1s", "1s", "2s"}, fail: 1},
	}
	if err := d.start(ctx, dir, store); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.send(ctx); err != nil {
		return err
	}
	rows, err := d.await(ctx)
	if err != nil {
		return err
	}
	if err := d.summary(rows); err != nil {
		return err
	}
	verdict := d.judge(rows)
	if once || verdict != nil || ctx.Err() != nil {
		return verdict
	}
	d.next(rows)
	return d.server.Wait(ctx)
}

// start starts the server, the receivers, and the live view.
func (d *demonstration) start(ctx context.Context, dir string, store storeConfig) error {
	cfg := serverConfig{DataDir: dir, Store: store, Listen: "127.0.0.1:0",
		Logger: slog.New(slog.NewTextHandler(d.a.err, &slog.HandlerOptions{Level: slog.LevelError}))}
	cfg.Egress.Dev, cfg.Egress.Roots = true, d.roots
	var err error
	if d.server, err = startServer(ctx, cfg); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.running, d.stop = running, stop
	d.parts.Go(func() { d.live.run(running) })
	fail := func(err error) error { return errors.Join(err, d.close()) }
	if d.client, err = apiclient.New(apiclient.Config{Server: d.server.URL, Key: d.server.AdminKey,
		Tenant: domain.DefaultTenant, UserAgent: "hookledger-demo/" + version}); err != nil {
		return fail(err)
	}
	d.live.say("server", "serving at %s, data in %s", d.server.URL, dir)
	if err := d.forgetFormer(ctx); err != nil {
		return fail(err)
	}
	for _, r := range d.receivers {
		r.verified = map[string]bool{}
		if err := d.receive(ctx, running, r); err != nil {
			return fail(err)
		}
	}
	after := uint64(d.server.store.Head())
	d.parts.Go(func() {
		err := d.client.Follow(running, after, nil, time.Second, func(r apiclient.Item[apiclient.Record]) error {
			d.live.record(&r.Value)
			return nil
		})
		if err != nil {
			d.live.say("error", "the live view ended: %v", err)
		}
	})
	return nil
}

// forgetFormer removes the endpoints of an earlier demo in the same data directory: their receivers are gone.
func (d *demonstration) forgetFormer(ctx context.Context) error {
	for page, err := range apiclient.All[apiclient.Endpoint](ctx, d.client, "/v1/endpoints", nil) {
		if err != nil {
			return err
		}
		for _, e := range page.Data {
			if e.Value.Metadata["made_by"] != "demo" {
				continue
			}
			if err := d.client.Delete(ctx, endpointPath(e.Value.ID), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive registers an endpoint and starts its receiver, with the secret that only the answer shows.
func (d *demonstration) receive(ctx, running context.Context, r *demoReceiver) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return fmt.Errorf("start a receiver: %w", err)
	}
	var made apiclient.Item[apiclient.Endpoint]
	err = d.client.Post(ctx, "/v1/endpoints", map[string]any{"url": baseURL(l, false) + "/" + r.name,
		"event_types":    r.events,
		"retry_schedule": r.schedule, "timeout": "5s", "description": "the demo's " + r.name + " receiver",
		"metadata": map[string]string{"made_by": "demo"}}, &made)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	keys, err := receiver.OneKey(domain.NewSecret(made.Value.Secret))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	r.endpoint = made.Value.ID
	d.live.name(r.endpoint, r.name)
	h := receiver.New(receiver.Config{Keys: keys, FailFirst: r.fail, OnRequest: func(got receiver.Request) {
		d.got(r,
			&got)
	}})
	d.parts.Go(func() {
		if err := serveUntil(running, l, h); err != nil {
			d.live.say("error", "%v", err)
		}
	})
	does := "takes everything"
	if r.fail > 0 {
		does = "takes cron.*, and answers 503 to its first request, on purpose"
	}
	d.live.say("receiver", "%s %s", r.name, does)
	return nil
}

// got notes a request that a receiver checked.
func (d *demonstration) got(r *demoReceiver, got *receiver.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if got.Err != nil {
		r.invalid++
		d.live.say("invalid", "%s got a request that does not verify: %v", r.name, got.Err)
		return
	}
	if got.Status/100 == 2 {
		r.verified[got.ID] = true
	}
	d.live.verified(r.name, got)
}

// send posts the example of every built-in event type.
func (d *demonstration) send(ctx context.Context) error {
	for _, t := range domain.BuiltInEventTypes() {
		var receipt apiclient.Receipt
		err := d.client.Post(ctx, "/v1/events", map[string]any{"event": t.Type, "data": t.Example}, &receipt)
		if err != nil {
			return err
		}
		d.events = append(d.events, receipt)
		for _, ref := range receipt.Deliveries {
			d.live.expect(ref.ID, receipt.Event, ref.EndpointID)
		}
	}
	return nil
}

// close ends everything, the live view and the receivers before the server they talk to.
func (d *demonstration) close() error {
	d.stop()
	err := d.server.Close()
	d.parts.Wait()
	return err
}
