package domain

import "testing"

func TestHostKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ scheme, host, want string }{
		{"https", "Example.COM", "example.com:443"},
		{"http", "example.com", "example.com:80"},
		{"https", "example.com.:8443", "example.com:8443"},
		{"https", "example.com.", "example.com:443"},
		{"http", "[2001:DB8::1]", "[2001:db8::1]:80"},
		{"http", "[2001:db8::1]:8080", "[2001:db8::1]:8080"},
	} {
		if got := HostKey(c.scheme, c.host); got != c.want {
			t.Errorf("%s://%s is %s, not %s", c.scheme, c.host, got, c.want)
		}
	}
}

func TestTenantLimits(t *testing.T) {
	t.Parallel()
	if s := (TenantSettings{}); s.Endpoints() != MaxEndpoints || s.InFlightPerHost() != DefaultMaxInFlightPerHost {
		t.Errorf("the defaults are %d and %d", s.Endpoints(), s.InFlightPerHost())
	}
	for code, s := range map[string]TenantSettings{
		"":                               {IngestRate: 0.5, MaxEndpoints: MaxEndpoints, MaxInFlightPerHost: 1},
		"invalid_ingest_rate":            {IngestRate: -1},
		"invalid_max_endpoints":          {MaxEndpoints: MaxEndpoints + 1},
		"invalid_max_in_flight_per_host": {MaxInFlightPerHost: -1},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			facts, err := new(Tenant).Register("acme", s)
			if Code(err) != code || (len(facts) == 1) != (code == "") {
				t.Errorf("%v, %v", facts, err)
			}
			registered := &Tenant{Name: "acme"}
			if facts, err = registered.Reconfigure(s); Code(err) != code || (len(facts) == 1) != (code == "") {
				t.Errorf("%v, %v", facts, err)
			}
		})
	}
}

func TestEndpointOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ordered     bool
		onExhausted string
		ok, waits   bool
	}{
		{false, "", true, false},
		{false, OnExhaustedContinue, true, false},
		{false, OnExhaustedWait, false, false},
		{true, "", true, false},
		{true, OnExhaustedContinue, true, false},
		{true, OnExhaustedWait, true, true},
		{true, "stop", false, false},
	} {
		cfg := EndpointConfig{Ordered: c.ordered, OnExhausted: c.onExhausted}
		if err := cfg.checkOrder(); (err == nil) != c.ok || c.ok && cfg.Waits() != c.waits {
			t.Errorf("%+v: %v, waits %v", c, err, cfg.Waits())
		}
	}
}
