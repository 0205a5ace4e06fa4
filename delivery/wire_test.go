package delivery

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"hookledger/domain"
)

// rawReceiver is a TCP listener that hands each connection to a function, which plays the receiver.
type rawReceiver struct {
	net.Listener
	wg sync.WaitGroup
}

func listenRaw(t testing.TB, serve func(n int, c net.Conn)) *rawReceiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rawReceiver{Listener: l}
	r.wg.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() {
				defer c.Close()
				serve(n, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); r.wg.Wait() })
	return r
}

func (r *rawReceiver) url(path string) string { return "http://" + r.Addr().String() + path }

// readRequest reads one request as it is on the wire, headers and body.
func readRequest(c io.Reader) ([]byte, []byte, error) {
	var raw bytes.Buffer
	b := bufio.NewReaderSize(io.TeeReader(c, &raw), 16)
	length := 0
	for {
		line, err := b.ReadString('\n')
		if err != nil {
			return nil, nil, err
		}
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(b, body); err != nil {
		return nil, nil, err
	}
	return raw.Bytes(), body, nil
}

// recorded builds the request from what stands on the ledger: the endpoint's path, AttemptStarted, RequestSigned, and
// the event's body. Go writes host, agent and length first, and the other headers by name.
func recorded(path string, s *domain.AttemptStarted, r *domain.RequestSigned, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", s.Method, path, s.Host)
	rest := []domain.Header{{Name: domain.HeaderWebhookID, Value: r.WebhookID},
		{Name: domain.HeaderWebhookTimestamp, Value: strconv.FormatInt(r.WebhookTimestamp, 10)},
		{Name: domain.HeaderWebhookSignature, Value: r.Signatures}}
	for _, h := range s.Headers {
		if h.Name == headerUserAgent || h.Name == headerLength {
			fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
		} else {
			rest = append(rest, h)
		}
	}
	slices.SortFunc(rest, func(a, b domain.Header) int { return strings.Compare(a.Name, b.Name) })
	for _, h := range rest {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// The request on the wire is the recorded one, byte for byte, and the official library verifies it.
func TestTheWireIsWhatTheLedgerSays(t *testing.T) {
	t.Parallel()
	type request struct{ raw, body []byte }
	got := make(chan request, 4)
	recv := listenRaw(t, func(_ int, c net.Conn) {
		for {
			raw, body, err := readRequest(c)
			if err != nil {
				return
			}
			got <- request{raw, body}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	w := newWorld(t)
	const path = "/a%20b/hook?token=s%2Fecret&x=1"
	w.endpoint("ep", recv.url(path))
	verifier, err := standardwebhooks.NewWebhookRaw(testKey)
	if err != nil {
		t.Fatal(err)
	}
	for turn := range 3 {
		id := w.due("ep")
		if turn == 2 { // a forced repeat carries one header more
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			<-got
			w.write(id, func(s *domain.Delivery) []domain.Record {
				r, err := s.RequestRetry(w.stamp(), w.backlog.known[id], s.Policy, true)
				if err != nil {
					t.Fatal(err)
				}
				return r
			})
			w.again(id)
		}
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
		facts := w.store.facts(id)
		if _, ok := facts[len(facts)-1].(*domain.DeliverySucceeded); !ok {
			t.Fatalf("the delivery came to %v", w.store.types(id))
		}
		r := <-got
		event := find[*domain.DeliveryScheduled](t, facts).Event
		want := recorded(path, find[*domain.AttemptStarted](t, facts), find[*domain.RequestSigned](t, facts),
			w.house.bodies[event].Body)
		if !bytes.Equal(r.raw, want) {
			t.Fatalf("on the wire:\n%q\non the ledger:\n%q", r.raw, want)
		}
		parsed, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.raw)))
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(r.body, parsed.Header); err != nil {
			t.Fatalf("the official library: %v", err)
		}
		resp := find[*domain.ResponseReceived](t, facts)
		if resp.RemoteAddr != recv.Addr().String() || resp.Timings.Total <= 0 || resp.Timings.FirstByte <= 0 ||
			(resp.Timings.Connect > 0) != (turn == 0) {
			t.Errorf("turn %d: %+v", turn, resp)
		}
	}
}

// GetBody is nil and no header makes the request repeatable: the Transport does not send it again by itself, not even
// when a connection that was kept alive breaks.
func TestSemantics_TransportNeverResends(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{} // by webhook-id
	recv := listenRaw(t, func(_ int, c net.Conn) {
		for i := 0; ; i++ {
			raw, _, err := readRequest(c)
			if err != nil {
				return
			}
			req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			seen[req.Header.Get(domain.HeaderWebhookID)]++
			mu.Unlock()
			if i > 0 { // the second request on a connection is read, then the connection is reset
				_ = c.(*net.TCPConn).SetLinger(0)
				return
			}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	w := newWorld(t)
	w.endpoint("ep", recv.url("/"))
	var ids []string
	for range 6 {
		ids = append(ids, w.due("ep"))
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	reset := 0
	for i, id := range ids {
		if n := seen[fmt.Sprintf("evt_%06d", i+1)]; n != 1 {
			t.Errorf("request %d was received %d times", i+1, n)
		}
		facts := w.store.facts(id)
		if n := count[*domain.AttemptStarted](facts); n != 1 {
			t.Errorf("%d intents", n)
		}
		if count[*domain.AttemptFailed](facts) == 1 {
			reset++
			if f := find[*domain.AttemptFailed](t, facts); f.Code != domain.CodeReset || f.Sent != domain.SentMaybe {
				t.Errorf("%+v", f)
			}
		}
	}
	if reset != 3 {
		t.Errorf("%d of 6 met the reset: the connections were not reused", reset)
	}
}

// failure gives a delivery's one outcome that is a failure.
func (w *world) failure(id string) *domain.AttemptFailed {
	w.t.Helper()
	facts := w.store.facts(id)
	for _, f := range facts {
		if f, ok := f.(*domain.AttemptFailed); ok {
			return f
		}
	}
	w.t.Fatalf("no failure among %v", w.store.types(id))
	return nil
}

func TestHostileReceivers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name  string
		serve func(c net.Conn)
		code  domain.ErrorCode // empty: it is an answer
		cut   bool
	}{
		{"never answers", func(c net.Conn) { io.Copy(io.Discard, c) }, domain.CodeTimeout, false},
		{"answers one byte and no more", func(c net.Conn) {
			fmt.Fprint(c, "H")
			io.Copy(io.Discard, c)
		}, domain.CodeTimeout, false},
		{"body that never ends", func(c net.Conn) {
			fmt.Fprint(c, head+"\r\n")
			for _, err := c.Write(make([]byte, 1<<15)); err == nil; _, err = c.Write(make([]byte, 1<<15)) {
			}
		}, "", true},
		{"body that stops in the middle", func(c net.Conn) {
			fmt.Fprint(c, head+"Content-Length: 100\r\n\r\nhalf")
			io.Copy(io.Discard, c)
		}, domain.CodeTimeout, false},
		{"body that is cut off", func(c net.Conn) { fmt.Fprint(c, head+"Content-Length: 100\r\n\r\nhalf") },
			domain.CodeBadResponse, false},
		{"header that never ends", func(c net.Conn) {
			fmt.Fprint(c, head+"X: ")
			x := bytes.Repeat([]byte("x"), 1<<15)
			for _, err := c.Write(x); err == nil; _, err = c.Write(x) {
			}
		}, domain.CodeResponseTooLarge, false},
		{"a hundred thousand headers", func(c net.Conn) {
			fmt.Fprint(c, head)
			for i := range 100_000 {
				if _, err := fmt.Fprintf(c, "X-%d: y\r\n", i); err != nil {
					return
				}
			}
		}, domain.CodeResponseTooLarge, false},
		{"bad chunking", func(c net.Conn) {
			fmt.Fprint(c, head+"Transfer-Encoding: chunked\r\n\r\nzz\r\nwhat\r\n0\r\n\r\n")
		}, domain.CodeBadResponse, false},
		{"no HTTP at all", func(c net.Conn) { fmt.Fprint(c, "220 mail.example ESMTP\r\n") }, domain.CodeBadResponse, false},
		{"closes without an answer", func(net.Conn) {}, domain.CodeReset, false},
		{"resets", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, domain.CodeReset, false},
		{"switches protocols", func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			io.Copy(io.Discard, c)
		}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			recv := listenRaw(t, func(_ int, c net.Conn) {
				if _, _, err := readRequest(c); err == nil {
					tt.serve(c)
					_, _ = io.Copy(io.Discard, io.LimitReader(c, 1))
				}
			})
			if tt.name == "closes without an answer" || tt.name == "body that is cut off" || tt.name == "resets" {
				recv = listenRaw(t, func(_ int, c net.Conn) {
					if _, _, err := readRequest(c); err == nil {
						tt.serve(c)
					}
				})
			}
			w := newWorld(t)
			timeout := 20 * time.Second
			if tt.code == domain.CodeTimeout {
				timeout = 200 * time.Millisecond // the only thing that can end these
			}
			w.endpoint("ep", recv.url("/"), func(c *domain.EndpointConfig) { c.Timeout = domain.Duration(timeout) })
			id := w.due("ep")
			it, err := w.turn("ep")
			if err != nil {
				t.Fatal(err)
			}
			if tt.code == "" {
				r := find[*domain.ResponseReceived](t, w.store.facts(id))
				if r.Truncated != tt.cut || len(r.Content.Ciphertext) > 2*domain.MaxResponseContent {
					t.Fatalf("truncated %v, %d bytes of content", r.Truncated, len(r.Content.Ciphertext))
				}
				return
			}
			f := w.failure(id)
			if f.Code != tt.code || f.Sent != domain.SentMaybe || f.Phase != "response" {
				t.Fatalf("%+v: %s", f, f.Content.Ciphertext)
			}
			if it.timedOut != (tt.code == domain.CodeTimeout) {
				t.Fatal("the source was not told that it timed out")
			}
		})
	}
}

// What is kept of a response is bounded, headers included, and a connection is kept for a body that is a little longer.
func TestResponseIsKeptUpToTheLimit(t *testing.T) {
	t.Parallel()
	var conns sync.Map
	for _, size := range []int{0, 1, firstBuffer, 60 << 10, domain.MaxResponseContent,
		domain.MaxResponseContent + discardMost/2} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conns.Store(r.RemoteAddr, true)
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write(bytes.Repeat([]byte("b"), size))
		}))
		t.Cleanup(srv.Close)
		w := newWorld(t)
		w.endpoint("ep", srv.URL)
		for range 2 {
			id := w.due("ep")
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			r := find[*domain.ResponseReceived](t, w.store.facts(id))
			var c domain.ResponseContent
			if err := json.Unmarshal(r.Content.Ciphertext, &c); err != nil {
				t.Fatal(err)
			}
			kept := len(c.Body)
			for _, h := range c.Headers {
				kept += len(h.Name) + len(h.Value)
			}
			if r.Truncated != (size > len(c.Body)) || kept > domain.MaxResponseContent || !r.Truncated && len(c.Body) != size {
				t.Fatalf("of %d bytes %d are kept, %d in all, truncated %v", size, len(c.Body), kept, r.Truncated)
			}
		}
		n := 0
		conns.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Fatalf("%d connections for two responses of %d bytes", n, size)
		}
		conns.Clear()
	}
}

// A redirect is an answer like any other, and is not followed.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	followed := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed = true
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(srv.Close)
	w := newWorld(t)
	w.endpoint("ep", srv.URL)
	id := w.due("ep")
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	if r := find[*domain.ResponseReceived](t, w.store.facts(id)); r.Status != 307 || followed {
		t.Fatalf("%+v, followed %v", r, followed)
	}
	sameTypes(t, w.store.types(id), all(first, []string{"ResponseReceived", "RetryScheduled"})...)
}

func TestTLSFactsAreRecordedAndStrangersRefused(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto)
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // of the handshake that we break off
	srv.StartTLS()
	t.Cleanup(srv.Close)
	w := newWorld(t)
	w.endpoint("ep", srv.URL)
	id := w.due("ep")
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	if f := w.failure(id); f.Code != domain.CodeTLSUnknownCA || f.Phase != "tls" || f.Sent != domain.SentNo {
		t.Fatalf("%+v", f)
	}
	transport, _ := w.d.sender.transport.(*http.Transport)
	pool := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	transport.TLSClientConfig.RootCAs = pool
	for range 2 {
		id = w.due("ep")
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
		r := find[*domain.ResponseReceived](t, w.store.facts(id))
		sum := sha256.Sum256(srv.Certificate().Raw)
		if r.TLS == nil || r.TLS.Fingerprint != hex.EncodeToString(sum[:]) || r.TLS.Version == "" || r.TLS.Cipher == "" {
			t.Fatalf("%+v", r.TLS)
		}
	}
}

func TestFailuresBeforeTheWire(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	for _, tt := range []struct {
		name, url, phase string
		code             domain.ErrorCode
	}{
		{"refused", "http://" + nobody, "connect", domain.CodeRefused},
		{"no such name", "http://no-such-host.invalid/", "dns", domain.CodeDNS},
		{"not public", "http://10.0.0.1/", "connect", domain.CodeBlocked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.d.sender.dialer.Resolver.Dial = noResolver
			w.endpoint("ep", tt.url)
			id := w.due("ep")
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			if f := w.failure(id); f.Code != tt.code || f.Phase != tt.phase || f.Sent != domain.SentNo {
				t.Fatalf("%+v: %s", f, f.Content.Ciphertext)
			}
		})
	}
}
