package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// foulReceiver shows how far an attempt has come, and holds it there until it is healed.
type foulReceiver struct {
	url     string
	reached chan struct{} // the attempt came as far as the phase says
	healed  atomic.Bool
	hole    io.Closer // of a receiver that is a black hole
}

// phases of an attempt at which the server is killed. A receiver says that the attempt has come there; nil: the ledger
// says it, and type is the record that stands there last.
var killPhases = []struct {
	name        string
	serve       func(o *oracle, c net.Conn, reached func())
	scheme      string
	blackHole   bool   // nobody accepts the connection
	noDelivery  bool   // the first life delivers nothing
	record      string // that is waited for
	interrupted bool   // an intent was durable, and nobody knows what became of it
	again       bool   // it must be tried again, and succeeds
}{
	{name: "before append 2", noDelivery: true, record: "EventRouted", again: true},
	{name: "after append 2", blackHole: true, record: "RequestSigned", interrupted: true},
	{name: "after connect", scheme: "https", interrupted: true, serve: func(_ *oracle, c net.Conn, reached func()) {
		_, _ = c.Read(make([]byte, 1)) // of the handshake, in which no byte of the request is
		reached()
		_, _ = io.Copy(io.Discard, c)
	}},
	{name: "amid the request", interrupted: true, again: true, serve: func(_ *oracle, c net.Conn, reached func()) {
		_, _ = c.Read(make([]byte, 1))
		reached()
		_, _ = io.Copy(io.Discard, c)
	}},
	{name: "after the request", interrupted: true, again: true, serve: func(o *oracle, c net.Conn, reached func()) {
		o.take(c)
		reached()
		_, _ = io.Copy(io.Discard, c)
	}},
	{name: "amid the answer", interrupted: true, again: true, serve: func(o *oracle, c net.Conn, reached func()) {
		o.take(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
		reached()
		_, _ = io.Copy(io.Discard, c)
	}},
	{name: "after the answer", serve: func(o *oracle, c net.Conn, reached func()) {
		o.take(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		reached() // before or after append 3
	}},
	{name: "after append 3", record: "DeliverySucceeded", serve: func(o *oracle, c net.Conn, _ func()) { o.good(c) }},
}

// take reads a request whole and notes it.
func (o *oracle) take(c net.Conn) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.received = append(o.received, wireAttempt{r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"),
		r.Header.Get("webhook-signature")})
}

func (o *oracle) good(c net.Conn) {
	o.take(c)
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

// TestKilledAtEachPhaseOfAnAttempt kills the real binary at each phase of an attempt. What receivers got is a subset of
// the intents on the ledger; every started attempt gets an outcome; and what could be sent again was.
func TestKilledAtEachPhaseOfAnAttempt(t *testing.T) {
	t.Parallel()
	o := &oracle{acked: map[string]bool{}, fail: rand.New(rand.NewPCG(1, 1))}
	dir, address := t.TempDir(), freeAddress(t)
	n := startNode(t, dir, address)
	for i, phase := range killPhases {
		recv := &foulReceiver{reached: make(chan struct{})}
		if phase.blackHole {
			recv.listenToNobody(t)
		} else {
			recv.listen(t, o, phase.serve)
		}
		if phase.noDelivery {
			n.kill()
			n = startNode(t, dir, address, "--deliver=false")
		}
		var endpoint struct{ ID string }
		into(t, n.must(http.MethodPost, "/v1/endpoints", map[string]any{"event_types": []string{"*"}, "timeout": "20s",
			"url":            max(phase.scheme, "http") + "://" + recv.url + "/",
			"retry_schedule": []string{"0s", "0s"}}), &endpoint)
		id := fmt.Sprintf("phase-%d", i)
		n.must(http.MethodPost, "/v1/events", map[string]any{"id": id, "event": "agent.status_changed",
			"data": map[string]string{"agentId": "a", "from": "online", "to": "offline"}})
		o.acked[id] = true
		if phase.record == "" {
			<-recv.reached
		} else {
			n.awaitRecord(t, id, phase.record)
		}
		n.kill()
		recv.heal(t)
		n = startNode(t, dir, address)
		n.awaitTerminal(t)
		types := strings.Join(n.typesOf(t, id), " ")
		if phase.interrupted != strings.Contains(types, "AttemptInterrupted") && phase.name != "after the answer" {
			t.Errorf("killed %s: %s", phase.name, types)
		}
		if phase.again && !strings.HasSuffix(types, "DeliverySucceeded") {
			t.Errorf("killed %s it was not sent again: %s", phase.name, types)
		}
		n.must(http.MethodDelete, "/v1/endpoints/"+endpoint.ID, nil)
	}
	o.judge(t, n.records(t))
	n.stop(t)
}

// listen plays the phase's part until it is healed, and a good receiver's from then on.
func (r *foulReceiver) listen(t *testing.T, o *oracle, serve func(*oracle, net.Conn, func())) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.url = l.Addr().String()
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				if serve == nil || r.healed.Load() {
					o.good(c)
					return
				}
				serve(o, c, func() { once.Do(func() { close(r.reached) }) })
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
}

// heal makes the receiver a good one; a black hole becomes an address at which nobody is.
func (r *foulReceiver) heal(t *testing.T) {
	t.Helper()
	r.healed.Store(true)
	if r.hole != nil {
		if err := r.hole.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// listenToNobody makes a listener whose queue is full: who connects hears nothing.
func (r *foulReceiver) listenToNobody(t *testing.T) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	hole := os.NewFile(uintptr(fd), "black hole")
	r.hole = hole
	t.Cleanup(func() { _ = hole.Close() })
	err = errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0))
	if err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in4, _ := at.(*syscall.SockaddrInet4)
	r.url = fmt.Sprintf("127.0.0.1:%d", in4.Port)
	for range 16 {
		c, err := net.DialTimeout("tcp", r.url, 300*time.Millisecond)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the listener's queue does not get full")
}

// typesOf gives the types of an event's records and of its deliveries', in order.
func (n *node) typesOf(t *testing.T, event string) []string {
	t.Helper()
	var types []string
	streams := map[string]bool{}
	for r := range n.records(t) {
		if r.Data.ID == event && r.Type == "EventReceived" {
			streams[r.Stream] = true
		}
		for _, m := range r.Data.Matches {
			if streams[r.Stream] {
				streams["delivery-default."+m.Delivery] = true
			}
		}
		if streams[r.Stream] {
			types = append(types, r.Type)
		}
	}
	return types
}

// awaitRecord waits until the last record of an event, or of its delivery, is of a type.
func (n *node) awaitRecord(t *testing.T, event, recordType string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		types := n.typesOf(t, event)
		if len(types) > 0 && types[len(types)-1] == recordType {
			return
		}
		select {
		case <-tick.C:
		case <-n.done:
			t.Fatalf("the server ended:\n%s", n.log)
		case <-t.Context().Done():
			t.Fatalf("there is no %s of %s: %v", recordType, event, types)
		}
	}
}
