package delivery

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hookledger/domain"
)

var errNoResolver = errors.New("there is no name server in this test")

func noResolver(context.Context, string, string) (net.Conn, error) { return nil, errNoResolver }

// internal are addresses that no tenant's input may make us connect to.
var internal = []string{
	"127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
	"169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.1", "192.0.2.1", "198.18.0.1",
	"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
	"64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1",
	"100::1", "5f00::1", "3fff::1",
}

func TestGuardBlocksEveryInternalAddress(t *testing.T) {
	t.Parallel()
	g := newGuard(EgressConfig{})
	for _, a := range internal {
		err := g.check(netip.MustParseAddr(a), 443)
		if domain.Code(err) != string(domain.CodeBlocked) || !strings.Contains(err.Error(), "--allow-cidr") {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range []string{"fe80::1%eth0", "::1%lo", "::ffff:127.0.0.1%lo"} {
		if err := g.control("tcp6", "["+a+"]:80", nil); err == nil {
			t.Errorf("%s is let through", a)
		}
	}
	for _, a := range []string{"8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::1"} {
		if err := g.check(netip.MustParseAddr(a), 8443); err != nil {
			t.Errorf("public address on a port of its own: %v", err)
		}
	}
	for _, n := range []string{"udp4", "unix", "ip4"} {
		if err := g.control(n, "8.8.8.8:53", nil); err == nil {
			t.Errorf("the network %s is let through", n)
		}
	}
}

func TestGuardAllowsWhatTheFlagsName(t *testing.T) {
	t.Parallel()
	g := newGuard(EgressConfig{AllowPorts: []uint16{443}, AllowCIDR: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"),
		netip.MustParsePrefix("fd00::/64")}})
	for _, tt := range []struct {
		addr, fix string
		port      uint16
	}{
		{"8.8.8.8", "", 443},
		{"8.8.8.8", "--allow-port 8443", 8443},
		{"10.1.2.3", "", 8443},
		{"::ffff:10.1.2.3", "", 1},
		{"fd00::7", "", 8080},
		{"10.2.0.1", "--allow-cidr 10.2.0.1/32", 443},
		{"fd01::7", "--allow-cidr fd01::7/128", 443},
		{"127.0.0.1", "--allow-cidr 127.0.0.1/32", 443},
	} {
		err := g.check(netip.MustParseAddr(tt.addr), tt.port)
		if (err == nil) != (tt.fix == "") || err != nil && !strings.Contains(err.Error(), tt.fix) {
			t.Errorf("%s:%d: %v", tt.addr, tt.port, err)
		}
	}
	dev := newGuard(EgressConfig{Dev: true})
	if dev.check(netip.MustParseAddr("127.0.0.1"), 3000) != nil || dev.check(netip.IPv6Loopback(), 3000) != nil {
		t.Error("loopback is blocked in dev")
	}
	if dev.check(netip.MustParseAddr("10.0.0.1"), 80) == nil {
		t.Error("dev allows more than loopback")
	}
}

func TestCheckTarget(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "127.0.0.1:8080", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1",
		"127.1", "017700000001", "0", "[::1]", "[::1]:80", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:443", "localhost",
		"LOCALHOST:3000",
		"a.localhost", "localhost.", "127.0.0.1.", "169.254.169.254", "2852039166", "[fe80::1%25eth0]"} {
		host = strings.Replace(host, "%25", "%", 1)
		for _, scheme := range []string{"http", "https"} {
			if err := CheckTarget(EgressConfig{}, scheme, host); domain.Code(err) != string(domain.CodeBlocked) {
				t.Errorf("%s://%s: %v", scheme, host, err)
			}
		}
	}
	for _, host := range []string{"example.com", "example.com:8443", "8.8.8.8", "134744072", "[2606:4700::1111]:443",
		"256.1.1.1", "1.2.3.4.5", "0x7g", "127.0.0.1.example.com", "localhost.example.com"} {
		if err := CheckTarget(EgressConfig{}, "https", host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"localhost:3000", "127.0.0.1:3000", "[::1]:3000", "2130706433"} {
		if err := CheckTarget(EgressConfig{Dev: true}, "http", host); err != nil {
			t.Errorf("in dev, %s: %v", host, err)
		}
	}
	if err := CheckTarget(EgressConfig{AllowPorts: []uint16{443}}, "http", "8.8.8.8"); err == nil {
		t.Error("port 80 of an http url is not checked")
	}
	for _, host := range []string{"１２７.0.0.1", "127。0.0.1:80", "ｌocalhost", "①27.0.0.1", "bücher.example",
		"a\xff.example"} {
		var refusal *domain.Error
		err := CheckTarget(EgressConfig{Dev: true}, "http", host)
		if !errors.As(err, &refusal) || refusal.Code != "invalid_url" || !strings.Contains(refusal.Fix, "punycode") {
			t.Errorf("%s: %v", host, err)
		}
	}
	if err := CheckTarget(EgressConfig{}, "https", "xn--bcher-kva.example"); err != nil {
		t.Errorf("punycode: %v", err)
	}
	if err := CheckTarget(EgressConfig{}, "http", "example.com:99999"); domain.Code(err) != "invalid_url" {
		t.Errorf("an impossible port: %v", err)
	}
}

// Listeners on the loopback never get a connection, in whatever way their address is written.
func TestForbiddenListenersAcceptNothing(t *testing.T) {
	t.Parallel()
	var accepted atomic.Int32
	var port string
	for _, a := range []string{"127.0.0.1:0", "[::1]:0"} {
		addr := a
		if port != "" {
			addr = strings.TrimSuffix(a, "0") + port
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("not listening on %s: %v", addr, err)
			continue
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				accepted.Add(1)
				c.Close()
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
	}
	hosts := []string{"127.0.0.1", "127.0.0.2", "localhost", "LocalHost", "127.1", "2130706433", "0x7f000001",
		"0177.0.0.1", "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
		"[64:ff9b::7f00:1]",
		"[2002:7f00:1::]"}
	for _, host := range hosts {
		for _, cfg := range []EgressConfig{{}, {AllowPorts: []uint16{80, 443}}, {AllowCIDR: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8")}}} {
			w := newWorld(t, func(c *Config) { c.Egress = cfg })
			w.d.sender.dialer.Resolver.Dial = noResolver
			w.endpoint("ep", "http://"+host+":"+port+"/hook", func(c *domain.EndpointConfig) {
				c.Timeout = domain.Duration(5 * time.Second)
			})
			id := w.due("ep")
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			f := w.failure(id)
			if f.Sent != domain.SentNo || f.Code != domain.CodeBlocked && f.Code != domain.CodeDNS {
				t.Errorf("%s: %+v", host, f)
			}
			if f.Code == domain.CodeBlocked && !strings.Contains(string(f.Content.Ciphertext), "--allow-cidr") {
				t.Errorf("%s: the message names no fix: %s", host, f.Content.Ciphertext)
			}
		}
	}
	if n := accepted.Load(); n != 0 {
		t.Fatalf("forbidden listeners accepted %d connections", n)
	}
}
