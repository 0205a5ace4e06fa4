package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/followups"
	"hookledger/httpapi"
	"hookledger/ingest"
	"hookledger/projections"
	"hookledger/retire"
	"hookledger/sources/agenfleet"
	"hookledger/vault"
)

// Rooms of one layer don't know each other: what one asks for and another has meets here.
var (
	_ delivery.Backlog   = (*projections.Backlog)(nil)
	_ delivery.Endpoints = (*projections.Directory)(nil)
	_ delivery.Gates     = (*projections.Health)(nil)
	_ delivery.Bodies    = (*ingest.Bodies)(nil)
	_ delivery.Vault     = (*vault.Vault)(nil)
	_ ingest.Directory   = (*projections.Directory)(nil)
	_ ingest.Vault       = (*vault.Vault)(nil)
	_ agenfleet.Sources  = (*projections.Directory)(nil)

	_ followups.Pending   = (*projections.Health)(nil)
	_ followups.Poster    = (*ingest.Ingest)(nil)
	_ followups.Directory = (*projections.Directory)(nil)
	_ followups.Bodies    = (*ingest.Bodies)(nil)
	_ retire.Endpoints    = (*projections.Directory)(nil)
	_ retire.Vault        = (*vault.Vault)(nil)
)

// hostLimit gives how many attempts a tenant may have under way to one host.
func hostLimit(d *projections.Directory) func(tenant string) int {
	return func(tenant string) int {
		if r, ok := d.Routing(tenant); ok {
			return r.Tenant.Settings.InFlightPerHost()
		}
		return domain.DefaultMaxInFlightPerHost
	}
}

// now is the clock of the whole process; the ledger keeps microseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// newID draws a record's id: the time, and 80 bits of the runtime's ChaCha8. Ids are unique, not secret.
func newID() ulid.ULID {
	var u ulid.ULID
	_ = u.SetTime(uint64(time.Now().UnixMilli()))
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		u[6+i] = byte(hi >> (8 * i))
	}
	u[14], u[15] = byte(lo), byte(lo>>8)
	return u
}

// jitter is drawn for each retry, from -1 to 1.
func jitter() float64 { return 2*rand.Float64() - 1 }

// nodeName names this life of this process: an attempt that another life left open is known by it.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	return host + "/" + newID().String()
}

// listen opens an address, with TLS where a certificate is given.
func listen(address, cert, key string) (net.Listener, error) {
	if (cert == "") != (key == "") {
		return nil, usage("one of --tls-cert and --tls-key is missing", "give both, or none for plain HTTP")
	}
	l, err := bind(address)
	if err != nil {
		return nil, err
	}
	if cert == "" {
		return l, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load --tls-cert and --tls-key: %w", err), l.Close())
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"}}), nil
}

// bind opens an address, or says why that can't be.
func bind(address string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, usage("the address "+strconv.Quote(address)+" is not valid", "give one like 127.0.0.1:8420 with --listen")
	}
	l, err := net.Listen("tcp", address) //nolint:noctx // it does not block
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, domain.Refuse(domain.KindUnavailable, "address_in_use", "something listens on "+address+" already",
			"end it, or give another address with --listen")
	case err != nil:
		return nil, domain.Refuse(domain.KindUnavailable, "address_unusable", "can't listen on "+address+": "+err.Error(),
			"give another address with --listen")
	}
	return l, nil
}

// baseURL is where a client on this machine finds the listener.
func baseURL(l net.Listener, secure bool) string {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return scheme + "://" + l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// endStreams ends the streams of records and events when ending does, so that they hold up no orderly end; their
// readers resume. All other requests run to their answer.
func endStreams(h http.Handler, ending context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !httpapi.IsStream(r.URL.Path) {
			h.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ending, cancel)()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
