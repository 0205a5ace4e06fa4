package delivery

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hookledger/domain"
)

// clientAuthority signs certificates for tests.
type clientAuthority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newClientAuthority(t testing.TB) *clientAuthority {
	t.Helper()
	a := &clientAuthority{t: t, pool: x509.NewCertPool()}
	a.cert, a.key, _ = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate and its key, and both as one PEM text; without a signer it signs itself.
func (a *clientAuthority) sign(c *x509.Certificate,
	by *clientAuthority) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), laterOf(c.NotAfter, time.Now().Add(time.Hour)); by == nil {
		by = &clientAuthority{cert: c, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, &key.PublicKey, by.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
}

func laterOf(t, otherwise time.Time) time.Time {
	if t.IsZero() {
		return otherwise
	}
	return t
}

func (a *clientAuthority) client(name string) []byte {
	_, _, text := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a)
	return text
}

// mutualTLS is a receiver that takes requests of clients with a certificate of the authority only, and remembers on
// which connection whose came.
type mutualTLS struct {
	*httptest.Server
	mu  sync.Mutex
	who map[string][]string // remote address to the clients' names
}

func newMutualTLS(t testing.TB, clients *x509.CertPool, highest uint16) *mutualTLS {
	t.Helper()
	m := &mutualTLS{who: map[string][]string{}}
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.who[r.RemoteAddr] = append(m.who[r.RemoteAddr], r.TLS.PeerCertificates[0].Subject.CommonName)
		m.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}))
	m.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MaxVersion: highest,
		MinVersion: tls.VersionTLS12}
	m.EnableHTTP2 = true
	m.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	m.StartTLS()
	t.Cleanup(m.Close)
	return m
}

func (m *mutualTLS) trusted(w *world) {
	w.t.Helper()
	ours, ok := w.d.sender.transport.(*http.Transport)
	if !ok {
		w.t.Fatal("the transport is no http.Transport")
	}
	pool := x509.NewCertPool()
	pool.AddCert(m.Certificate())
	ours.TLSClientConfig.RootCAs = pool
}

func (w *world) withCert(id, url, secret string, pair []byte) {
	w.t.Helper()
	c, err := ParseClientCert(pair)
	if err != nil {
		w.t.Fatal(err)
	}
	w.endpoint(id, url, func(cfg *domain.EndpointConfig) {
		shown := c.Shown
		shown.Pair = w.vault.giveSecret(secret, string(pair))
		cfg.ClientCert = &shown
	})
}

// TestClientCertificatesAreShownAndConnectionsNotShared: a receiver that requires a certificate gets each endpoint's
// own, over HTTP/2 too, and never sees two of them on one connection; a new certificate takes the place of the old one.
func TestClientCertificatesAreShownAndConnectionsNotShared(t *testing.T) {
	t.Parallel()
	ca := newClientAuthority(t)
	m := newMutualTLS(t, ca.pool, 0)
	w := newWorld(t)
	m.trusted(w)
	w.withCert("ep_a", m.URL+"/a", "cr_a", ca.client("alice"))
	w.withCert("ep_b", m.URL+"/b", "cr_b", ca.client("bob"))
	deliver := func(endpoint string) {
		t.Helper()
		id := w.due(endpoint)
		if _, err := w.turn(endpoint); err != nil {
			t.Fatal(err)
		}
		if count[*domain.DeliverySucceeded](w.store.facts(id)) != 1 {
			t.Fatalf("%s: %v", endpoint, w.store.types(id))
		}
	}
	for range 3 {
		deliver("ep_a")
		deliver("ep_b")
	}
	w.withCert("ep_a", m.URL+"/a", "cr_a2", ca.client("anna"))
	deliver("ep_a")
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[string]int{}
	for conn, names := range m.who {
		for _, n := range names {
			seen[n]++
		}
		if slices.Sort(names); len(slices.Compact(names)) != 1 {
			t.Errorf("one connection, %s, carried requests of %v", conn, names)
		}
	}
	if seen["alice"] != 3 || seen["bob"] != 3 || seen["anna"] != 1 {
		t.Errorf("the receiver saw %v", seen)
	}
	if own := len(w.d.sender.own); own != 2 {
		t.Errorf("%d transports are kept", own)
	}
}

// TestAReceiverThatRefusesTheCertificateGetsNothing: none shown, and one of another authority. What the client hears of
// it depends on when the receiver hangs up: with TLS 1.3 the request was written by then.
func TestAReceiverThatRefusesTheCertificateGetsNothing(t *testing.T) {
	t.Parallel()
	ca, stranger := newClientAuthority(t), newClientAuthority(t)
	codes := []domain.ErrorCode{domain.CodeTLSClientCert, domain.CodeTLS, domain.CodeReset}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		m := newMutualTLS(t, ca.pool, version)
		w := newWorld(t)
		m.trusted(w)
		w.endpoint("ep_none", m.URL+"/none")
		w.withCert("ep_other", m.URL+"/other", "cr_other", stranger.client("mallory"))
		for _, endpoint := range []string{"ep_none", "ep_other"} {
			id := w.due(endpoint)
			if _, err := w.turn(endpoint); err != nil {
				t.Fatal(err)
			}
			if f := w.failure(id); !slices.Contains(codes, f.Code) {
				t.Errorf("%s, %s: %+v %s", tls.VersionName(version), endpoint, f, f.Content.Ciphertext)
			}
		}
		if len(m.who) != 0 {
			t.Errorf("the receiver took %v", m.who)
		}
	}
}

// TestAlertsAboutTheClientsCertificateHaveTheirCode: the texts are those of crypto/tls for what the other side sent.
func TestAlertsAboutTheClientsCertificateHaveTheirCode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]domain.ErrorCode{
		"tls: certificate required": domain.CodeTLSClientCert, "tls: bad certificate": domain.CodeTLSClientCert,
		"tls: unknown certificate authority": domain.CodeTLSClientCert,
		"tls: expired certificate":           domain.CodeTLSClientCert, "tls: access denied": domain.CodeTLSClientCert,
		"tls: handshake failure": domain.CodeTLS, "tls: protocol version not supported": domain.CodeTLS,
	} {
		at := phaseResponse
		err := fmt.Errorf("round trip: %w", &net.OpError{Op: "remote error", Err: errors.New(text)})
		if got := classify(err, &at); got != want || at != phaseTLS {
			t.Errorf("%s: %s in %s", text, got, at)
		}
	}
}

func TestParseClientCert(t *testing.T) {
	t.Parallel()
	ca := newClientAuthority(t)
	one, two := ca.client("one"), ca.client("two")
	split := func(pair []byte) (cert, key []byte) {
		i := bytes.Index(pair, []byte("-----BEGIN PRIVATE"))
		return pair[:i], pair[i:]
	}
	cert, key := split(one)
	_, otherKey := split(two)
	_, _, server := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "server"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, ca)
	for name, text := range map[string][]byte{
		"nothing": nil, "no key": cert, "no certificate": key, "another key": slices.Concat(cert, otherKey),
		"no PEM": []byte("canary"), "one of a server": server,
	} {
		_, err := ParseClientCert(text)
		if domain.Code(err) != "invalid_client_cert" || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := ParseClientCert(slices.Concat(key, []byte("\n"), cert))
	if err != nil || got.Shown.Subject != "CN=one" || len(got.Shown.Fingerprint) != 64 ||
		!got.Shown.NotAfter.After(time.Now()) {
		t.Errorf("%v: %+v", err, got)
	}
}
