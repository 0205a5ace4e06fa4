package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/output"
	"hookledger/cmd/hookledger/receiver"
	"hookledger/domain"
)

// receiving holds receive's flags.
type receiving struct {
	listen, secret, secretFile, secrets string
	failFirst, status                   int
	latency                             time.Duration
	quiet, arrivals                     bool
}

func newReceive(a *app) *cobra.Command {
	f := &receiving{}
	c := &cobra.Command{Use: "receive", Short: "Run a receiver that verifies each request and prints it",
		Long: `Run a receiver that verifies each request's signature and timestamp, prints it and answers it: 200, or
401 if it does not verify. GET /stats gives counters. Without a secret nothing is verified. Of several secrets,
separated by spaces, any will do, as while one is rotated; a public key (whpk_...) verifies the scheme v1a.`,
		Example: `  HOOKLEDGER_SECRET=whsec_... hookledger receive --listen 127.0.0.1:3000
  hookledger receive --secret-file secret.txt --fail-first 2 --latency 200ms
  hookledger receive --status 500 -o ndjson`, Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.receive(cmd.Context(), f) }}
	flags := c.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:3000", "address to listen on")
	secretFlags(flags, &f.secret, &f.secretFile)
	flags.StringVar(&f.secrets, "secrets", "",
		"file of lines \"/path whsec_...\", or whpk_..., where several endpoints share the receiver")
	flags.IntVar(&f.failFirst, "fail-first", 0, "answer so many requests 503 first")
	flags.IntVar(&f.status, "status", http.StatusOK, "what to answer a request that verifies")
	flags.DurationVar(&f.latency, "latency", 0, "wait so long before each answer")
	flags.BoolVar(&f.quiet, "quiet", false, "print no requests, only count them")
	flags.BoolVar(&f.arrivals, "arrivals", false, "keep when each webhook-id came first, and give it at GET /arrivals")
	return c
}

func (a *app) receive(ctx context.Context, f *receiving) error {
	keys, err := a.receiverKeys(f)
	if err != nil {
		return err
	}
	if f.status < 200 || f.status > 599 {
		return usage("--status is out of range", "give 200 to 599")
	}
	list := output.NewStream(a.printer, requestColumns())
	var mu sync.Mutex // guards list: requests come at once
	cfg := receiver.Config{Keys: keys, FailFirst: f.failFirst, Status: f.status, Latency: f.latency, Arrivals: f.arrivals}
	if !f.quiet {
		cfg.OnRequest = func(r receiver.Request) {
			row := requestRow(&r)
			raw, err := marshal(row)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			_ = list.Add(raw, row) // nobody reads: the receiver goes on
		}
	}
	l, err := bind(f.listen)
	if err != nil {
		return err
	}
	a.note("receiving at %s%s", baseURL(l, false), map[bool]string{true: "",
		false: " (no secret: nothing is verified)"}[keys != nil])
	r := receiver.New(cfg)
	err = serveUntil(ctx, l, r)
	s := r.Stats()
	a.note("received %d, verified %d, invalid %d, failed on purpose %d, repeated %d", s.Received, s.Verified, s.Invalid,
		s.Failed, s.Accepted-s.UniqueIDs)
	return err
}

func (a *app) receiverKeys(f *receiving) (func(string) []domain.Key, error) {
	if f.secrets != "" {
		lines, err := a.readInput(f.secrets, "--secrets")
		if err != nil {
			return nil, err
		}
		return receiver.KeysByPath(string(lines))
	}
	secret, err := a.signingSecret(f.secret, f.secretFile)
	if err != nil || secret.Empty() {
		return nil, err
	}
	return receiver.OneKey(secret)
}

// serveUntil serves until ctx ends; open requests have a moment to end.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("receive: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.Shutdown(grace); err != nil {
		_ = s.Close() // a request that hangs is cut
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("receive: %w", err)
	}
	return nil
}

// request is what receive prints of one.
type request struct {
	At     time.Time `json:"at"`
	Path   string    `json:"path"`
	ID     string    `json:"webhook_id"`
	Event  string    `json:"event"`
	Result string    `json:"result"` // verified, unchecked, invalid
	Why    string    `json:"why,omitempty"`
	Status int       `json:"status"`
	Repeat bool      `json:"repeat,omitempty"`
	Replay bool      `json:"replay,omitempty"`
	Size   int       `json:"size"`
}

func requestRow(r *receiver.Request) request {
	out := request{At: r.At, Path: r.Path, ID: r.ID, Event: r.Event(), Result: "unchecked", Status: r.Status,
		Repeat: r.Repeat, Replay: r.Replay, Size: len(r.Body)}
	switch {
	case r.Err != nil:
		out.Result, out.Why = "invalid", r.Err.Error()
	case r.Checked:
		out.Result = "verified"
	}
	return out
}

func requestColumns() []output.Column[request] {
	return []output.Column[request]{
		{Name: "at", Value: func(r request) string { return output.Time(r.At) }, Width: 24},
		{Name: "status", Value: func(r request) string { return output.Int(r.Status) }, Width: 3},
		{Name: "result", Value: func(r request) string { return r.Result }, Width: 9, Status: true},
		{Name: "event", Value: func(r request) string { return r.Event }, Width: 24},
		{Name: "webhook_id", Value: func(r request) string { return r.ID }, Width: 30},
		{Name: "path", Value: func(r request) string { return r.Path }},
		{Name: "why", Value: func(r request) string {
			switch {
			case r.Why != "":
				return r.Why
			case r.Replay:
				return "(replay)"
			case r.Repeat:
				return "(repeat)"
			}
			return ""
		}},
		{Name: "size", Value: func(r request) string { return output.Int(r.Size) }, Detail: true},
	}
}
