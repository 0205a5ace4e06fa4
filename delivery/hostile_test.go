package delivery

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hookledger/domain"
)

const hostileHead = "HTTP/1.1 200 OK\r\n"

// hostile is a receiver that plays foul, and what its attempt must come to.
type hostile struct {
	name   string
	serve  func(c net.Conn)
	codes  []domain.ErrorCode // one of them; none: it is an answer
	hangs  bool               // serve's end does not close the connection: the sender has to
	unread bool               // the request is not read before serve
}

// flood writes a block again and again, at most most bytes, until the other side has had enough; it gives the bytes
// that it got rid of.
func flood(c net.Conn, block []byte, most int64) (sent int64) {
	for sent < most {
		n, err := c.Write(block)
		if sent += int64(n); err != nil {
			return sent
		}
	}
	return sent
}

// drip writes byte by byte, slowly, until the other side has gone.
func drip(c net.Conn, text string) {
	gone := make(chan struct{})
	go func() { defer close(gone); _, _ = io.Copy(io.Discard, c) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range len(text) {
		select {
		case <-tick.C:
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				<-gone
				return
			}
		case <-gone:
			return
		}
	}
	<-gone
}

func say(text string) func(net.Conn) { return func(c net.Conn) { _, _ = io.WriteString(c, text) } }

// More ways to play foul than TestHostileReceivers has: each attempt has its outcome with its decision on the ledger,
// and the next delivery, to somebody else, goes through.
func TestHostileReceiversAreSurvived(t *testing.T) {
	t.Parallel()
	timeout, bad := []domain.ErrorCode{domain.CodeTimeout}, []domain.ErrorCode{domain.CodeBadResponse}
	tooLarge := []domain.ErrorCode{domain.CodeResponseTooLarge}
	filler := bytes.Repeat([]byte("x"), 1<<15)
	for _, tt := range []hostile{
		{name: "a byte at a time, in the header", codes: timeout, hangs: true,
			serve: func(c net.Conn) { drip(c, hostileHead+strings.Repeat("x", 1<<10)) }},
		{name: "a byte at a time, in the body", codes: timeout, hangs: true, serve: func(c net.Conn) {
			say(hostileHead + "Content-Length: 1000\r\n\r\n")(c)
			drip(c, strings.Repeat("x", 1000))
		}},
		{name: "accepts and reads nothing", codes: timeout, hangs: true, unread: true, serve: func(net.Conn) {}},
		{name: "HTTP/0.9", codes: bad, serve: say("<html>it works</html>\r\n\r\n")},
		{name: "HTTP/3.0 in letters", codes: bad, serve: say("HTTP/three 200 OK\r\n\r\n")},
		{name: "a status that is no number", codes: bad, serve: say("HTTP/1.1 OK 200\r\n\r\n")},
		{name: "a status of four digits", codes: bad, serve: say("HTTP/1.1 2000 OK\r\n\r\n")},
		{name: "two lengths", codes: bad, serve: say(hostileHead + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")},
		{name: "a negative length", codes: bad, serve: say(hostileHead + "Content-Length: -1\r\n\r\n")},
		{name: "a header without a colon", codes: bad, serve: say(hostileHead + "what\r\n\r\n")},
		{name: "a chunk longer than it says", codes: bad,
			serve: say(hostileHead + "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n")},
		{name: "a chunk of an impossible size", codes: bad,
			serve: say(hostileHead + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n")},
		{name: "a chunk's extension without end", codes: bad, serve: func(c net.Conn) {
			say(hostileHead + "Transfer-Encoding: chunked\r\n\r\n1;a=")(c)
			flood(c, filler, 1<<30)
		}},
		{name: "a trailer without end", codes: bad, serve: func(c net.Conn) {
			say(hostileHead + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: ")(c)
			flood(c, filler, 1<<30)
		}},
		{name: "an unknown encoding of the transfer", codes: bad, serve: say(hostileHead + "Transfer-Encoding: br\r\n\r\n")},
		{name: "nothing but 100 Continue", codes: append(tooLarge, bad...), serve: func(c net.Conn) {
			flood(c, bytes.Repeat([]byte("HTTP/1.1 100 Continue\r\n\r\n"), 1000), 1<<30)
		}},
		{name: "nothing but 103 Early Hints", codes: append(tooLarge, bad...), serve: func(c net.Conn) {
			flood(c, bytes.Repeat([]byte("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), 1000), 1<<30)
		}},
		{name: "some hints, then an answer", serve: say(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 3) + hostileHead +
			"Content-Length: 0\r\n\r\n")},
		{name: "a second answer that nobody asked for", serve: say(strings.Repeat(hostileHead+
			"Content-Length: 2\r\n\r\nok", 2))},
		{name: "an answer before the request is read", unread: true, hangs: true, serve: func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1)) // what is said before anything was asked is no answer
			say(hostileHead + "Connection: close\r\nContent-Length: 2\r\n\r\nok")(c)
		}},
		{name: "a bomb in gzip", serve: func(c net.Conn) {
			say(hostileHead + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08")(c)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.meet(tt)
			if len(tt.codes) == 0 {
				if f != nil {
					t.Fatalf("%+v: %s", f, f.Content.Ciphertext)
				}
				return
			}
			if f == nil || !slices.Contains(tt.codes, f.Code) || f.Phase != "response" || f.Sent != domain.SentMaybe {
				t.Fatalf("%+v, not %v", f, tt.codes)
			}
		})
	}
}

// meet sends a delivery to a hostile receiver, and one to a good receiver after it. It gives the failure, or nil where
// the delivery has succeeded.
func (w *world) meet(h hostile) *domain.AttemptFailed {
	w.t.Helper()
	recv := listenRaw(w.t, func(_ int, c net.Conn) {
		if !h.unread {
			if _, _, err := readRequest(c); err != nil {
				return
			}
		}
		h.serve(c)
		if h.hangs {
			_, _ = io.Copy(io.Discard, c)
		}
	})
	return w.meetAt(recv.url("/"), slices.Contains(h.codes, domain.CodeTimeout))
}

func (w *world) meetAt(url string, hangs bool) *domain.AttemptFailed {
	w.t.Helper()
	timeout := 20 * time.Second
	if hangs {
		timeout = 200 * time.Millisecond // the only thing that can end these
	}
	w.endpoint("foul", url, func(c *domain.EndpointConfig) { c.Timeout = domain.Duration(timeout) })
	id := w.due("foul")
	it, err := w.turn("foul")
	if err != nil {
		w.t.Fatal(err)
	}
	f := w.decided(id)
	if timedOut := f != nil && f.Code == domain.CodeTimeout; it.timedOut != timedOut {
		w.t.Errorf("the source was told that it timed out: %v, and the ledger says %v", it.timedOut, timedOut)
	}
	w.serves()
	return f
}

// decided gives how the one attempt of a delivery failed, or nil where the delivery succeeded: an outcome never stands
// without its decision.
func (w *world) decided(id string) *domain.AttemptFailed {
	w.t.Helper()
	types := w.store.types(id)
	if n := len(types); n >= 2 {
		switch outcome := strings.Join(types[n-2:], " "); outcome {
		case "ResponseReceived DeliverySucceeded", "ResponseReceived RetryScheduled":
			return nil
		case "AttemptFailed RetryScheduled":
			return w.failure(id)
		}
	}
	w.t.Fatalf("the delivery's records are %v", types)
	return nil
}

// serves checks that a delivery to a good receiver goes through.
func (w *world) serves() {
	w.t.Helper()
	recv := listenRaw(w.t, func(_ int, c net.Conn) {
		if _, _, err := readRequest(c); err == nil {
			fmt.Fprint(c, hostileHead+"Content-Length: 0\r\n\r\n")
		}
	})
	w.endpoint("good", recv.url("/"))
	id := w.due("good")
	if _, err := w.turn("good"); err != nil {
		w.t.Fatal(err)
	}
	if types := w.store.types(id); types[len(types)-1] != "DeliverySucceeded" {
		w.t.Fatalf("a good receiver's delivery came to %v", types)
	}
}

// The connection breaks behind each byte of an answer, in order and with a reset: it is a success exactly where the
// whole answer came.
func TestAnswerThatBreaksOffAtEachByte(t *testing.T) {
	t.Parallel()
	for name, whole := range map[string]string{
		"length":  hostileHead + "Content-Length: 2\r\n\r\nok",
		"chunked": hostileHead + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reset %v", name, reset), func(t *testing.T) {
				t.Parallel()
				var upTo atomic.Int64
				recv := listenRaw(t, func(_ int, c net.Conn) {
					if _, _, err := readRequest(c); err != nil {
						return
					}
					_, _ = io.WriteString(c, whole[:upTo.Load()])
					if reset {
						_ = c.(*net.TCPConn).SetLinger(0)
					}
				})
				w := newWorld(t)
				w.endpoint("ep", recv.url("/"))
				for k := range len(whole) {
					upTo.Store(int64(k))
					id := w.due("ep")
					if _, err := w.turn("ep"); err != nil {
						t.Fatal(err)
					}
					f := w.decided(id)
					if f == nil || f.Code != domain.CodeReset && f.Code != domain.CodeBadResponse || f.Phase != "response" ||
						f.Sent != domain.SentMaybe {
						t.Fatalf("cut off behind %q: %+v", whole[:k], f)
					}
				}
				if reset {
					return // whether the last bytes or the reset are seen first is the kernel's affair
				}
				upTo.Store(int64(len(whole)))
				id := w.due("ep")
				if _, err := w.turn("ep"); err != nil {
					t.Fatal(err)
				}
				if f := w.decided(id); f != nil {
					t.Fatalf("the whole answer: %+v", f)
				}
			})
		}
	}
}

// What a receiver sends costs us no memory: with a gigabyte on offer, we take a little of it, allocate little, and hang
// up. It runs alone, for it counts what the process allocates.
func TestHostileReceiversCostNoMemory(t *testing.T) { //nolint:paralleltest // it counts what the process allocates
	const gigabyte, mostSent, mostAllocated = 1 << 30, 64 << 20, 16 << 20
	filler := bytes.Repeat([]byte("x"), 1<<16)
	lines := bytes.Repeat([]byte("X-Filler: a line of a header\r\n"), 2000)
	for name, serve := range map[string]func(net.Conn) int64{
		"a gigabyte in one header": func(c net.Conn) int64 {
			say(hostileHead + "X: ")(c)
			return flood(c, filler, gigabyte)
		},
		"a gigabyte of headers": func(c net.Conn) int64 {
			say(hostileHead)(c)
			return flood(c, lines, gigabyte)
		},
		"a gigabyte of body": func(c net.Conn) int64 {
			say(hostileHead + "Content-Length: 1073741824\r\n\r\n")(c)
			return flood(c, filler, gigabyte)
		},
		"a gigabyte of hints": func(c net.Conn) int64 {
			return flood(c, bytes.Repeat([]byte("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), 1000), gigabyte)
		},
		"a gigabyte without an end of line": func(c net.Conn) int64 { return flood(c, filler, gigabyte) },
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // as above
			var sent atomic.Int64
			recv := listenRaw(t, func(_ int, c net.Conn) {
				if _, _, err := readRequest(c); err == nil {
					sent.Add(serve(c))
				}
			})
			w := newWorld(t)
			w.endpoint("ep", recv.url("/"))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			const attempts = 4
			for range attempts {
				id := w.due("ep")
				if _, err := w.turn("ep"); err != nil {
					t.Fatal(err)
				}
				w.decided(id)
			}
			runtime.ReadMemStats(&after)
			recv.Close()
			recv.wg.Wait()
			if n := after.TotalAlloc - before.TotalAlloc; n > attempts*mostAllocated {
				t.Errorf("%d bytes were allocated in %d attempts", n, attempts)
			}
			if n := sent.Load(); n > attempts*mostSent {
				t.Errorf("%d bytes were taken in %d attempts", n, attempts)
			}
		})
	}
}
