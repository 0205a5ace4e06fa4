package httpapi

import (
	"strings"
	"testing"

	"hookledger/domain"
)

// TestEndpointsThatAreHardlyMeant: they are made, and the answer that sets them says what is doubtful; no other does.
func TestEndpointsThatAreHardlyMeant(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleOperator)
	for url, want := range map[string]string{
		"https://n8n.example.com/webhook-test/7":        "/webhook/",
		"https://n8n.example.com/at/webhook-test":       "/webhook/",
		"https://n8n.example.com/webhook/7":             "",
		"https://n8n.example.com/?from=/webhook-test/7": "",
		"https://n8n.example.com/my-webhook-tests/7":    "",
	} {
		made := into[Endpoint](s.call(key, "POST", "/v1/endpoints", `{"url":"`+url+`","event_types":["*"]}`).want(201, ""))
		expectWarning(t, url, made.Warnings, want)
		if shown := into[Endpoint](s.call(key, "GET", "/v1/endpoints/"+made.ID, nil).want(200, "")); shown.Warnings != nil {
			t.Errorf("%s is warned of where nothing is set: %q", url, shown.Warnings)
		}
	}
	for url, want := range map[string]string{
		"https://hooks.slack.com/services/T0/B0/x":     "",
		"https://hooks.slack-gov.com/services/T0/B0/x": "",
		"https://example.com/services/T0/B0/x":         "hooks.slack.com",
	} {
		made := into[Endpoint](s.call(key, "POST", "/v1/endpoints",
			`{"kind":"slack","url":"`+url+`","event_types":["*"]}`).want(201, ""))
		expectWarning(t, url, made.Warnings, want)
	}
}

func TestEndpointsThatBecomeHardlyMeant(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleOperator)
	made := into[Endpoint](s.call(key, "POST", "/v1/endpoints",
		`{"url":"https://n8n.example.com/webhook/7","event_types":["*"]}`).want(201, ""))
	for _, c := range []struct{ patch, want string }{
		{`{"url":"https://n8n.example.com/webhook-test/7"}`, "/webhook/"},
		{`{"description":"said once"}`, ""},
		{`{"url":"https://n8n.example.com/webhook/7"}`, ""},
	} {
		changed := into[Endpoint](s.call(key, "PATCH", "/v1/endpoints/"+made.ID, c.patch).want(200, ""))
		expectWarning(t, c.patch, changed.Warnings, c.want)
	}
}

func expectWarning(t *testing.T, of string, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) != 0:
		t.Errorf("%s: warned of %q", of, got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("%s: warned of %q, want one about %q", of, got, want)
	}
}
