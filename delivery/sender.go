package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"hookledger/domain"
)

const (
	// idleConnTimeout is below what common servers keep an idle connection for (Node and Apache: 5 s), so that we
	// rarely write on one that is just being closed: such a request is never resent by itself.
	idleConnTimeout     = 4 * time.Second
	tlsHandshakeTimeout = 15 * time.Second
	maxResponseHeader   = 64 << 10
	// discardMost is how much of a body is read away behind the limit to keep the connection.
	discardMost = 64 << 10
	firstBuffer = 4 << 10
)

// sender is the one egress client: no proxy, no redirects, no decompression, no cookies, and nothing is sent twice.
type sender struct {
	transport http.RoundTripper
	dialer    *outlet
	reach     func(ctx context.Context, network, address string) (net.Conn, error) // the dialer's
	now       func() time.Time
	roots     *x509.CertPool // nil: the system's

	ownMu sync.Mutex
	own   map[string]*ownWire // of client certificates, by their ids in the vault; ownMu guards it
}

func newSender(cfg *Config) *sender {
	s := &sender{now: cfg.Now, roots: cfg.Egress.Roots, dialer: newOutlet(cfg.Egress, domain.MaxTimeout, cfg.Logger)}
	if s.reach = cfg.Dial; s.reach == nil {
		s.reach = s.dialer.DialContext
	}
	s.transport = &http.Transport{
		DialContext:     s.dial,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Egress.Roots},
		// The window bounds the connections in use. No bound here: it would be a wait between the intent and the wire.
		MaxIdleConns:           4 * cfg.Window,
		MaxIdleConnsPerHost:    cfg.Window,
		IdleConnTimeout:        idleConnTimeout,
		TLSHandshakeTimeout:    tlsHandshakeTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true, // over TLS, where the receiver offers it
	}
	return s
}

// close lets go of idle connections.
func (s *sender) close() {
	if t, ok := s.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
	s.closeOwn()
}

// result is what a request came to: an answer, or err with what is known about it. release it when it was recorded.
type result struct {
	status     int
	header     http.Header
	body       *buffer // nil: none
	truncated  bool
	retryAfter time.Duration
	tls        *domain.TLSFacts

	err   error
	code  domain.ErrorCode // of err, else empty
	phase phase            // of err
	sent  string           // of err

	remote  string
	timings domain.Timings
}

func (r *result) release() {
	if r.body != nil {
		r.body.release()
		r.body = nil
	}
}

// fail makes the result one of a failed request.
func (r *result) fail(err error, w *wire) *result {
	r.release()
	r.err, r.phase, r.sent = err, w.phase(), domain.SentNo
	if w.maybeSent() {
		r.sent = domain.SentMaybe
	}
	r.code = classify(err, &r.phase)
	r.remote, r.timings = w.remote(), w.timings()
	return r
}

// send sends the request, once, and reads the answer; parent's end, and the prepared timeout, end it. It never panics.
func (s *sender) send(parent context.Context, p *prepared) (r *result) {
	r = &result{}
	ctx, cancel := context.WithTimeout(parent, p.timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	ctx, w := watch(ctx, deadline, p.url.Scheme == "https")
	defer func() {
		if v := recover(); v != nil {
			r.fail(newPanicked(v), w)
			r.code = domain.CodeInternal
		}
	}()
	// The body is of a type that the Transport knows to be in memory, so that it goes out in one packet with the
	// headers. GetBody stays nil: with it, and on a connection that breaks, the Transport would send it again.
	req := (&http.Request{Method: p.method, URL: p.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: p.header, Body: io.NopCloser(bytes.NewReader(p.body)), ContentLength: int64(len(p.body))}).WithContext(ctx)
	resp, err := s.wire(p).RoundTrip(req)
	if err != nil {
		return r.fail(cause(ctx, err), w)
	}
	r.status, r.header = resp.StatusCode, resp.Header
	if resp.TLS != nil && w.conn != nil {
		r.tls = w.conn.tlsFacts(resp.TLS)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close() // it is the connection, and has no end
	} else if err := r.read(resp); err != nil {
		return r.fail(cause(ctx, err), w)
	}
	if resp.StatusCode >= 300 {
		r.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), s.now())
	}
	r.remote, r.timings = w.remote(), w.timings()
	return r
}

// cause is the error that ended the context, which the Transport's own may hide, else err.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// read keeps the body up to what is left of domain.MaxResponseContent beside the headers, and closes it.
func (r *result) read(resp *http.Response) error {
	defer resp.Body.Close()
	if resp.Body == http.NoBody || resp.ContentLength == 0 {
		return nil
	}
	limit := domain.MaxResponseContent
	for name, values := range resp.Header {
		for _, v := range values {
			limit -= len(name) + len(v)
		}
	}
	r.body = newBuffer()
	done, err := r.body.fill(resp.Body, max(limit, 0))
	if err != nil || done {
		return err
	}
	// One byte more tells whether something was cut off; the rest goes away, within bounds, for the connection's sake.
	n, err := io.CopyN(io.Discard, resp.Body, discardMost)
	r.truncated = n > 0
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// parseRetryAfter reads both forms of RFC 9110, 10.2.3: seconds, or a date. What is no such thing, or past, is 0.
func parseRetryAfter(v string, now time.Time) time.Duration {
	if v = strings.TrimSpace(v); v == "" {
		return 0
	}
	if n, err := strconv.ParseUint(v, 10, 63); err == nil {
		return min(time.Duration(min(n, 1<<31))*time.Second, domain.MaxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), domain.MaxRetryAfter).Round(time.Second)
	}
	return 0
}

// buffer is bytes that are used again.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, firstBuffer)} }}

func newBuffer() *buffer {
	b, _ := buffers.Get().(*buffer)
	b.b = b.b[:0]
	return b
}

func (b *buffer) release() { buffers.Put(b) }

// fill reads until the end, which is done, or until limit bytes are there.
func (b *buffer) fill(r io.Reader, limit int) (done bool, err error) {
	for len(b.b) < limit {
		if len(b.b) == cap(b.b) {
			grown := make([]byte, len(b.b), min(max(2*cap(b.b), firstBuffer), domain.MaxResponseContent))
			copy(grown, b.b)
			b.b = grown
		}
		n, err := r.Read(b.b[len(b.b):min(cap(b.b), limit)])
		b.b = b.b[:len(b.b)+n]
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}
