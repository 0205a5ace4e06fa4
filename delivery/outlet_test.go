package delivery

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"hookledger/delivery/dnstest"
	"hookledger/domain"
)

// A name that leads inside fails as one that does not exist does, byte for byte; only the log knows which it was, and
// names a host once an hour.
func TestANameThatLeadsInsideIsOneThatLeadsNowhere(t *testing.T) {
	t.Parallel()
	names := dnstest.Serve(t)
	names.Name("inside.test", dnstest.To("10.0.0.1"))
	names.Name("inside6.test", dnstest.To("fd00::1", "10.0.0.1"))
	names.Name("port.test", dnstest.To("8.8.8.8"))
	names.Name("empty.test")
	names.Name("broken.test", dnstest.Answer{Fail: true})
	var log bytes.Buffer
	w := newWorld(t, func(c *Config) {
		c.Egress.Resolver, c.Egress.AllowPorts = names.Resolver(), []uint16{443}
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	fail := func(host string) (*domain.AttemptFailed, string) {
		t.Helper()
		w.endpoint(host, "http://"+host+"/")
		id := w.due(host)
		if _, err := w.turn(host); err != nil {
			t.Fatal(err)
		}
		f := w.decided(id)
		if f == nil {
			t.Fatalf("%s was reached", host)
		}
		return f, string(f.Content.Ciphertext)
	}
	gone, says := fail("gone.test")
	if gone.Code != domain.CodeDNS || gone.Phase != "dns" || gone.Sent != domain.SentNo ||
		strings.Contains(says, "gone.test") {
		t.Errorf("of a name that does not exist: %+v %s", gone, says)
	}
	for _, host := range []string{"inside.test", "inside6.test", "port.test", "empty.test", "broken.test",
		"INSIDE.test."} {
		f, text := fail(host)
		if f.Code != gone.Code || f.Phase != gone.Phase || f.Sent != gone.Sent || f.RemoteAddr != "" || text != says {
			t.Errorf("of %s a tenant sees %+v %s", host, f, text)
		}
	}
	// An address that was given as one is refused by its name, with the flag.
	if f, text := fail("10.0.0.1"); f.Code != domain.CodeBlocked || !strings.Contains(text, "--allow-cidr 10.0.0.1/32") {
		t.Errorf("of an address: %+v %s", f, text)
	}
	fail("inside.test")
	for said, times := range map[string]int{"host=inside.test ": 1, "10.0.0.1": 3, "--allow-port 80": 1,
		"host=gone.test": 1} {
		if n := strings.Count(log.String(), said); n < times || times == 1 && n > 1 {
			t.Errorf("the log says %q %d times:\n%s", said, n, log.String())
		}
	}
}

// A name server that does not answer is a timeout, and says nothing of itself.
func TestANameServerThatIsMute(t *testing.T) {
	t.Parallel()
	names := dnstest.Serve(t)
	names.Name("mute.test", dnstest.Answer{Mute: true})
	w := newWorld(t, func(c *Config) { c.Egress.Resolver = names.Resolver() })
	w.endpoint("ep", "http://mute.test/", func(c *domain.EndpointConfig) {
		c.Timeout = domain.Duration(200 * time.Millisecond)
	})
	id := w.due("ep")
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	f := w.decided(id)
	// Whether the look-up's end is seen first, or the attempt's, is the scheduler's affair: the phase is one or the other.
	if f == nil || f.Code != domain.CodeTimeout || f.Sent != domain.SentNo ||
		strings.Contains(string(f.Content.Ciphertext), "127.0.0.1") {
		t.Errorf("%+v %s", f, f.Content.Ciphertext)
	}
	if !errors.Is(&nameError{slow: true}, context.DeadlineExceeded) || errors.Is(&nameError{}, context.DeadlineExceeded) {
		t.Error("only a name that was not looked up in time is a timeout")
	}
}
