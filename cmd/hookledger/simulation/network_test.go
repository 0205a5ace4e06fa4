package simulation

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// network reaches the receivers over pipes. A life that is cut off reaches nobody any more, and what it had open
// breaks.
type network struct {
	accepted chan net.Conn
	closed   chan struct{}
	server   *http.Server

	mu    sync.Mutex
	life  int // the one that is connected
	conns map[net.Conn]struct{}
}

var errUnreachable = errors.New("connect: no route to host")

func newNetwork(receivers http.Handler) *network {
	n := &network{accepted: make(chan net.Conn), closed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	n.server = &http.Server{Handler: receivers, ErrorLog: quiet, ReadHeaderTimeout: time.Hour}
	go func() { _ = n.server.Serve(n) }()
	return n
}

// dial reaches a receiver.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// dialer is how the life reaches receivers; down says which hosts refuse.
func (n *network) dialer(life int, down func(host string) bool) dial {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		if n.life != life || down(host) {
			n.mu.Unlock()
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errUnreachable}
		}
		here, there := net.Pipe()
		n.conns[here], n.conns[there] = struct{}{}, struct{}{}
		n.mu.Unlock()
		select {
		case n.accepted <- there:
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-n.closed:
			return nil, net.ErrClosed
		}
	}
}

// cut breaks what is open, and lets the given life in from now on.
func (n *network) cut(life int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.life = life
	for c := range n.conns {
		_ = c.Close()
	}
	clear(n.conns)
}

// Accept implements net.Listener.
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *network) Close() error { return nil }

// Addr implements net.Listener.
func (n *network) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (n *network) end() {
	n.cut(-1)
	close(n.closed)
	_ = n.server.Close()
}

// mood is how a receiver answers for a while.
type mood int

const (
	well      mood = iota
	failing        // 500
	flaky          // one of the others, at random
	busy           // 429 with Retry-After
	away           // 503
	hanging        // reads, never answers
	resetting      // reads, and closes the connection
	slow           // answers after seconds
	refusing       // no connection
	gone           // 410: the endpoint is disabled
	moods
)

// request is what a receiver saw.
type request struct {
	endpoint, id, signatures, replay string
	timestamp                        int64
	body                             string
	at                               time.Time
	status                           int  // that it answered, 0: none
	checked                          bool // against the ledger, when it came
}

// receivers answer as their moods say, and remember what they saw.
type receivers struct {
	draw func(n int) int                 // from the seed; safe for concurrent use
	seen func(r *request, h http.Header) // each request, before it is answered

	mu       sync.Mutex
	moods    map[string]mood // by endpoint
	requests []*request
}

func (r *receivers) set(endpoint string, m mood) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moods[endpoint] = m
}

func (r *receivers) mood(endpoint string) mood {
	r.mu.Lock()
	m := r.moods[endpoint]
	r.mu.Unlock()
	if m == flaky {
		if m = mood(r.draw(2 * int(moods))); m >= gone || m == flaky {
			m = well
		}
	}
	return m
}

func (r *receivers) down(endpoint string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moods[endpoint] == refusing
}

// ServeHTTP answers one request.
func (r *receivers) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(in.Body)
	if err != nil {
		return
	}
	host, _, _ := net.SplitHostPort(in.Host)
	if host == "" {
		host = in.Host
	}
	req := &request{endpoint: host, id: in.Header.Get("webhook-id"), signatures: in.Header.Get("webhook-signature"),
		replay: in.Header.Get("webhook-replay"), body: string(bytes.Clone(body)), at: time.Now()}
	req.timestamp, _ = strconv.ParseInt(in.Header.Get("webhook-timestamp"), 10, 64)
	r.seen(req, in.Header)
	r.mu.Lock()
	r.requests = append(r.requests, req)
	r.mu.Unlock()
	switch r.mood(host) {
	case failing:
		r.answer(w, req, http.StatusInternalServerError)
	case busy:
		w.Header().Set("Retry-After", strconv.Itoa(1+r.draw(120)))
		r.answer(w, req, http.StatusTooManyRequests)
	case away:
		r.answer(w, req, http.StatusServiceUnavailable)
	case gone:
		r.answer(w, req, http.StatusGone)
	case hanging:
		<-in.Context().Done()
	case resetting, refusing:
		panic(http.ErrAbortHandler)
	case slow:
		if r.pause(in, time.Duration(1+r.draw(15))*time.Second) {
			r.answer(w, req, http.StatusOK)
		}
	default:
		r.pause(in, time.Duration(r.draw(300))*time.Millisecond)
		r.answer(w, req, http.StatusOK)
	}
}

// pause waits; false: the other side has hung up.
func (r *receivers) pause(in *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-in.Context().Done():
		return false
	}
}

func (r *receivers) answer(w http.ResponseWriter, req *request, status int) {
	r.mu.Lock()
	req.status = status
	r.mu.Unlock()
	w.WriteHeader(status)
}
