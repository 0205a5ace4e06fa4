package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"hookledger/domain"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, tt := range []struct {
		err   error
		at    phase
		code  domain.ErrorCode
		phase phase
	}{
		{context.DeadlineExceeded, phaseConnect, domain.CodeTimeout, phaseConnect},
		{dial(os.ErrDeadlineExceeded), phaseConnect, domain.CodeTimeout, phaseConnect},
		{dial(&net.DNSError{Err: "no such host", IsNotFound: true}), phaseDNS, domain.CodeDNS, phaseDNS},
		{dial(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), phaseConnect, domain.CodeTimeout, phaseDNS},
		{dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), phaseConnect, domain.CodeRefused, phaseConnect},
		{dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), phaseConnect, domain.CodeUnreachable, phaseConnect},
		{dial(os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)), phaseConnect, domain.CodeUnreachable, phaseConnect},
		{dial(blocked("x", "y")), phaseConnect, domain.CodeBlocked, phaseConnect},
		{&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, phaseTLS,
			domain.CodeTLSExpired, phaseTLS},
		{&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}}, phaseConnect,
			domain.CodeTLS, phaseTLS},
		{x509.UnknownAuthorityError{}, phaseConnect, domain.CodeTLSUnknownCA, phaseTLS},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, phaseConnect, domain.CodeTLSName, phaseTLS},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, phaseTLS, domain.CodeTLS, phaseTLS},
		{errors.New("remote error: handshake"), phaseTLS, domain.CodeTLS, phaseTLS},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, phaseResponse, domain.CodeReset, phaseResponse},
		{syscall.EPIPE, phaseRequest, domain.CodeReset, phaseRequest},
		{io.EOF, phaseResponse, domain.CodeReset, phaseResponse},
		{errors.New("http: server closed idle connection"), phaseRequest, domain.CodeReset, phaseRequest},
		{io.ErrUnexpectedEOF, phaseResponse, domain.CodeBadResponse, phaseResponse},
		{errors.New("net/http: HTTP/1.x transport connection broken: malformed"), phaseResponse,
			domain.CodeBadResponse, phaseResponse},
		{errors.New("net/http: server response headers exceeded 65536 bytes; aborted"), phaseResponse,
			domain.CodeResponseTooLarge, phaseResponse},
		{errors.New("never heard of"), phasePrepare, domain.CodeInternal, phasePrepare},
	} {
		at := tt.at
		if code := classify(fmt.Errorf("wrapped: %w", tt.err), &at); code != tt.code || at != tt.phase {
			t.Errorf("%v: %s in %s", tt.err, code, at)
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"":                              0,
		"120":                           2 * time.Minute,
		" 7 ":                           7 * time.Second,
		"0":                             0,
		"-5":                            0,
		"1.5":                           0,
		"soon":                          0,
		"99999999999999999999":          0,
		"9999999999":                    domain.MaxRetryAfter,
		"Mon, 23 Nov 2026 20:01:30 GMT": 90 * time.Second,
		"Mon, 23 Nov 2026 19:00:00 GMT": 0,
		"Mon, 23 Nov 2099 19:00:00 GMT": domain.MaxRetryAfter,
	} {
		if got := parseRetryAfter(v, now); got != want {
			t.Errorf("%q: %s, not %s", v, got, want)
		}
	}
}

// The hand-written JSON says what encoding/json reads back.
func FuzzAppendResponse(f *testing.F) {
	f.Add("X-Name", "a \"quoted\" value\n\t\\", []byte("body"))
	f.Add("", "\xff\xfe\u2028é\x00\x1f\x7f", []byte{})
	f.Fuzz(func(t *testing.T, name, value string, body []byte) {
		r := &result{header: http.Header{name: {value, "second"}, "Z": {"z"}}, body: &buffer{b: body}}
		out, cut := appendResponse(nil, r)
		var c domain.ResponseContent
		if err := json.Unmarshal(out, &c); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if string(c.Body) != string(body) {
			t.Fatalf("the body came back as %q", c.Body)
		}
		if !cut && len(r.header) == 2 && len(c.Headers) != 3 {
			t.Fatalf("%d headers came back", len(c.Headers))
		}
		want, _ := json.Marshal(value)
		var clean string
		_ = json.Unmarshal(want, &clean)
		for _, h := range c.Headers {
			if h.Value != clean && h.Value != "second" && h.Value != "z" {
				t.Fatalf("a header came back as %q", h.Value)
			}
		}
	})
}

func TestPanicMessagesAndLongTextsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.d.sealFailure("delivery-t.x", "t", "dk", w.cfg.NewID(), errors.New(string(make([]byte, 1<<20))))
	if len(s.Ciphertext) > 8*maxMessage {
		t.Fatalf("%d bytes", len(s.Ciphertext))
	}
	if w.d.sealFailure("delivery-t.x", "t", "", w.cfg.NewID(), errors.New("x")) != nil {
		t.Fatal("sealed without a key")
	}
}
