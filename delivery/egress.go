package delivery

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// NewTransport makes a transport for requests that are no attempts, such as a poll of a source: behind the same guard
// of addresses, without a proxy, and with bounds on what comes back. Redirects are its user's not to follow; whoever
// uses it bounds a request by its context.
func NewTransport(cfg EgressConfig) *http.Transport {
	dialer := &net.Dialer{Timeout: tlsHandshakeTimeout, Control: newGuard(cfg).control,
		Resolver: &net.Resolver{PreferGo: true}}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    tlsHandshakeTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
}
