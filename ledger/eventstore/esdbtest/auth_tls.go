package esdbtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CA is a certificate authority that a test makes for itself: its nodes' certificates, and its users', are signed by
// it.
type CA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

// NewCA makes an authority that is good for a day.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("esdbtest: make a CA: %w", err)
	}
	t := template("esdbtest CA")
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("esdbtest: make a CA: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("esdbtest: make a CA: %w", err)
	}
	return &CA{certificate, key, encode("CERTIFICATE", der)}, nil
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(24 * time.Hour)}
}

// PEM is the authority's certificate, as tlsCaFile wants it.
func (ca *CA) PEM() []byte { return ca.pem }

// Node signs a certificate for a node that is reached under these names or addresses, 127.0.0.1 and localhost if none
// is given.
func (ca *CA) Node(hosts ...string) (certificate, key []byte, err error) {
	if hosts == nil {
		hosts = []string{"127.0.0.1", "localhost"}
	}
	t := template("eventstoredb-node")
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return ca.sign(t)
}

// User signs a certificate for a user, whose name is its common name.
func (ca *CA) User(name string) (certificate, key []byte, err error) {
	t := template(name)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return ca.sign(t)
}

func (ca *CA) sign(t *x509.Certificate) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("esdbtest: make a key: %w", err)
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, ca.certificate, &private.PublicKey, ca.key)
	if err != nil {
		return nil, nil, fmt.Errorf("esdbtest: sign a certificate: %w", err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("esdbtest: make a key: %w", err)
	}
	return encode("CERTIFICATE", der), encode("EC PRIVATE KEY", raw), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Write puts the authority's certificate into a folder as ca.crt, a node's as node.crt and node.key, and each user's as
// <name>.crt and <name>.key: what a connection string and the command serve are given.
func (ca *CA) Write(dir string, users ...string) error {
	files := map[string][]byte{"ca.crt": ca.pem}
	var err error
	if files["node.crt"], files["node.key"], err = ca.Node(); err != nil {
		return err
	}
	for _, u := range users {
		if files[u+".crt"], files[u+".key"], err = ca.User(u); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return fmt.Errorf("esdbtest: write a certificate: %w", err)
		}
	}
	return nil
}

// WithTLS turns TLS on, and with it users and access lists: the node has a certificate for 127.0.0.1 and localhost that
// this authority signed. A client's certificate must be signed by it too, and means nothing unless
// WithUserCertificates.
func WithTLS(ca *CA) Option {
	return func(c *config) error {
		certificate, key, err := ca.Node()
		if err != nil {
			return err
		}
		return c.useTLS(certificate, key, ca.pem)
	}
}

// WithTLSFiles does the same with certificates that are there: the node's, its key, and the authority of clients'.
func WithTLSFiles(certificate, key, ca string) Option {
	return func(c *config) error {
		var texts [3][]byte
		for i, name := range []string{certificate, key, ca} {
			text, err := os.ReadFile(name)
			if err != nil {
				return fmt.Errorf("esdbtest: TLS needs a certificate, its key and a CA: %w", err)
			}
			texts[i] = text
		}
		return c.useTLS(texts[0], texts[1], texts[2])
	}
}

// WithUserCertificates takes a client's certificate for a login: its common name is the user's.
func WithUserCertificates() Option {
	return func(c *config) error {
		c.certificates = true
		return nil
	}
}

func (c *config) useTLS(certificate, key, ca []byte) error {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("esdbtest: the node's certificate and key: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return errors.New("esdbtest: the CA's file holds no certificate in PEM")
	}
	c.tls = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: roots,
		ClientAuth: tls.VerifyClientCertIfGiven}
	return nil
}

// query is the connection string's part behind the addresses.
func (c *config) query() string {
	if c.tls != nil {
		return "?tls=true"
	}
	return "?tls=false"
}
