package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"hookledger/domain"
	"hookledger/ingest"
)

// TestBadInputAppendsNothing: each of these is answered with a 4xx problem that says what is wrong, and nothing is
// appended.
func TestBadInputAppendsNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	platformKey := s.key(platform, domain.RoleAdmin)
	e := s.endpoint(key, map[string]any{})
	const good = `"event":"agent.status_changed","data":{"agentId":"a","from":"online","to":"offline"}`
	s.call(key, "POST", "/v1/events", `{"id":"taken",`+good+`}`).want(202, "")
	ep := func(fields string) string { return `{"event_types":["*"],` + fields + `}` }
	const events, endpoints, types, keys, tenants = "/v1/events", "/v1/endpoints", "/v1/event-types", "/v1/api-keys",
		"/v1/tenants"
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code                     string
		headers                  []string
	}{
		{"malformed JSON", "POST", events, `{"event":`, 400, "invalid_json", nil},
		{"no JSON", "POST", events, `event=agent`, 400, "invalid_json", nil},
		{"empty body", "POST", events, ``, 400, "invalid_json", nil},
		{"trailing text", "POST", events, `{` + good + `} x`, 400, "invalid_json", nil},
		{"unknown field outside data", "POST", events, `{"colour":1,` + good + `}`, 400, "unknown_field", nil},
		{"field in another case", "POST", events, `{"ID":"x",` + good + `}`, 400, "unknown_field", nil},
		{"duplicate key", "POST", events, `{"id":"a","id":"b",` + good + `}`, 400, "duplicate_field", nil},
		{"duplicate key in data", "POST", events,
			`{"event":"agent.status_changed","data":{"agentId":"a","agentId":"b","from":"online","to":"offline"}}`, 400,
			"duplicate_field", nil},
		{"wrong type", "POST", events, `{"id":7,` + good + `}`, 400, "wrong_type", nil},
		{"data no object", "POST", events, `{"event":"agent.status_changed","data":[]}`, 400, "wrong_type", nil},
		{"unknown event type", "POST", events, `{"event":"order.paid","data":{}}`, 400, "unknown_event_type", nil},
		{"data breaks its schema", "POST", events, `{"event":"agent.status_changed","data":{"agentId":"a"}}`, 400,
			"schema_mismatch", nil},
		{"forbidden characters in an id", "POST", events, `{"id":"a.b/../c",` + good + `}`, 400, "invalid_id", nil},
		{"id too long", "POST", events, `{"id":"` + strings.Repeat("x", 129) + `",` + good + `}`, 400, "invalid_id", nil},
		{"bad timestamp", "POST", events, `{"timestamp":"yesterday",` + good + `}`, 400, "invalid_timestamp", nil},
		{"same id, other content", "POST", events,
			`{"id":"taken","event":"agent.status_changed","data":{"agentId":"b","from":"online","to":"offline"}}`, 409,
			"id_conflict", nil},
		{"body over 512 KiB", "POST", events, `{"subject":"` + strings.Repeat("x", 512<<10) + `",` + good + `}`, 413,
			"body_too_large", nil},
		{"form", "POST", events, `{` + good + `}`, 415, "unsupported_media_type", []string{"Content-Type",
			"application/x-www-form-urlencoded"}},
		{"Idempotency-Key too long", "POST", events, `{` + good + `}`, 400, "invalid_idempotency_key",
			[]string{"Idempotency-Key", strings.Repeat("k", ingest.MaxIdempotencyKey+1)}},
		{"Idempotency-Key of a batch too long", "POST", events + "/batch", `[{` + good + `}]`, 400,
			"invalid_idempotency_key", []string{"Idempotency-Key", strings.Repeat("k", ingest.MaxIdempotencyKey+1)}},

		{"batch no array", "POST", events + "/batch", `7`, 400, "invalid_json", nil},
		{"batch not closed", "POST", events + "/batch", `[{` + good + `}`, 400, "invalid_json", nil},
		{"batch with a hole", "POST", events + "/batch", `[,]`, 400, "invalid_json", nil},
		{"batch and more", "POST", events + "/batch", `[] []`, 400, "invalid_json", nil},
		{"batch empty", "POST", events + "/batch", `[]`, 400, "batch_empty", nil},
		{"batch of 1,001", "POST", events + "/batch", `[` + strings.Repeat(`{},`, 1000) + `{}]`, 413, "batch_too_large", nil},
		{"batch over 16 MiB", "POST", events + "/batch", `[` + strings.Repeat(" ", 16<<20) + `]`, 413, "body_too_large", nil},
		{"batch as text", "POST", events + "/batch", `[{` + good + `}]`, 415, "unsupported_media_type",
			[]string{"Content-Type", "text/plain"}},

		{"no url", "POST", endpoints, `{"event_types":["*"]}`, 400, "invalid_url", nil},
		{"kind nobody knows", "POST", endpoints, ep(`"kind":"fax","url":"https://example.com/"`), 400, "invalid_request", nil},
		{"slack without a url", "POST", endpoints, ep(`"kind":"slack"`), 400, "invalid_url", nil},
		{"slack in the clear", "POST", endpoints, ep(`"kind":"slack","url":"http://hooks.example.com/services/x"`), 400,
			"invalid_url", nil},
		{"slack with a secret", "POST", endpoints, ep(`"kind":"slack","url":"https://hooks.example.com/x","secret":"whsec_x"`),
			400, "invalid_destination", nil},
		{"slack with a header", "POST", endpoints,
			ep(`"kind":"slack","url":"https://hooks.example.com/x","headers":{"X-A":"b"}`), 400, "invalid_kind", nil},
		{"telegram without a chat", "POST", endpoints, ep(`"kind":"telegram","telegram":{"token":"1234:AAbbccddeeff"}`), 400,
			"invalid_destination", nil},
		{"telegram without a token", "POST", endpoints, ep(`"kind":"telegram","telegram":{"chat_id":"-1001"}`), 400,
			"invalid_destination", nil},
		{"telegram's token with a path", "POST", endpoints,
			ep(`"kind":"telegram","telegram":{"chat_id":"-1001","token":"123456:AAcanary-token/../x"}`), 400,
			"invalid_destination", nil},
		{"chat of a webhook", "POST", endpoints, ep(`"url":"https://example.com/","telegram":{"chat_id":"1"}`), 400,
			"invalid_destination", nil},
		{"email without a server", "POST", endpoints,
			ep(`"kind":"email","email":{"from":"a@example.com","to":"b@example.com"}`), 400, "invalid_destination", nil},
		{"email with a url", "POST", endpoints, ep(`"kind":"email","url":"https://example.com/"`), 400, "invalid_destination",
			nil},
		{"email to two", "POST", endpoints,
			ep(`"kind":"email","email":{"server":"mx.example.com:587","from":"a@b.example","to":"b@b.example, c@b.example"}`),
			400, "invalid_destination", nil},
		{"email with a header in the address", "POST", endpoints,
			ep(`"kind":"email","email":{"server":"mx.example.com","from":"a@b.example\r\nBcc: x@b.example","to":"b@b.example"}`),
			400, "invalid_destination", nil},
		{"email with a password alone", "POST", endpoints, ep(`"kind":"email","email":{"server":"mx.example.com",` +
			`"from":"a@example.com","to":"b@example.com","password":"canary-password"}`), 400, "invalid_destination", nil},
		{"mail server inside", "POST", endpoints,
			ep(`"kind":"email","email":{"server":"169.254.169.254:25","from":"a@example.com","to":"b@example.com"}`), 400,
			"blocked_address", nil},
		{"mail server with a path", "POST", endpoints,
			ep(`"kind":"email","email":{"server":"mx.example.com:25/x","from":"a@example.com","to":"b@example.com"}`), 400,
			"invalid_destination", nil},
		{"url not http", "POST", endpoints, ep(`"url":"ftp://example.com/"`), 400, "invalid_url", nil},
		{"url no URL", "POST", endpoints, ep(`"url":"::"`), 400, "invalid_url", nil},
		{"url with credentials", "POST", endpoints, ep(`"url":"https://u:canary-password@example.com/"`), 400,
			"invalid_url", nil},
		{"url with a fragment", "POST", endpoints, ep(`"url":"https://example.com/#x"`), 400, "invalid_url", nil},
		{"loopback", "POST", endpoints, ep(`"url":"http://127.0.0.1:3000/"`), 400, "blocked_address", nil},
		{"localhost", "POST", endpoints, ep(`"url":"http://localhost:3000/"`), 400, "blocked_address", nil},
		{"link-local", "POST", endpoints, ep(`"url":"http://169.254.169.254/latest"`), 400, "blocked_address", nil},
		{"private IPv6", "POST", endpoints, ep(`"url":"http://[fd00::1]/"`), 400, "blocked_address", nil},
		{"no event types", "POST", endpoints, `{"url":"https://example.com/"}`, 400, "invalid_request", nil},
		{"empty event types", "POST", endpoints, `{"url":"https://example.com/","event_types":[]}`,
			400, "no_event_types", nil},
		{"bad pattern", "POST", endpoints, `{"url":"https://example.com/","event_types":["agent*"]}`, 400,
			"invalid_event_type", nil},
		{"unknown endpoint field", "POST", endpoints, ep(`"url":"https://example.com/","colour":1`),
			400, "invalid_request", nil},
		{"endpoint field in another case", "POST", endpoints, ep(`"URL":"https://example.com/"`),
			400, "invalid_request", nil},
		{"endpoint field twice", "POST", endpoints, ep(`"url":"https://a.example/","url":"https://b.example/"`), 400,
			"invalid_json", nil},
		{"bad duration", "POST", endpoints, ep(`"url":"https://example.com/","timeout":"soon"`), 400, "invalid_request", nil},
		{"timeout out of range", "POST", endpoints, ep(`"url":"https://example.com/","timeout":"1h"`), 400,
			"invalid_timeout", nil},
		{"endpoint as text", "POST", endpoints, ep(`"url":"https://example.com/"`), 415, "unsupported_media_type",
			[]string{"Content-Type", "text/plain"}},
		{"endpoint malformed", "POST", endpoints, `{"url"`, 400, "invalid_json", nil},
		{"endpoint too large", "POST", endpoints, ep(`"url":"` + strings.Repeat("x", 2<<20) + `"`),
			413, "body_too_large", nil},
		{"patch unknown field", "PATCH", endpoints + "/" + e.ID, `{"colour":1}`, 400, "invalid_request", nil},
		{"patch in another case", "PATCH", endpoints + "/" + e.ID, `{"Description":"x"}`, 400, "invalid_request", nil},
		{"patch no object", "PATCH", endpoints + "/" + e.ID, `[1]`, 400, "invalid_request", nil},
		{"patch of a wrong type", "PATCH", endpoints + "/" + e.ID, `{"max_in_flight":"many"}`, 400, "invalid_request", nil},
		{"patch without url", "PATCH", endpoints + "/" + e.ID, `{"url":null}`, 400, "invalid_url", nil},
		{"patch to a denied address", "PATCH", endpoints + "/" + e.ID, `{"url":"http://10.0.0.1/"}`,
			400, "blocked_address", nil},
		{"patch of an old revision", "PATCH", endpoints + "/" + e.ID, `{"description":"x"}`, 412, "revision_conflict",
			[]string{"If-Match", `"7"`}},
		{"patch of no revision", "PATCH", endpoints + "/" + e.ID, `{"description":"x"}`, 400, "invalid_if_match",
			[]string{"If-Match", `"new"`}},
		{"patch as a form", "PATCH", endpoints + "/" + e.ID, `{"description":"x"}`, 415, "unsupported_media_type",
			[]string{"Content-Type", "application/x-www-form-urlencoded"}},

		{"event type badly named", "POST", types, `{"type":"Order Paid"}`, 400, "invalid_event_type", nil},
		{"event type twice", "POST", types, `{"type":"agent.status_changed"}`, 409, "event_type_exists", nil},
		{"schema no schema", "POST", types, `{"type":"order.paid","schema":{"type":"strange"}}`, 400, "invalid_schema", nil},
		{"schema no object", "POST", types, `{"type":"order.paid","schema":"x"}`, 400, "invalid_request", nil},
		{"key without role", "POST", keys, `{}`, 400, "invalid_request", nil},
		{"key of no role", "POST", keys, `{"role":"king"}`, 400, "invalid_request", nil},
		{"key that has expired", "POST", keys, `{"role":"admin","expires_at":"2001-01-01T00:00:00Z"}`,
			400, "invalid_expiry", nil},
		{"tenant badly named", "POST", tenants, `{"name":"../x"}`, 400, "invalid_tenant", nil},
		{"tenant system", "POST", tenants, `{"name":"system"}`, 400, "invalid_tenant", nil},
		{"tenant twice", "POST", tenants, `{"name":"default"}`, 409, "tenant_exists", nil},

		{"unknown query parameter", "GET", endpoints + "?colour=1", "", 400, "invalid_request", nil},
		{"limit out of range", "GET", events + "?limit=251", "", 400, "invalid_request", nil},
		{"bad order", "GET", events + "?order=up", "", 400, "invalid_request", nil},
		{"bad cursor", "GET", endpoints + "?cursor=x", "", 400, "invalid_cursor", nil},
		{"bad cursor of rows", "GET", events + "?cursor=x", "", 400, "invalid_cursor", nil},
		{"bad time", "GET", events + "?created_after=noon", "", 400, "invalid_request", nil},
		{"bad position", "GET", "/v1/records?after=x", "", 400, "invalid_request", nil},
		{"position too high", "GET", "/v1/records?after=9223372036854775808", "", 400, "invalid_request", nil},
		{"last event too high", "GET", "/v1/records", "", 400, "invalid_request", []string{"Accept", "text/event-stream",
			"Last-Event-ID", "18446744073709551615"}},
		{"position behind the end", "GET", "/v1/records?after=9223372036854775807", "", 400, "invalid_position", nil},
		{"last event behind the end", "GET", "/v1/records", "", 400, "invalid_position", []string{"Accept",
			"text/event-stream", "Last-Event-ID", "9223372036854775807"}},
		{"feed behind the end", "GET", "/v1/feed?after=9223372036854775807", "", 400, "invalid_position", nil},
		{"no type of records", "GET", "/v1/records?type=Nope", "", 400, "invalid_request", nil},
		{"one type of records and none", "GET", "/v1/records?type=EventReceived,", "", 400, "invalid_request", nil},
		{"bad stream", "GET", "/v1/records?stream=x", "", 400, "invalid_request", nil},
		{"no such path", "GET", "/v2/events", "", 404, "no_such_route", nil},
		{"no such method", "PUT", events, `{}`, 405, "method_not_allowed", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.on(t)
			with := key
			if c.path == tenants {
				with = platformKey
			}
			before := s.store.Head()
			var body any
			if c.method != "GET" {
				body = c.body
			}
			got := s.call(with, c.method, c.path, body, c.headers...).want(c.status, c.code)
			if head := s.store.Head(); head != before {
				t.Errorf("%d records were appended", head-before)
			}
			if strings.Contains(string(got.body), "canary") {
				t.Errorf("the answer quotes a secret: %s", got.body)
			}
			if c.status == http.StatusMethodNotAllowed && got.header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
	if log := s.log.String(); strings.Contains(log, `"ERROR"`) {
		t.Errorf("bad input is no internal error: %s", log)
	}
}

// TestRoomIsShort: below the low-water mark what writes is answered 507, what reads goes on, and writing resumes above.
func TestRoomIsShort(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	e := s.endpoint(key, map[string]any{})
	s.full.Store(true)
	before := s.store.Head()
	s.call(key, "POST", "/v1/events", example("")).want(507, "no_room")
	s.call(key, "POST", "/v1/events/batch", []any{example(""), example("")}).want(507, "no_room")
	s.call(key, "POST", "/v1/endpoints", map[string]any{"url": "https://example.com/", "event_types": []string{"*"}}).
		want(507, "no_room")
	s.call(key, "PATCH", "/v1/endpoints/"+e.ID, map[string]any{"description": "x"}).want(507, "no_room")
	s.call(key, "GET", "/v1/endpoints/"+e.ID, nil).want(200, "")
	s.call(key, "GET", "/v1/events", nil).want(200, "")
	if s.store.Head() != before {
		t.Error("something was appended")
	}
	s.full.Store(false)
	s.call(key, "POST", "/v1/events", example("")).want(202, "")
}
