package delivery

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// NewTransport makes a transport for requests that are no attempts, such as a poll of a source: behind the same guard
// of addresses, without a proxy, and with bounds on what comes back. Redirects are its user's not to follow; whoever
// uses it bounds a request by its context. log is for what tenants are not told; nil: silent.
func NewTransport(cfg EgressConfig, log *slog.Logger) *http.Transport {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &http.Transport{
		DialContext:            newOutlet(cfg, tlsHandshakeTimeout, log).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    tlsHandshakeTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
}
