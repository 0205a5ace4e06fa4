package delivery

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"hookledger/domain"
)

// authority signs certificates for receivers on the loopback.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}}
	raw := a.sign(t, a.cert)
	var err error
	if a.cert, err = x509.ParseCertificate(raw.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	return a
}

// sign gives a certificate of the template; the first is the authority's own.
func (a *authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == nil {
		a.key = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// leaf is the template of a receiver's certificate: valid for the loopback and for now.
func leaf() *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "receiver"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
}

// trust makes the authority the only one that the sender knows.
func (w *world) trust(a *authority) {
	transport, _ := w.d.sender.transport.(*http.Transport)
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(a.cert)
}

// A handshake that comes to nothing has a code that says why, and no byte of the request leaves.
func TestHostileHandshakes(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	with := func(a *authority, change func(*x509.Certificate), change2 func(*tls.Config)) func(net.Conn) {
		template := leaf()
		change(template)
		cfg := &tls.Config{Certificates: []tls.Certificate{a.sign(t, template)}, MinVersion: tls.VersionTLS10}
		change2(cfg)
		return func(c net.Conn) {
			s := tls.Server(c, cfg)
			if s.Handshake() == nil {
				_, _ = io.Copy(io.Discard, s) // whatever it says now, it says to a stranger
			}
		}
	}
	noChange := func(*tls.Config) {}
	asIs := func(*x509.Certificate) {}
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		code  domain.ErrorCode
	}{
		{"expired", with(ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, noChange),
			domain.CodeTLSExpired},
		{"not valid yet", with(ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }, noChange),
			domain.CodeTLSExpired},
		{"another host's", with(ca, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 9)} }, noChange),
			domain.CodeTLSName},
		{"a name's in the place of an address", with(ca, func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"127.0.0.1"}
		}, noChange), domain.CodeTLSName},
		{"of an unknown authority", with(stranger, asIs, noChange), domain.CodeTLSUnknownCA},
		{"for no server", with(ca, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		}, noChange), domain.CodeTLS},
		{"TLS 1.0 only", with(ca, asIs, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS10 }), domain.CodeTLS},
		{"TLS 1.1 only", with(ca, asIs, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }), domain.CodeTLS},
		{"plain HTTP on the port of TLS", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			say("HTTP/1.1 400 Bad Request\r\n\r\n")(c)
		}, domain.CodeTLS},
		{"no TLS at all", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			say("SSH-2.0-OpenSSH_9.6\r\n")(c)
		}, domain.CodeTLS},
		{"a handshake that nobody answers", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, domain.CodeTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			recv := listenRaw(t, func(_ int, c net.Conn) { tt.serve(c) })
			w := newWorld(t)
			w.trust(ca)
			f := w.meetAt("https://"+recv.Addr().String()+"/", tt.code == domain.CodeTimeout)
			if f == nil || f.Code != tt.code || f.Phase != "tls" || f.Sent != domain.SentNo {
				t.Fatalf("%+v, not %s", f, tt.code)
			}
		})
	}
}
