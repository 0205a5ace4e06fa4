package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// The neighbours of healthy endpoints.
const (
	hung    = "hung"    // takes requests and never answers
	slow    = "slow"    // answers after slowAnswer
	failing = "failing" // answers 500 at once
)

// sickReceivers are receivers as one would not want them. Each has a port of its own: what is limited by host and port
// ties them neither to each other nor to the healthy ones.
type sickReceivers struct {
	byName map[string]*sickReceiver
	over   chan struct{} // closed when they end
}

type sickReceiver struct {
	server  *http.Server
	address string
	count   atomic.Int64
}

func startSick(ctx context.Context) (*sickReceivers, error) {
	r := &sickReceivers{byName: map[string]*sickReceiver{}, over: make(chan struct{})}
	for name, answer := range map[string]http.HandlerFunc{
		hung: func(_ http.ResponseWriter, req *http.Request) { r.hold(req.Context(), time.Hour) },
		slow: func(_ http.ResponseWriter, req *http.Request) { r.hold(req.Context(), slowAnswer) },
		failing: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
		},
	} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen for the neighbours: %w", err), r.close())
		}
		one := &sickReceiver{address: l.Addr().String()}
		one.server = &http.Server{ReadHeaderTimeout: time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				one.count.Add(1)
				answer(w, req)
			})}
		r.byName[name] = one
		go func() { _ = one.server.Serve(l) }() // until close
	}
	return r, nil
}

// hold lets a request wait.
func (r *sickReceivers) hold(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-r.over:
	}
}

func (r *sickReceivers) names() []string { return []string{hung, slow, failing} }

func (r *sickReceivers) url(name string) string {
	return "http://" + r.byName[name].address + "/" + name
}

// each writes a number of each for a person.
func (r *sickReceivers) each(number func(name string) int64) string {
	var parts []string
	for _, name := range r.names() {
		parts = append(parts, fmt.Sprintf("%d %s", number(name), name))
	}
	return strings.Join(parts, ", ")
}

// attempts are the requests that each got.
func (r *sickReceivers) attempts() map[string]int64 {
	out := map[string]int64{}
	for name, one := range r.byName {
		out[name] = one.count.Load()
	}
	return out
}

func (r *sickReceivers) close() error {
	close(r.over)
	var err error
	for _, one := range r.byName {
		err = errors.Join(err, one.server.Close())
	}
	return err
}
