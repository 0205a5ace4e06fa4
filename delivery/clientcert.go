package delivery

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/http"

	"hookledger/domain"
)

// ClientCert is a client certificate with its key, and what is shown of it.
type ClientCert struct {
	tls.Certificate
	Shown domain.ClientCert // but for the reference
}

// ParseClientCert reads a chain, leaf first, and the leaf's key, all of them as PEM in one text. What is no such pair
// is refused with a *domain.Error, which quotes nothing of it.
func ParseClientCert(pem []byte) (*ClientCert, error) {
	refuse := func(detail string) (*ClientCert, error) {
		return nil, domain.Refuse(domain.KindInvalid, "invalid_client_cert", detail,
			"give the chain as PEM, the leaf first, and the leaf's key as PEM, unencrypted")
	}
	if !bytes.Contains(pem, []byte("-----BEGIN CERTIFICATE-----")) {
		return refuse("the client certificate is no PEM certificate")
	}
	pair, err := tls.X509KeyPair(pem, pem)
	if err != nil || pair.Leaf == nil {
		return refuse("the client certificate and its key are no pair")
	}
	if len(pair.Leaf.ExtKeyUsage) > 0 && !usableByClients(pair.Leaf) {
		return refuse("the certificate is not one for clients: its extended key usage lacks clientAuth")
	}
	sum := sha256.Sum256(pair.Leaf.Raw)
	return &ClientCert{pair, domain.ClientCert{Subject: pair.Leaf.Subject.String(),
		Fingerprint: hex.EncodeToString(sum[:]), NotAfter: pair.Leaf.NotAfter.UTC()}}, nil
}

func usableByClients(c *x509.Certificate) bool {
	for _, use := range c.ExtKeyUsage {
		if use == x509.ExtKeyUsageClientAuth || use == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// ownWire is the transport of one endpoint's client certificate: its connections are nobody else's, for who shows a
// certificate on one is known by it for as long as it stays open.
type ownWire struct {
	http.RoundTripper
	id string // of the certificate in the vault
}

// wire is what a request is sent on.
func (s *sender) wire(p *prepared) http.RoundTripper {
	if own := p.target.wire(); own != nil {
		return own
	}
	return s.transport
}

// ownWire gives the certificate's transport. It is like the common one, and shows the certificate to whoever asks for
// any: a receiver that does not take it then says so, where nothing shown would be answered with that nothing was.
func (s *sender) ownWire(id string, cert *tls.Certificate) *ownWire {
	s.ownMu.Lock()
	defer s.ownMu.Unlock()
	if own := s.own[id]; own != nil {
		return own
	}
	own := &ownWire{s.transport, id}
	if common, ok := s.transport.(*http.Transport); ok { // else the network is not real, and knows no certificates
		t := common.Clone()
		t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert, nil
		}
		own.RoundTripper = t
	}
	if s.own == nil {
		s.own = map[string]*ownWire{}
	}
	s.own[id] = own
	return own
}

// drop lets go of a transport that nothing will be sent on any more; what is under way on it ends by itself.
func (s *sender) drop(own *ownWire) {
	s.ownMu.Lock()
	defer s.ownMu.Unlock()
	if s.own[own.id] == own {
		delete(s.own, own.id)
	}
	own.closeIdle()
}

func (s *sender) closeOwn() {
	s.ownMu.Lock()
	defer s.ownMu.Unlock()
	for _, own := range s.own {
		own.closeIdle()
	}
}

func (w *ownWire) closeIdle() {
	if t, ok := w.RoundTripper.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}
