package domain

import (
	"strconv"
	"strings"
)

// What happens behind an exhausted delivery of an ordered endpoint.
const (
	OnExhaustedContinue = "continue" // the next one goes out; also what no value means
	OnExhaustedWait     = "wait"     // the others wait until it is retried with success, or cancelled
)

// DefaultMaxInFlightPerHost bounds what a tenant that set nothing has under way to one host: what one endpoint can
// have by itself, however many of them aim there.
const DefaultMaxInFlightPerHost = 512

// Waits says that what stands behind an exhausted delivery of the endpoint waits for somebody.
func (c *EndpointConfig) Waits() bool { return c.Ordered && c.OnExhausted == OnExhaustedWait }

// checkOrder says what is wrong with the order of an endpoint's deliveries.
func (c *EndpointConfig) checkOrder() error {
	switch {
	case c.OnExhausted != "" && c.OnExhausted != OnExhaustedContinue && c.OnExhausted != OnExhaustedWait:
		return Refuse(KindInvalid, "invalid_on_exhausted", "on_exhausted is \""+c.OnExhausted+"\"",
			"use \"continue\" or \"wait\"")
	case c.OnExhausted == OnExhaustedWait && !c.Ordered:
		return Refuse(KindInvalid, "invalid_on_exhausted", "on_exhausted is \"wait\", and the endpoint is not ordered",
			"set ordered to true as well, or leave on_exhausted out")
	}
	return nil
}

// HostKey is a destination's host as limits count it: without its scheme, with its port, in lower case.
func HostKey(scheme, host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return strings.TrimSuffix(host[:i], ".") + host[i:]
	}
	if scheme == "http" {
		return host + ":80"
	}
	return host + ":443"
}

// Endpoints is the number of endpoints that the tenant can have.
func (s TenantSettings) Endpoints() int {
	if s.MaxEndpoints > 0 {
		return s.MaxEndpoints
	}
	return MaxEndpoints
}

// InFlightPerHost is the number of attempts that the tenant can have under way to one host.
func (s TenantSettings) InFlightPerHost() int {
	if s.MaxInFlightPerHost > 0 {
		return s.MaxInFlightPerHost
	}
	return DefaultMaxInFlightPerHost
}

// SameLimits says that the limits are the same.
func (s TenantSettings) SameLimits(o TenantSettings) bool {
	return s.IngestRate == o.IngestRate && s.MaxEndpoints == o.MaxEndpoints && s.MaxInFlightPerHost == o.MaxInFlightPerHost
}

func (s TenantSettings) check() error {
	switch {
	case !(s.IngestRate >= 0 && s.IngestRate <= 1e6):
		return Refuse(KindInvalid, "invalid_ingest_rate", "the ingest rate is out of range",
			"use 0 (none) to 1000000 events a second")
	case s.MaxEndpoints < 0 || s.MaxEndpoints > MaxEndpoints:
		return Refuse(KindInvalid, "invalid_max_endpoints", "max_endpoints is out of range",
			"use 1 to "+strconv.Itoa(MaxEndpoints)+", or 0 for the default, which is the most")
	case s.MaxInFlightPerHost < 0 || s.MaxInFlightPerHost > 10_000:
		return Refuse(KindInvalid, "invalid_max_in_flight_per_host", "max_in_flight_per_host is out of range",
			"use 1 to 10000, or 0 for the default of "+strconv.Itoa(DefaultMaxInFlightPerHost))
	}
	return nil
}
