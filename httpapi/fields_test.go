package httpapi

import (
	"strings"
	"testing"

	"hookledger/domain"
)

// TestAWrongFieldIsNamedWithItsFix: in a patch and in a new resource, whatever is wrong with it; without a type of
// ours, and without the value.
func TestAWrongFieldIsNamedWithItsFix(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key(platform, domain.RoleAdmin)
	own := s.thingsOf("default")
	endpoint, tenant, source := "/v1/endpoints/"+own.endpoint, "/v1/tenants/default", "/v1/sources/"+own.source
	const url = `"url":"https://example.com/","event_types":["*"],`
	for _, c := range []struct{ method, path, body, location, fix string }{
		{"PATCH", endpoint, `{"foo":1}`, "body.foo", "use "},
		{"PATCH", endpoint, `{"foo":null}`, "body.foo", "event_types"},
		{"PATCH", endpoint, `{"Timeout":"20s"}`, "body.Timeout", `write it "timeout"`},
		{"PATCH", endpoint, `{"timeout":"canary"}`, "body.timeout", `"20s"`},
		{"PATCH", endpoint, `{"timeout":20}`, "body.timeout", `"20s"`},
		{"PATCH", endpoint, `{"disable_after":"canary"}`, "body.disable_after", `"20s"`},
		{"PATCH", endpoint, `{"retry_schedule":["5s","canary"]}`, "body.retry_schedule[1]", `"20s"`},
		{"PATCH", endpoint, `{"event_types":"canary"}`, "body.event_types", "[ ]"},
		{"PATCH", endpoint, `{"event_types":[7]}`, "body.event_types[0]", "in quotes"},
		{"PATCH", endpoint, `{"ordered":"canary"}`, "body.ordered", "without quotes"},
		{"PATCH", endpoint, `{"max_in_flight":1.5}`, "body.max_in_flight", "without quotes"},
		{"PATCH", endpoint, `{"auth":{"user":null}}`, "body.auth.user", "username"},
		{"PATCH", endpoint, `{"auth":"canary"}`, "body.auth", "/openapi.json"},
		{"PATCH", endpoint, `{"` + strings.Repeat("x", 500) + `canary":1}`, "body.", "use "},
		{"PATCH", tenant, `{"ingest_rate":5}`, "body.ingest_rate", `{"settings": {"ingest_rate": …}}`},
		{"PATCH", tenant, `{"settings":{"ingest_rate":"canary"}}`, "body.settings.ingest_rate", "without quotes"},
		{"PATCH", tenant, `{"settings":{"foo":null}}`, "body.settings.foo", "ingest_rate"},
		{"PATCH", source, `{"cron":{"window":"canary"}}`, "body.cron.window", `"20s"`},
		{"PATCH", "/v1/event-types/" + own.eventType, `{"description":7}`, "body.description", "in quotes"},
		{"POST", "/v1/endpoints", `{` + url + `"timeout":"canary"}`, "body.timeout", `"20s"`},
		{"POST", "/v1/endpoints", `{` + url + `"retry_schedule":["20"]}`, "body.retry_schedule[0]", `"20s"`},
		{"PATCH", endpoint, `{"metadata":{"a: b":1}}`, `body.metadata["a\u003a b"]`, "in quotes"},
		{"PATCH", endpoint, `{"metadata":{"":1}}`, `body.metadata[""]`, "in quotes"},
		{"PATCH", endpoint, `{"metadata":{"` + strings.Repeat("x", 500) + `canary":1}}`, "body.metadata.xxx", "in quotes"},
		{"POST", "/v1/endpoints", `{` + url + `"metadata":{"a: b":1}}`, "body.metadata.a: b", ""},
		{"POST", "/v1/endpoints", `{` + url + `"metadata":{"` + strings.Repeat("x", 500) + `canary":1}}`,
			"body.metadata.xxx", ""},
		{"POST", "/v1/endpoints/" + own.endpoint + "/rotate-secret", `{"overlap":"canary"}`, "body.overlap", `"20s"`},
	} {
		got := s.call(key, c.method, c.path, c.body, HeaderTenant, "default").want(400, "invalid_request")
		if len(got.body) > 1000 {
			t.Errorf("%s: an answer of %d bytes", c.method, len(got.body))
		}
		p := into[Problem](got)
		if len(p.Errors) != 1 || !strings.HasPrefix(p.Errors[0].Location, c.location) || !strings.Contains(p.Fix, c.fix) ||
			!strings.HasSuffix(p.Detail, p.Fix) {
			t.Errorf("%s %s: %s", c.method, c.body, got.body)
		}
		for _, never := range []string{"canary", "httpapi", "domain.", "Go ", "map["} {
			if strings.Contains(string(got.body), never) {
				t.Errorf("%s %s shows %q: %s", c.method, c.body, never, got.body)
			}
		}
	}
	// What is right is taken: null puts a default back, a map has any name.
	s.call(key, "PATCH", endpoint, `{"timeout":null,"metadata":{"any name":"x"},"auth":null}`, HeaderTenant, "default").
		want(200, "")
}
