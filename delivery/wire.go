package delivery

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"hookledger/domain"
)

// phase is how far a request has come.
type phase int32

const (
	phasePrepare phase = iota
	phaseDNS
	phaseConnect
	phaseTLS
	phaseRequest
	phaseResponse
)

func (p phase) String() string {
	return [...]string{"prepare", "dns", "connect", "tls", "request", "response"}[p]
}

// wire watches one request. It is the request's context too, so that the dialer finds it. The Transport may dial for a
// request that has ended or found another connection by then: what a dial writes here is atomic.
type wire struct {
	context.Context
	trace    httptrace.ClientTrace
	start    time.Time
	deadline time.Time
	secure   bool
	dialling atomic.Int32 // the phase of the dial that was made for this request

	// Written by the goroutine that gets the connection before the round trip returns.
	conn      *conn
	fresh     bool  // nobody used the connection before
	written   int64 // on the connection before this request
	tlsTook   time.Duration
	firstByte atomic.Int64 // nanoseconds from start; 0: none came
}

type wireKey struct{}

func (w *wire) Value(key any) any {
	if key == (wireKey{}) {
		return w
	}
	return w.Context.Value(key)
}

// watch starts watching; its context is the one to send with.
func watch(ctx context.Context, deadline time.Time, secure bool) (context.Context, *wire) {
	w := &wire{Context: ctx, start: time.Now(), deadline: deadline, secure: secure}
	w.dialling.Store(int32(phaseConnect))
	w.trace.GotConn = w.gotConn
	w.trace.GotFirstResponseByte = w.gotFirstByte
	return httptrace.WithClientTrace(w, &w.trace), w
}

func (w *wire) gotConn(info httptrace.GotConnInfo) {
	raw := info.Conn
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	c, ok := raw.(*conn)
	if !ok {
		return
	}
	w.conn, w.fresh, w.written = c, !info.Reused, c.written.Load()
	if w.fresh && w.secure {
		w.tlsTook = time.Since(c.connected)
	}
}

func (w *wire) gotFirstByte() { w.firstByte.Store(max(1, int64(time.Since(w.start)))) }

// phase says how far the request came: everything before a connection, then writing, then the answer.
func (w *wire) phase() phase {
	switch {
	case w.firstByte.Load() > 0:
		return phaseResponse
	case w.conn == nil:
		return phase(w.dialling.Load())
	case w.maybeSent():
		return phaseResponse
	}
	return phaseRequest
}

// maybeSent says whether any byte was written for this request, or may have been.
func (w *wire) maybeSent() bool { return w.conn != nil && w.conn.written.Load() > w.written }

func (w *wire) remote() string {
	if w.conn == nil {
		return ""
	}
	return w.conn.remote
}

// timings are those of the phases that happened for this request: a reused connection looked up and connected nothing.
func (w *wire) timings() domain.Timings {
	t := domain.Timings{FirstByte: time.Duration(w.firstByte.Load()).Microseconds(),
		Total: time.Since(w.start).Microseconds()}
	if w.conn != nil && w.fresh {
		t.DNS, t.Connect, t.TLS = w.conn.dns.Microseconds(), w.conn.connect.Microseconds(), w.tlsTook.Microseconds()
	}
	return t
}

// conn is a connection that knows how it came about and whether something was written on it.
type conn struct {
	net.Conn
	remote    string
	dns       time.Duration
	connect   time.Duration
	connected time.Time
	written   atomic.Int64
	tls       atomic.Pointer[domain.TLSFacts]
}

// Write counts before it writes: what is under way may have been sent.
func (c *conn) Write(p []byte) (int, error) {
	c.written.Add(int64(len(p)))
	return c.Conn.Write(p)
}

// tlsFacts are the connection's, read once.
func (c *conn) tlsFacts(state *tls.ConnectionState) *domain.TLSFacts {
	if f := c.tls.Load(); f != nil {
		return f
	}
	f := &domain.TLSFacts{Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite),
		ServerName: state.ServerName}
	if len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		sum := sha256.Sum256(leaf.Raw)
		f.Issuer, f.NotAfter, f.Fingerprint = leaf.Issuer.String(), leaf.NotAfter.UTC(), hex.EncodeToString(sum[:])
	}
	c.tls.Store(f)
	return f
}

// dial makes the connections of the one Transport. The Transport lets a dial go on when its request has ended; here it
// ends with the attempt, so that an endpoint which never answers holds no sockets.
func (s *sender) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c := &conn{}
	var dnsStart time.Time
	w, _ := ctx.Value(wireKey{}).(*wire)
	at := func(p phase) {
		if w != nil {
			w.dialling.Store(int32(p))
		}
	}
	if w != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, w.deadline)
		defer cancel()
	}
	start := time.Now()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { dnsStart = time.Now(); at(phaseDNS) },
		DNSDone:  func(httptrace.DNSDoneInfo) { c.dns = time.Since(dnsStart); at(phaseConnect) },
	})
	raw, err := s.reach(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.Conn, c.remote, c.connected = raw, raw.RemoteAddr().String(), time.Now()
	c.connect = c.connected.Sub(start) - c.dns
	if w != nil && w.secure {
		at(phaseTLS)
	}
	return c, nil
}
