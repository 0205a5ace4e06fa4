package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/vault"
)

// remoteAlert is how crypto/tls names an alert that the other side sent, which has no type of its own. Those about
// certificates are about the client's: a server's is for the client to refuse.
const remoteAlert = "remote error"

// maxMessage bounds the error text that is kept, in bytes.
const maxMessage = 1024

// classify gives the code of a failed request, and moves the phase to where the error says that it was.
func classify(err error, at *phase) domain.ErrorCode {
	var (
		lost      *nameError
		dns       *net.DNSError
		op        *net.OpError
		netErr    net.Error
		invalid   x509.CertificateInvalidError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		record    tls.RecordHeaderError
		alert     tls.AlertError
	)
	inTLS := func(code domain.ErrorCode) domain.ErrorCode { *at = phaseTLS; return code }
	switch {
	case errors.As(err, &lost):
		*at = phaseDNS
		if lost.slow {
			return domain.CodeTimeout
		}
		return domain.CodeDNS
	case domain.Code(err) == string(domain.CodeBlocked):
		*at = phaseConnect
		return domain.CodeBlocked
	case errors.As(err, &dns):
		*at = phaseDNS
		if dns.IsTimeout {
			return domain.CodeTimeout
		}
		return domain.CodeDNS
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return domain.CodeTimeout
	case errors.As(err, &invalid):
		if invalid.Reason == x509.Expired {
			return inTLS(domain.CodeTLSExpired)
		}
		return inTLS(domain.CodeTLS)
	case errors.As(err, &authority):
		return inTLS(domain.CodeTLSUnknownCA)
	case errors.As(err, &name):
		return inTLS(domain.CodeTLSName)
	case errors.As(err, &record), errors.As(err, &alert):
		return inTLS(domain.CodeTLS)
	case errors.As(err, &op) && op.Op == remoteAlert:
		if strings.Contains(op.Err.Error(), "certificate") || strings.Contains(op.Err.Error(), "access denied") {
			return inTLS(domain.CodeTLSClientCert)
		}
		return inTLS(domain.CodeTLS)
	case errors.Is(err, syscall.ECONNREFUSED):
		return domain.CodeRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return domain.CodeUnreachable
	case strings.Contains(err.Error(), "server response headers exceeded"),
		strings.Contains(err.Error(), "header list larger than advertised"): // HTTP/1 and HTTP/2
		return domain.CodeResponseTooLarge
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return domain.CodeReset
	case errors.As(err, &op) && op.Op == "dial":
		return domain.CodeUnreachable
	}
	return classifyRest(err, *at)
}

// classifyRest tells by the phase what has no type of its own in net/http.
func classifyRest(err error, at phase) domain.ErrorCode {
	switch at {
	case phaseTLS:
		return domain.CodeTLS
	case phaseRequest, phaseResponse:
		text := err.Error()
		if errors.Is(err, io.EOF) || strings.Contains(text, "server closed idle connection") ||
			strings.Contains(text, "client conn could not be established") || // HTTP/2: it ended before the first request
			strings.Contains(text, "EOF") && !errors.Is(err, io.ErrUnexpectedEOF) {
			return domain.CodeReset
		}
		return domain.CodeBadResponse
	case phaseDNS, phaseConnect:
		return domain.CodeUnreachable
	}
	return domain.CodeInternal
}

// response makes the record of an answer, its content sealed for the record's id. Where it can't be sealed (the key was
// destroyed meanwhile), the answer is recorded without its content: that it came must not be lost.
func (d *Delivery) response(stream domain.Stream, tenant, keyID string, id ulid.ULID,
	r *result) *domain.ResponseReceived {
	f := &domain.ResponseReceived{Status: r.status, Truncated: r.truncated, RemoteAddr: r.remote, TLS: r.tls,
		Timings: r.timings, RetryAfter: domain.Duration(r.retryAfter)}
	plain := newBuffer()
	defer plain.release()
	var cut bool
	plain.b, cut = appendResponse(plain.b, r)
	f.Content = d.seal(stream, tenant, keyID, id, f.RecordType(), plain.b)
	f.Truncated = f.Truncated || cut || f.Content.Empty()
	return f
}

// failure makes the record of a request without a usable answer; its text is sealed, for it quotes addresses.
func (d *Delivery) failure(stream domain.Stream, tenant, keyID string, id ulid.ULID, r *result) *domain.AttemptFailed {
	return &domain.AttemptFailed{Phase: r.phase.String(), Code: r.code, Sent: r.sent, RemoteAddr: r.remote,
		Timings: r.timings, Content: d.sealFailure(stream, tenant, keyID, id, r.err)}
}

func (d *Delivery) sealFailure(stream domain.Stream, tenant, keyID string, id ulid.ULID, err error) *domain.Sealed {
	plain := newBuffer()
	defer plain.release()
	text := err.Error()
	plain.b = append(appendString(append(plain.b, `{"message":`...), text[:min(len(text), maxMessage)]), '}')
	return d.seal(stream, tenant, keyID, id, (*domain.AttemptFailed)(nil).RecordType(), plain.b)
}

// seal gives nil where nothing can be sealed; a panic of the vault's is no reason to lose an outcome either.
func (d *Delivery) seal(stream domain.Stream, tenant, keyID string, id ulid.ULID, recordType string,
	plain []byte) (sealed *domain.Sealed) {
	if keyID == "" {
		return nil
	}
	err := func() (err error) {
		defer caught(&err)
		sealed, err = d.cfg.Vault.Seal(d.recording, keyID, vault.Place{Tenant: tenant, Stream: stream, Record: id,
			Type: recordType}, plain)
		return err
	}()
	if err != nil {
		if !errors.Is(err, vault.ErrErased) {
			d.log.Error("an outcome is recorded without its content", "stream", string(stream), "error", forLog(err))
		}
		return nil
	}
	return sealed
}
