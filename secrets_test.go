package hookledger_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hookledger/delivery/channeltest"
	"hookledger/domain"
	"hookledger/sources/agenfleet/agenfleettest"
)

// TestSecretsStandInNoOutput: nothing that a person or a program reads of hookledger shows one of the secrets that it
// has: no command that shows something, in any format, and no page of the API, for any role; no export, no metric, no
// trace, no line of the log; and no error, of a command or of the API, about a value that is wrong.
func TestSecretsStandInNoOutput(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.readAPI()
	k.readCommands()
	k.complainByAPI()
	k.complainByCommands()
	// It ends in order, and so has sent its traces.
	if err := k.process.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-k.process.done
	k.places["the log"] = k.process.output()
	k.places["the traces"] = k.traces.String()
	if !strings.Contains(k.places["the traces"], "attempt") {
		t.Error("no attempt was traced")
	}
	if len(k.places) < 300 {
		t.Errorf("only %d places were read", len(k.places))
	}
	for where, text := range k.places {
		for kind, secret := range k.secrets {
			if kind == "Slack URL" && k.seeURLs[where] {
				continue
			}
			for _, form := range formsOf(secret) {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("%s: the %s stands there: …%.60q", where, kind, text[max(0, at-30):])
				}
			}
		}
	}
	t.Logf("%d secrets are in none of %d places", len(k.secrets), len(k.places))
}

// formsOf are the ways in which a secret could be written down.
func formsOf(secret string) []string {
	bare := secret
	for _, prefix := range []string{domain.SecretPrefix, domain.PrivateKeyPrefix, "hl_"} {
		bare = strings.TrimPrefix(bare, prefix)
	}
	return []string{bare, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.RawURLEncoding.EncodeToString([]byte(secret))}
}

// keeper is a server that was given a secret of each kind, or made it.
type keeper struct {
	*api
	secrets map[string]string // by kind
	made    map[string]string // ids, by their prefix or what they are
	traces  *spans
	places  map[string]string // what was read, by where
	seeURLs map[string]bool   // the places that show URLs whole: those who change endpoints read there
}

// spans is a collector that keeps the traces as they come.
type spans struct {
	mu  sync.Mutex // guards got
	got bytes.Buffer
}

func (s *spans) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if z, err := gzip.NewReader(r.Body); err == nil {
		body = z
	}
	raw, _ := io.ReadAll(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got.Write(raw)
}

func (s *spans) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

// newKeeper starts the server, gives it its secrets, has an event delivered to each kind of endpoint, and ends it: what
// was sent is on the ledger, and in the traces.
func newKeeper(t *testing.T) *keeper {
	t.Helper()
	k := &keeper{traces: &spans{}, made: map[string]string{}, places: map[string]string{},
		seeURLs: map[string]bool{}, secrets: map[string]string{
			"master key":           strings.Repeat("5ec7e7", 10) + "0123",
			"administrator's key":  "hl_" + strings.Repeat("canaryADMIN", 4)[:43],
			"signing secret given": "whsec_" + base64.StdEncoding.EncodeToString([]byte("canary: a secret of 30 bytes..")),
			"private key of v1a":   domain.EncodePrivateKey([]byte("canary: the 32 bytes of its seed")).Reveal(),
			"header's value":       "canary-header", "password of basic": "canary-basic", "bearer token": "canary-bearer",
			"legacy secret": "canary-legacy", "Slack URL": strings.TrimPrefix(channeltest.SlackPath, "/services/"),
			"Telegram token": "123456:AA-canary-telegram-token-of-35-char", "SMTP password": "canary-smtp",
			"password of a source": "canary-fleet", "API key of a source": "canary-fleet-key",
		}}
	collector := httptest.NewServer(k.traces)
	t.Cleanup(collector.Close)
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	mail := &channeltest.Mail{Username: "agents", Password: k.secrets["SMTP password"]}
	smtpAt, err := mail.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mail.Close() })
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, append(mailCert(t, smtpAt), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
		Bytes: receiver.Certificate().Raw})...), 0o600); err != nil {
		t.Fatal(err)
	}
	k.api = serveWith(t, []string{"HOOKLEDGER_MASTER_KEY=" + k.secrets["master key"], "SSL_CERT_FILE=" + roots,
		"HOOKLEDGER_ADMIN_KEY=" + k.secrets["administrator's key"]}, "--log-level", "debug", "--otlp-endpoint", collector.URL)
	k.key = k.secrets["administrator's key"]
	k.endpoints(receiver.URL, smtpAt)
	k.sources()
	k.deliver()
	return k
}

// mailCert is the certificate of a mail server, as PEM.
func mailCert(t *testing.T, address string) []byte {
	t.Helper()
	host, _, _ := net.SplitHostPort(address)
	c, err := smtp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	//nolint:gosec // it is this process's own; its certificate is what is asked for
	if err := c.StartTLS(&tls.Config{ServerName: host, InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	state, _ := c.TLSConnectionState()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: state.PeerCertificates[0].Raw})
}

// endpoints makes one of each kind, with all that can be given to it.
func (k *keeper) endpoints(receiver, smtpAt string) {
	k.t.Helper()
	cert, key := clientPair(k.t, "keeper")
	lines := strings.Split(string(key), "\n")
	k.secrets["key of a client certificate"] = lines[1]
	slack := httptest.NewServer(&channeltest.Slack{})
	k.t.Cleanup(slack.Close)
	telegram := httptest.NewServer(&channeltest.Telegram{Token: k.secrets["Telegram token"], Chat: "@ops_channel"})
	k.t.Cleanup(telegram.Close)
	for name, body := range map[string]map[string]any{
		"plain": {"url": receiver + "/plain", "headers": map[string]string{"X-Canary": k.secrets["header's value"]},
			"auth": map[string]string{"type": "basic", "username": "user",
				"password": k.secrets["password of basic"]},
			"client_cert":      map[string]string{"chain": string(cert), "key": string(key)},
			"legacy_signature": map[string]string{"header": "X-Legacy", "secret": k.secrets["legacy secret"]}},
		"given": {"url": receiver + "/given", "secret": k.secrets["signing secret given"],
			"auth": map[string]string{"type": "bearer", "token": k.secrets["bearer token"]}},
		"v1a":   {"url": receiver + "/v1a", "secret": k.secrets["private key of v1a"]},
		"slack": {"kind": "slack", "url": slack.URL + channeltest.SlackPath},
		"telegram": {"kind": "telegram", "url": telegram.URL,
			"telegram": map[string]string{"chat_id": "@ops_channel", "token": k.secrets["Telegram token"]}},
		"email": {"kind": "email", "email": map[string]string{"server": smtpAt, "from": "a@example.com",
			"to": "b@example.com", "username": "agents", "password": k.secrets["SMTP password"]}},
	} {
		body["event_types"] = []string{"agent.*"}
		var made, rotated struct{ ID, Secret string }
		k.call(http.MethodPost, "/v1/endpoints", body, &made)
		k.made["/v1/endpoints "+name] = made.ID
		if name == "plain" {
			k.call(http.MethodPost, "/v1/endpoints/"+made.ID+"/rotate-secret", map[string]any{}, &rotated)
			k.secrets["signing secret made"], k.secrets["signing secret rotated"] = made.Secret, rotated.Secret
		}
	}
}

// sources makes one of each kind and of each login, and keys for all roles.
func (k *keeper) sources() {
	k.t.Helper()
	fleet := agenfleettest.New(agenfleettest.Agent{ID: "atlas", Status: "online"})
	fleet.Password, fleet.Key = k.secrets["password of a source"], k.secrets["API key of a source"]
	upstream := httptest.NewServer(fleet)
	k.t.Cleanup(upstream.Close)
	base := upstream.URL + agenfleettest.Base
	for name, body := range map[string]map[string]any{
		"login": {"kind": "agenfleet", "agenfleet": map[string]string{"url": base, "email": fleet.Email,
			"password": fleet.Password}},
		"refused": {"kind": "agenfleet", "agenfleet": map[string]string{"url": base, "email": "another@example.com",
			"password": fleet.Password}},
		"key":  {"kind": "agenfleet", "agenfleet": map[string]string{"url": base, "auth": "api_key", "api_key": fleet.Key}},
		"cron": {"kind": "cron"},
	} {
		var made struct{ ID, Path string }
		k.call(http.MethodPost, "/v1/sources", body, &made)
		k.made["/v1/sources "+name] = made.ID
		if name == "cron" {
			k.secrets["token of a source"] = strings.TrimPrefix(made.Path, "/in/cron/")
			k.call(http.MethodPost, made.Path, map[string]string{"job_id": "j", "output": "done"}, nil)
			var next struct{ Path string }
			k.call(http.MethodPost, "/v1/sources/"+made.ID+"/rotate-token", nil, &next)
			k.secrets["next token of a source"] = strings.TrimPrefix(next.Path, "/in/cron/")
		}
	}
	for _, role := range domain.Roles() {
		var made struct{ ID, Key string }
		k.call(http.MethodPost, "/v1/api-keys", map[string]any{"role": role}, &made)
		k.secrets["key of role "+string(role)] = made.Key
	}
}

// deliver posts an event, waits until it has gone to each endpoint, and until the attempts were traced.
func (k *keeper) deliver() {
	k.t.Helper()
	var receipt struct {
		ID         string
		Deliveries []struct{ ID string }
	}
	k.call(http.MethodPost, "/v1/events", map[string]any{"event": "agent.status_changed",
		"data": map[string]string{"agentId": "a", "from": "online", "to": "offline"}}, &receipt)
	k.made["/v1/events"] = receipt.ID
	var page struct{ Data []struct{ ID, Status string } }
	for len(page.Data) < len(receipt.Deliveries) || len(page.Data) < 6 {
		k.call(http.MethodGet, "/v1/deliveries?status=succeeded&event_id="+receipt.ID, nil, &page)
	}
	for _, d := range page.Data {
		k.made["/v1/deliveries "+d.ID] = d.ID
	}
	k.call(http.MethodGet, "/v1/attempts?event_id="+receipt.ID, nil, &page)
	for _, a := range page.Data {
		k.made["/v1/attempts "+a.ID] = a.ID
	}
	var made struct{ ID string }
	k.call(http.MethodPost, "/v1/replays", map[string]any{"select": map[string]any{"event_types": []string{"*"}}}, &made)
	k.made["/v1/replays"] = made.ID
	k.call(http.MethodPost, "/v1/reconciliations", map[string]any{"period": "2026-03"}, &made)
	k.made["/v1/reconciliations"] = made.ID
	k.made["/v1/tenants"], k.made["/v1/event-types"] = "default", "agent.status_changed"
}
