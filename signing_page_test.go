package hookledger_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clientPair makes a client certificate that signs itself, as PEM.
func clientPair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// TestSigningPage runs every command of docs/signing.md, in its order.
func TestSigningPage(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	cert, key := clientPair(t, "hookledger")
	for name, text := range map[string][]byte{"client.pem": cert, "client-key.pem": key} {
		if err := os.WriteFile(filepath.Join(r.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.run("go build -o hookledger ./cmd/hookledger")
	r.page(read(t, "docs/signing.md"), 18, func(line string) {
		if strings.Contains(line, "hookledger serve") || strings.Contains(line, "hookledger receive") ||
			strings.Contains(line, "event send") {
			r.run(line)
			return
		}
		out := r.command(r.dir, r.filled(line))
		for when, shown := range map[string]string{
			"--overlap 48h": "whsec_", "endpoint keys ep_… -o json": "whpk_", "endpoint get ep_…": "X-Api-Key: {vault:cr_",
			"--client-cert": "CN=hookledger until",
		} {
			if strings.Contains(line, when) && !strings.Contains(out, shown) {
				t.Errorf("$ %s\nshows no %q:\n%s", line, shown, out)
			}
		}
		for _, secret := range []string{"key-for-n8n", "flow:password", "the secret that", "MfKQ9r8GKYqr", "PRIVATE KEY"} {
			if strings.Contains(out, secret) {
				t.Errorf("$ %s\nshows a secret:\n%s", line, out)
			}
		}
	})
	// The receiver went on verifying with the secret that it had.
	if got := r.receiver.output(); strings.Count(got, "verified") < 2 || strings.Contains(got, "invalid") {
		t.Errorf("the receiver saw:\n%s", got)
	}
	r.expect("./hookledger record list --limit 250 -o json", "EndpointSecretRetired")
	r.expect("./hookledger attempt list -o json", "succeeded")
}
