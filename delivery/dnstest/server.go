package dnstest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Answer is what a name server says to one look-up of a name: IPv4 addresses to the question for A, IPv6 ones to the
// question for AAAA.
type Answer struct {
	Addrs []netip.Addr
	CNAME string // the name is another name for this one, whose addresses Addrs then are
	TTL   uint32 // seconds
	Fail  bool   // SERVFAIL
	Mute  bool   // no answer at all
}

// To answers with addresses and a time to live of 0.
func To(addrs ...string) Answer {
	var a Answer
	for _, s := range addrs {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(s))
	}
	return a
}

// Server is the name server. It is safe for concurrent use.
type Server struct {
	conn net.PacketConn

	mu    sync.Mutex
	names map[string][]Answer // guarded by mu
	asked map[question]int    // guarded by mu
}

type question struct {
	name string
	kind dnsmessage.Type
}

// Serve starts a name server that ends with the test. It knows no name: what it was not told does not exist.
func Serve(t testing.TB) *Server {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{conn: conn, names: map[string][]Answer{}, asked: map[question]int{}}
	done := make(chan struct{})
	go func() { defer close(done); s.run() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return s
}

// Name tells what is answered about a name: the first look-up gets the first answer, and all from the last one on the
// last. No answers: the name exists and has no address.
func (s *Server) Name(name string, answers ...Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[canonical(name)] = answers
}

// Asked is how often a name was looked up.
func (s *Server) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = canonical(name)
	return max(s.asked[question{name, dnsmessage.TypeA}], s.asked[question{name, dnsmessage.TypeAAAA}])
}

// Resolver asks this server and no other.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func (s *Server) run() {
	packet := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if reply := s.reply(packet[:n]); reply != nil {
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

// reply answers one question; nil: not at all.
func (s *Server) reply(packet []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(packet) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true,
		RecursionDesired: m.RecursionDesired, RecursionAvailable: true}, Questions: m.Questions}
	a, known := s.next(question{canonical(q.Name.String()), q.Type})
	switch {
	case !known:
		out.RCode = dnsmessage.RCodeNameError
	case a.Mute:
		return nil
	case a.Fail:
		out.RCode = dnsmessage.RCodeServerFailure
	default:
		out.Answers = resources(q, a)
	}
	reply, err := out.Pack()
	if err != nil {
		return nil
	}
	return reply
}

// next is the answer whose turn it is.
func (s *Server) next(q question) (Answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers, known := s.names[q.name]
	turn := s.asked[q]
	s.asked[q]++
	if len(answers) == 0 {
		return Answer{}, known
	}
	return answers[min(turn, len(answers)-1)], true
}

func resources(q dnsmessage.Question, a Answer) []dnsmessage.Resource {
	var out []dnsmessage.Resource
	owner := q.Name
	add := func(kind dnsmessage.Type, body dnsmessage.ResourceBody) {
		out = append(out, dnsmessage.Resource{Body: body, Header: dnsmessage.ResourceHeader{Name: owner, Type: kind,
			Class: dnsmessage.ClassINET, TTL: a.TTL}})
	}
	if a.CNAME != "" {
		to := dnsmessage.MustNewName(canonical(a.CNAME) + ".")
		add(dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: to})
		owner = to
	}
	for _, addr := range a.Addrs {
		switch {
		case addr.Is4() && q.Type == dnsmessage.TypeA:
			add(q.Type, &dnsmessage.AResource{A: addr.As4()})
		case !addr.Is4() && q.Type == dnsmessage.TypeAAAA:
			add(q.Type, &dnsmessage.AAAAResource{AAAA: addr.As16()})
		}
	}
	return out
}
