package channeltest

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
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Mail is an SMTP server with STARTTLS and a login.
type Mail struct {
	Username, Password string // of the login; an empty name: there is none
	NoTLS              bool   // STARTTLS is not offered
	// Refuse is asked at each step, which is "AUTH", "MAIL", "RCPT" or "DATA"; nil: all goes well.
	Refuse func(step string) *smtp.SMTPError

	// Roots trusts the server's certificate; Start makes it.
	Roots *x509.CertPool

	mu     sync.Mutex
	mails  []Letter
	server *smtp.Server
}

// Letter is a mail as it came.
type Letter struct {
	From, To string
	Data     []byte
	TLS      bool
}

// Start listens on loopback. It gives the address; Close ends it.
func (m *Mail) Start() (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return "", err
	}
	cert, roots, err := certificate()
	if err != nil {
		return "", err
	}
	m.Roots = roots
	m.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{mail: m, conn: c}, nil
	}))
	m.server.Domain, m.server.MaxMessageBytes, m.server.MaxRecipients = "localhost", most, 10
	m.server.ReadTimeout, m.server.WriteTimeout = time.Minute, time.Minute
	m.server.ErrorLog = silent{}
	if !m.NoTLS {
		m.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	go func() { _ = m.server.Serve(listener) }() // it ends with Close
	return listener.Addr().String(), nil
}

// silent is what the server logs to: clients that break off are what it is there for.
type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// Close ends the server and its connections.
func (m *Mail) Close() error { return m.server.Close() }

// Letters gives what was taken so far.
func (m *Mail) Letters() []Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Letter(nil), m.mails...)
}

type session struct {
	mail     *Mail
	conn     *smtp.Conn
	loggedIn bool
	letter   Letter
}

func (s *session) refused(step string) error {
	if s.mail.Refuse != nil {
		if no := s.mail.Refuse(step); no != nil {
			return no
		}
	}
	return nil
}

func (s *session) AuthMechanisms() []string {
	if _, secure := s.conn.TLSConnectionState(); !secure || s.mail.Username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if err := s.refused("AUTH"); err != nil {
			return err
		}
		if username != s.mail.Username || password != s.mail.Password {
			return smtp.ErrAuthFailed
		}
		s.loggedIn = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.mail.Username != "" && !s.loggedIn {
		return smtp.ErrAuthRequired
	}
	s.letter.From = from
	return s.refused("MAIL")
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.letter.To = to
	return s.refused("RCPT")
}

func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.refused("DATA"); err != nil {
		return err
	}
	_, secure := s.conn.TLSConnectionState()
	s.letter.Data, s.letter.TLS = data, secure
	s.mail.mu.Lock()
	defer s.mail.mu.Unlock()
	s.mail.mails = append(s.mail.mails, s.letter)
	return nil
}

func (s *session) Reset()        { s.letter = Letter{} }
func (s *session) Logout() error { return nil }

// certificate is one for loopback that trusts itself.
func certificate() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots, nil
}
