package domain_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

func config(change func(*domain.EndpointConfig)) domain.EndpointConfig {
	c := domain.EndpointConfig{Kind: "webhook", Scheme: "https", Host: "example.com", EventTypes: []string{"agent.*"},
		RetrySchedule: domain.DefaultRetrySchedule(), Timeout: domain.Duration(domain.DefaultTimeout)}
	if change != nil {
		change(&c)
	}
	return c
}

// endpoint folds what each step decides.
type endpoint struct {
	domain.Endpoint
	t *testing.T
	n domain.Revision
}

func newEndpoint(t *testing.T) *endpoint { return &endpoint{t: t} }

func (e *endpoint) then(facts []domain.Fact, err error) *endpoint {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, f := range facts {
		e.Evolve(&domain.Record{ID: ulid.ULID{byte(e.n + 1)}, Stream: "endpoint-t.ep_1", Tenant: "t", Revision: e.n,
			RecordedAt: start.Add(time.Duration(e.n) * time.Minute), Fact: f})
		e.n++
	}
	return e
}

func refused(t *testing.T, code string, kind domain.Kind, facts []domain.Fact, err error) {
	t.Helper()
	var e *domain.Error
	if !errors.As(err, &e) || e.Code != code || e.Kind != kind || e.Fix == "" || len(facts) != 0 {
		t.Errorf("want %s and a fix, decided %v: %v", code, facts, err)
	}
}

func TestEndpoint_Life(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	if e.Exists() {
		t.Fatal("it exists before it was registered")
	}
	e.then(e.Register(config(nil)))
	if !e.Exists() || e.ID != "ep_1" || e.Tenant != "t" || e.CreatedAt != start || e.ConfigType != "EndpointRegistered" ||
		e.ConfigRecord != (ulid.ULID{1}) || e.ConfigRevision != 0 {
		t.Fatalf("%+v", e.Endpoint)
	}
	e.then(e.Disable("manual"))
	if !e.Disabled || e.DisabledReason != "manual" || e.Revision != 1 {
		t.Fatalf("%+v", e.Endpoint)
	}
	e.then(e.Disable("failing")) // it is already
	if e.Revision != 1 || e.DisabledReason != "manual" {
		t.Fatalf("%+v", e.Endpoint)
	}
	before := e.Clone()
	e.then(e.Reconfigure(config(func(c *domain.EndpointConfig) { c.EventTypes = []string{"*"} }), nil))
	if e.Config.EventTypes[0] != "*" || !e.Disabled || e.ConfigRevision != 2 || e.ConfigType != "EndpointReconfigured" ||
		e.ConfigRecord != (ulid.ULID{3}) || e.UpdatedAt != start.Add(2*time.Minute) ||
		before.Config.EventTypes[0] != "agent.*" {
		t.Fatalf("%+v", e.Endpoint)
	}
	e.then(e.Enable())
	e.then(e.Enable())
	if e.Disabled || e.DisabledReason != "" || e.Revision != 3 || e.ConfigRevision != 2 || e.AsOf != (ulid.ULID{4}) {
		t.Fatalf("%+v", e.Endpoint)
	}
	e.then(e.Remove())
	if e.Exists() {
		t.Fatal("it is still there")
	}
}

func TestEndpoint_ARemovedOneIsGone(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	e.then(e.Register(config(nil))).then(e.Remove())
	for name, decide := range map[string]func() ([]domain.Fact, error){
		"reconfigure": func() ([]domain.Fact, error) { return e.Reconfigure(config(nil), nil) },
		"disable":     func() ([]domain.Fact, error) { return e.Disable("manual") },
		"enable":      e.Enable,
		"remove":      e.Remove,
	} {
		facts, err := decide()
		t.Log(name)
		refused(t, "endpoint_not_found", domain.KindNotFound, facts, err)
	}
	facts, err := e.Register(config(nil))
	refused(t, "endpoint_exists", domain.KindConflict, facts, err)
}

func TestEndpoint_ExpectedRevision(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	e.then(e.Register(config(nil))).then(e.Disable("manual"))
	seen, stale := domain.Revision(1), domain.Revision(0)
	facts, err := e.Reconfigure(config(nil), &stale)
	refused(t, "revision_conflict", domain.KindConflict, facts, err)
	if facts, err := e.Reconfigure(config(nil), &seen); err != nil || len(facts) != 1 {
		t.Fatal(err)
	}
}

func TestEndpoint_RefusesABadConfiguration(t *testing.T) {
	t.Parallel()
	type c = domain.EndpointConfig
	step := func(d time.Duration) func(*c) {
		return func(x *c) { x.RetrySchedule = []domain.Duration{domain.Duration(d)} }
	}
	for _, bad := range []struct {
		code   string
		change func(*c)
	}{
		{"no_event_types", func(x *c) { x.EventTypes = nil }},
		{"too_many_event_types", func(x *c) { x.EventTypes = make([]string, 101) }},
		{"invalid_event_type", func(x *c) { x.EventTypes = []string{"agent.*", "Agent"} }},
		{"invalid_event_type", func(x *c) { x.EventTypes = []string{""} }},
		{"invalid_retry_schedule", func(x *c) { x.RetrySchedule = make([]domain.Duration, 51) }},
		{"invalid_retry_schedule", step(-1)},
		{"invalid_retry_schedule", step(domain.MaxRetryWait + 1)},
		{"invalid_timeout", func(x *c) { x.Timeout = 0 }},
		{"invalid_timeout", func(x *c) { x.Timeout = domain.Duration(domain.MaxTimeout + 1) }},
		{"invalid_rate_limit", func(x *c) { x.RateLimit = -1 }},
		{"invalid_rate_limit", func(x *c) { x.RateLimit = math.NaN() }},
		{"invalid_rate_limit", func(x *c) { x.RateLimit = 1e7 }},
		{"invalid_max_in_flight", func(x *c) { x.MaxInFlight = -1 }},
		{"invalid_max_in_flight", func(x *c) { x.MaxInFlight = 10_001 }},
		{"too_much_description", func(x *c) { x.Description = strings.Repeat("x", 1025) }},
		{"too_much_description", func(x *c) { x.Metadata = map[string]string{"": "v"} }},
		{"too_much_description", func(x *c) { x.Metadata = map[string]string{"k": strings.Repeat("x", 513)} }},
	} {
		facts, err := new(domain.Endpoint).Register(config(bad.change))
		refused(t, bad.code, domain.KindInvalid, facts, err)
		e := newEndpoint(t)
		e.then(e.Register(config(nil)))
		facts, err = e.Reconfigure(config(bad.change), nil)
		refused(t, bad.code, domain.KindInvalid, facts, err)
	}
	for _, good := range []func(*c){
		step(0), step(domain.MaxRetryWait), func(x *c) { x.RetrySchedule = nil },
		func(x *c) { x.Timeout = domain.Duration(domain.MaxTimeout) }, func(x *c) { x.RateLimit = 0.5 },
		func(x *c) { x.EventTypes = []string{"*"} }, func(x *c) { x.MaxInFlight = 10_000 },
	} {
		if _, err := new(domain.Endpoint).Register(config(good)); err != nil {
			t.Error(err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][3]string{
		"https://example.com":                {"https", "example.com", "/"},
		"http://localhost:3000/hook":         {"http", "localhost:3000", "/hook"},
		"https://example.com:8443/a%2Fb?k=v": {"https", "example.com:8443", "/a%2Fb?k=v"},
		"https://example.com?k=v":            {"https", "example.com", "/?k=v"},
		"https://[2001:db8::1]:8443/x":       {"https", "[2001:db8::1]:8443", "/x"},
	} {
		scheme, host, path, err := domain.ParseTarget(raw)
		if got := [3]string{scheme, host, path}; err != nil || got != want {
			t.Errorf("%s: %q, %v", raw, got, err)
		}
		c := domain.EndpointConfig{Scheme: scheme, Host: host}
		if back := c.Target(domain.EndpointContent{Path: path}); raw != "https://example.com" && back != raw &&
			raw != "https://example.com?k=v" {
			t.Errorf("%s became %s", raw, back)
		}
	}
	for _, raw := range []string{
		"", "example.com/hook", "//example.com", "ftp://example.com", "file:///etc/passwd", "javascript:alert(1)",
		"https://", "https:///path", "https://:443/", "https://user@example.com", "https://user:hunter2@example.com/",
		"https://example.com/#top", "https://example.com/#", "https://example.com:0/", "https://example.com:65536/",
		"https://example.com:http/", "https://exa mple.com/", "https://example.com/\n", "https://[::1", "https:example.com",
		"https://example.com/" + strings.Repeat("a", 2048),
	} {
		_, _, _, err := domain.ParseTarget(raw)
		if domain.Code(err) != "invalid_url" {
			t.Errorf("%q: %v", raw, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the password: %v", err)
		}
	}
}
