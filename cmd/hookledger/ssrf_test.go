package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hookledger/delivery/dnstest"
)

// Everything that a tenant can set and that makes the server connect somewhere, against listeners that it must never
// reach: they count what they accept. The server is the whole of it, its name server is ours, and 127.0.0.2 stands in
// for the public internet.

const outsideAddress = "127.0.0.2"

// house is the server with its surroundings.
type ssrfHouse struct {
	names    *dnstest.Server
	port     string       // of the forbidden listeners, and of the one outside
	accepted atomic.Int32 // by the forbidden ones
	outside  atomic.Int32 // requests to the one outside
	log      lockedBuffer
	tenant   *node // the API, with a tenant's key
}

// lockedBuffer takes a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSSRFHouse(t *testing.T) *ssrfHouse {
	t.Helper()
	h := &ssrfHouse{names: dnstest.Serve(t)}
	h.forbid(t)
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.outside.Add(1)
		w.Header().Set("Connection", "close") // so that the next request looks the name up again
		if strings.HasPrefix(r.URL.Path, "/redirect") {
			w.Header().Set("Location", "http://127.0.0.1:"+h.port+"/inside")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}))
	l, err := net.Listen("tcp", net.JoinHostPort(outsideAddress, h.port))
	if err != nil {
		t.Fatal(err)
	}
	receiver.Listener = l
	receiver.Start()
	t.Cleanup(receiver.Close)

	cfg := serverConfig{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(&h.log, nil))}
	cfg.Egress.Resolver = h.names.Resolver()
	cfg.Egress.AllowCIDR = []netip.Prefix{netip.MustParsePrefix(outsideAddress + "/32")}
	s := started(t, cfg)
	platform := &node{url: s.URL, key: s.AdminKey.Reveal(), t: t}
	var key struct{ Key string }
	into(t, platform.must(http.MethodPost, "/v1/api-keys", map[string]string{"role": "admin"}), &key)
	h.tenant = &node{url: s.URL, key: key.Key, t: t}
	return h
}

// forbid listens on every address of this machine that nobody may reach, all on one port.
func (h *ssrfHouse) forbid(t *testing.T) {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"127.0.0.1"}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.String() != hosts[0] && !n.IP.IsLinkLocalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	h.port = "0"
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, h.port))
		if err != nil {
			t.Logf("not listening on %s: %v", host, err)
			continue
		}
		_, h.port, _ = net.SplitHostPort(l.Addr().String())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				h.accepted.Add(1)
				_ = c.Close()
			}
		}()
		t.Cleanup(func() { _ = l.Close(); <-done })
	}
}

// Names that lead inside, and such that lead nowhere; .test is nobody's.
var ssrfNames = map[string][]dnstest.Answer{
	"loopback.test":    {dnstest.To("127.0.0.1")},
	"loopback6.test":   {dnstest.To("::1")},
	"both.test":        {dnstest.To("127.0.0.1", "::1")},
	"many.test":        {dnstest.To("127.0.0.1", "10.0.0.1", "169.254.169.254")},
	"private.test":     {dnstest.To("10.1.2.3")},
	"metadata.test":    {dnstest.To("169.254.169.254")},
	"azure.test":       {dnstest.To("168.63.129.16")},
	"unspecified.test": {dnstest.To("0.0.0.0", "::")},
	"mapped.test":      {dnstest.To("::ffff:127.0.0.1")},
	"nat64.test":       {dnstest.To("64:ff9b::7f00:1")},
	"sixtofour.test":   {dnstest.To("2002:7f00:1::1")},
	"compatible.test":  {dnstest.To("::127.0.0.1")},
	"unique.test":      {dnstest.To("fd00::1")},
	"alias.test":       {{CNAME: "db.internal", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}},
}

var ssrfNowhere = map[string][]dnstest.Answer{
	"empty.test":  {},
	"broken.test": {{Fail: true}},
	// gone.test does not exist.
}

func TestNothingThatATenantSetsLeadsInside(t *testing.T) {
	t.Parallel()
	h := newSSRFHouse(t)
	inside := []string{"gone.test"}
	for _, set := range []map[string][]dnstest.Answer{ssrfNames, ssrfNowhere} {
		for name, answers := range set {
			h.names.Name(name, answers...)
			inside = append(inside, name, strings.ToUpper(name)+".")
		}
	}
	// Public when it is first looked up, internal from then on: both in turn, and within one answer.
	outside := dnstest.To(outsideAddress)
	h.names.Name("rebind.test", outside, dnstest.To("127.0.0.1"))
	h.names.Name("rebind6.test", outside, dnstest.To("::1"))
	h.names.Name("mixed.test", dnstest.To(outsideAddress, "::1"), dnstest.To("127.0.0.1", "::1"))
	h.names.Name("outside.test", outside)

	literals := []string{"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
		"0", "0.0.0.0", "127.0.0.1.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]",
		"[2002:7f00:1::]", "[fe80::1%25lo]", "localhost", "LOCALHOST.", "x.localhost", "10.0.0.1", "169.254.169.254",
		"outside.test@127.0.0.1", "127.0.0.1#@outside.test", "１２７.0.0.1", "127。0.0.1", "outside.test:80@127.0.0.1"}
	for _, host := range literals {
		for _, url := range []string{"http://" + host + ":" + h.port + "/", "https://" + host + ":" + h.port + "/"} {
			for kind, code := range h.endpoints(t, url) {
				if code/100 != 4 {
					t.Errorf("an endpoint of kind %s at %s is answered %d", kind, url, code)
				}
			}
			if code, _ := h.source(t, url); code/100 != 4 {
				t.Errorf("a source at %s is answered %d", url, code)
			}
		}
	}
	for _, host := range append(inside, "rebind.test", "rebind6.test", "mixed.test", "outside.test/redirect") {
		host, path, _ := strings.Cut(host, "/")
		for _, scheme := range []string{"http", "https"} {
			for kind, code := range h.endpoints(t, scheme+"://"+host+":"+h.port+"/"+path) {
				if code != http.StatusCreated {
					t.Errorf("an endpoint of kind %s at %s is answered %d", kind, host, code)
				}
			}
		}
	}
	h.deliver(t)
	for _, host := range append(inside, "rebind.test", "rebind6.test", "mixed.test", "outside.test") {
		for range 2 {
			if code, id := h.source(t, "http://"+host+":"+h.port); code == http.StatusCreated {
				h.tenant.must(http.MethodPost, "/v1/sources/"+id+"/test", map[string]string{})
			}
		}
	}
	if n := h.accepted.Load(); n != 0 {
		t.Errorf("forbidden listeners accepted %d connections", n)
	}
	if h.outside.Load() < 4 || h.names.Asked("rebind.test") < 2 {
		t.Errorf("%d requests came to the one outside, the name that rebinds was looked up %d times: nothing was tested",
			h.outside.Load(), h.names.Asked("rebind.test"))
	}
}

// endpoints registers an endpoint of each kind that can be at the URL, or at its host, and gives the answers' status.
func (h *ssrfHouse) endpoints(t *testing.T, url string) map[string]int {
	t.Helper()
	code := map[string]int{}
	register := func(kind string, where map[string]any) {
		t.Helper()
		body := map[string]any{"kind": kind, "event_types": []string{"*"}, "retry_schedule": []string{"0s", "0s"},
			"timeout": "5s"}
		maps.Copy(body, where)
		code[kind], _ = h.create(t, "/v1/endpoints", body)
	}
	register("webhook", map[string]any{"url": url})
	if strings.HasPrefix(url, "https") {
		register("slack", map[string]any{"url": url})
		register("telegram", map[string]any{"url": url, "telegram": map[string]string{"chat_id": "-1001",
			"token": "123456:ABCDEFGHIJKLMNOP"}})
		server, _, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
		// The one outside is no mail server: what waits for its greeting waits out the timeout.
		register("email", map[string]any{"timeout": "1s", "email": map[string]string{"server": server,
			"from": "a@example.com", "to": "b@example.com"}})
	}
	return code
}

// deliver posts an event, and waits until all its deliveries have ended.
func (h *ssrfHouse) deliver(t *testing.T) {
	t.Helper()
	var receipt struct{ Position uint64 }
	into(t, h.tenant.must(http.MethodPost, "/v1/events", map[string]any{"event": "agent.status_changed",
		"data": map[string]string{"agentId": "a", "from": "online", "to": "offline"}}), &receipt)
	if receipt.Position == 0 {
		t.Fatal("the receipt names no position")
	}
	h.tenant.must(http.MethodGet, fmt.Sprintf("/v1/deliveries?limit=1&min_position=%d", receipt.Position), nil)
	h.tenant.awaitTerminal(t)
}

func (h *ssrfHouse) source(t *testing.T, url string) (code int, id string) {
	t.Helper()
	return h.create(t, "/v1/sources", map[string]any{"kind": "agenfleet",
		"agenfleet": map[string]string{"url": url, "auth": "api_key", "api_key": "key"}})
}

func (h *ssrfHouse) create(t *testing.T, path string, body any) (code int, id string) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	code, answer, err := h.tenant.call(http.MethodPost, path, raw)
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ ID string }
	_ = json.Unmarshal(answer, &made) // a refusal has none
	return code, made.ID
}

// What a tenant can read of a name that leads inside is, to the byte, what it reads of one that does not exist: in
// attempts, lists, records, and when a source is tried out. The log says which it was.
func TestATenantCannotTellABlockedNameFromNone(t *testing.T) {
	t.Parallel()
	h := newSSRFHouse(t)
	seen := map[string][]string{} // what a tenant sees, by name
	names := []string{"gone.test"}
	for _, set := range []map[string][]dnstest.Answer{ssrfNames, ssrfNowhere} {
		for name, answers := range set {
			h.names.Name(name, answers...)
			names = append(names, name)
		}
	}
	endpoints := map[string]string{} // names by endpoint
	for _, name := range names {
		code, id := h.create(t, "/v1/endpoints", map[string]any{"url": "http://" + name + ":" + h.port + "/",
			"event_types": []string{"*"}, "retry_schedule": []string{"0s"}, "timeout": "5s"})
		if code != http.StatusCreated {
			t.Fatalf("an endpoint at %s is answered %d", name, code)
		}
		endpoints[id] = name
	}
	h.deliver(t)
	var attempts struct {
		Data []struct {
			ID, Status string
			DeliveryID string `json:"delivery_id"`
			EndpointID string `json:"endpoint_id"`
		}
	}
	deliveries := map[string]string{} // names by delivery
	into(t, h.tenant.must(http.MethodGet, "/v1/attempts?limit=100", nil), &attempts)
	for _, a := range attempts.Data {
		name := endpoints[a.EndpointID]
		deliveries[a.DeliveryID] = name
		var one struct {
			ErrorCode  string          `json:"error_code"`
			RemoteAddr string          `json:"remote_addr"`
			Failure    json.RawMessage `json:"failure"`
			Timings    map[string]any  `json:"timings"`
		}
		into(t, h.tenant.must(http.MethodGet, "/v1/attempts/"+a.ID, nil), &one)
		delete(one.Timings, "total_ms") // it is how long the look-up took
		seen[name] = append(seen[name], fmt.Sprintf("%s %s %s %s %v", a.Status, one.ErrorCode, one.RemoteAddr, one.Failure,
			one.Timings))
	}
	records := bytes.TrimSpace(h.tenant.must(http.MethodGet, "/v1/records?after=0", nil))
	for _, line := range bytes.Split(records, []byte("\n")) {
		var r struct {
			Type, Stream string
			Data         struct {
				Phase, Code, Sent string
				Content           struct{ Ciphertext []byte }
			}
		}
		into(t, line, &r)
		if name := deliveries[r.Stream[strings.LastIndex(r.Stream, ".")+1:]]; name != "" && r.Type == "AttemptFailed" {
			seen[name] = append(seen[name], fmt.Sprintf("%+v sealed in %d bytes", r.Data.Phase+r.Data.Code+r.Data.Sent,
				len(r.Data.Content.Ciphertext)))
		}
	}
	for _, name := range names {
		_, id := h.source(t, "http://"+name+":"+h.port)
		answer := h.tenant.must(http.MethodPost, "/v1/sources/"+id+"/test", map[string]string{})
		seen[name] = append(seen[name], strings.ReplaceAll(string(answer), name, "NAME"))
	}
	want := seen["gone.test"]
	if len(want) != 5 || !strings.Contains(want[0], "dns_lookup_failed") { // two attempts, their records, a source
		t.Fatalf("of a name that does not exist a tenant sees %q", want)
	}
	for _, name := range names {
		if !slices.Equal(seen[name], want) {
			t.Errorf("of %s a tenant sees\n%q, of one that does not exist\n%q", name, seen[name], want)
		}
	}
	for _, word := range []string{"host=metadata.test", "169.254.169.254", "--allow-cidr", "host=gone.test"} {
		if !strings.Contains(h.log.String(), word) {
			t.Errorf("the log does not say %s", word)
		}
	}
	if n := h.accepted.Load(); n != 0 {
		t.Errorf("forbidden listeners accepted %d connections", n)
	}
}
