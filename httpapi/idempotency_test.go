package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"hookledger/domain"
	"hookledger/ingest"
)

// TestIdempotencyKeysHaveOneLimit: every POST takes a key of the same length, every place of a batch too; a key of its
// own is never one of a batch's.
func TestIdempotencyKeysHaveOneLimit(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	tooLong := strings.Repeat("k", ingest.MaxIdempotencyKey+1)
	for i := range routes {
		rt := &routes[i]
		parameters, _ := theDocument().at("paths", rt.path, strings.ToLower(rt.method), "parameters").([]any)
		documented := slices.ContainsFunc(parameters, func(p any) bool {
			return p.(map[string]any)["name"] == headerIdempotency
		})
		if documented != rt.takesKey() {
			t.Errorf("%s: its key is documented: %v", rt.id, documented)
		}
		if rt.takesKey() && rt.scope != scopePlatform {
			s.call(admin, "POST", absent.path(rt), bodyOf(rt), headerIdempotency, tooLong).want(400, "invalid_idempotency_key")
		}
	}
	long := []string{"Idempotency-Key", strings.Repeat("k", ingest.MaxIdempotencyKey)}
	s.call(admin, "POST", "/v1/endpoints", map[string]any{"url": "https://example.com/", "event_types": []string{"*"}},
		long...).want(201, "")
	s.call(admin, "POST", "/v1/events", example(""), long...).want(202, "")
	batch := make([]any, 12)
	for i := range batch {
		batch[i] = example("")
	}
	all := into[BatchAnswer](s.call(admin, "POST", "/v1/events/batch", batch, long...).want(200, ""))
	if all.Accepted != 12 {
		t.Errorf("%+v", all)
	}
	first := into[BatchAnswer](s.call(admin, "POST", "/v1/events/batch", batch, "Idempotency-Key", "k").want(200, ""))
	single := into[Receipt](s.call(admin, "POST", "/v1/events", example(""), "Idempotency-Key", "k#0").want(202, ""))
	if first.Accepted != 12 || single.Duplicate {
		t.Errorf("batch %+v, then %+v", first, single)
	}
}

// TestIdempotencyKey: for each POST that creates, a repeat gives the resource and no secret, and appends nothing;
// another body under the key is refused; another tenant's same key is another request.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.tenant("acme")
	admin, other := s.key("default", domain.RoleAdmin), s.key("acme", domain.RoleAdmin)
	root := s.key(platform, domain.RoleAdmin)
	receipt := func() Receipt {
		s.endpoint(admin, map[string]any{})
		return into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
	}()
	retry := "/v1/deliveries/" + receipt.Deliveries[0].ID + "/retry"
	for _, c := range []struct {
		path, body, another string
		key, otherKey       string
		secret              string // field that only the first answer has
		created, repeated   int
	}{
		{"/v1/endpoints", `{"url":"https://example.com/a?b","event_types":["x.*"]}`,
			`{"url":"https://example.com/a?c","event_types":["x.*"]}`, admin, other, "secret", 201, 200},
		{"/v1/endpoints", `{"url":"https://example.com/a","event_types":["x.*"],"timeout":"3s"}`,
			`{"url":"https://example.com/a","event_types":["x.*"]}`, admin, other, "secret", 201, 200},
		{"/v1/api-keys", `{"role":"auditor","name":"one"}`, `{"role":"admin","name":"one"}`, admin, other, "key", 201, 200},
		{"/v1/event-types", `{"type":"order.paid","schema":{"type":"object"}}`, `{"type":"order.sent"}`, admin, other,
			"", 201, 200},
		{"/v1/tenants", `{"name":"blue"}`, `{"name":"blue","settings":{"accept_unknown_types":true}}`, root, "", "",
			201, 200},
		{"/v1/tenants", `{"name":"green"}`, `{"name":"red"}`, root, "", "", 201, 200},
		{retry, `{}`, `{"force":true}`, admin, "", "", 202, 202},
		{"/v1/events", `{"event":"agent.status_changed","data":{"agentId":"a","from":"online","to":"offline"}}`,
			`{"event":"agent.status_changed","data":{"agentId":"b","from":"online","to":"offline"}}`, admin, other, "",
			202, 202},
	} {
		t.Run(c.path+c.body, func(t *testing.T) {
			s := s.on(t)
			idem := []string{"Idempotency-Key", "key of " + c.body}
			first := into[map[string]any](s.call(c.key, "POST", c.path, c.body, idem...).want(c.created, ""))
			head := s.store.Head()
			got := s.call(c.key, "POST", c.path, c.body, idem...).want(c.repeated, "")
			again := into[map[string]any](got)
			if c.repeated == http.StatusOK && got.header.Get("Idempotency-Replayed") != "true" {
				t.Error("a repeat is not marked")
			}
			for _, id := range []string{"id", "name", "type"} {
				if first[id] != again[id] {
					t.Errorf("%s: %v, then %v", id, first[id], again[id])
				}
			}
			if c.secret != "" && (first[c.secret] == nil || again[c.secret] != nil) {
				t.Errorf("the secret: first %v, then %v", first[c.secret], again[c.secret])
			}
			want := "idempotency_conflict"
			if c.path == "/v1/events" {
				want = "id_conflict"
			}
			s.call(c.key, "POST", c.path, c.another, idem...).want(409, want)
			if s.store.Head() != head {
				t.Error("a repeat was appended")
			}
			if c.otherKey != "" {
				theirs := into[map[string]any](s.call(c.otherKey, "POST", c.path, c.body, idem...).want(c.created, ""))
				if first["id"] != nil && theirs["id"] == first["id"] {
					t.Error("another tenant got the same id")
				}
			}
		})
	}
	// Without a key each is a request of its own.
	body := `{"url":"https://example.com/a","event_types":["x.*"]}`
	a := into[Endpoint](s.call(admin, "POST", "/v1/endpoints", body).want(201, ""))
	b := into[Endpoint](s.call(admin, "POST", "/v1/endpoints", body).want(201, ""))
	if a.ID == b.ID {
		t.Error("two requests made one endpoint")
	}
	// What was deleted is not given again.
	idem := []string{"Idempotency-Key", "deleted"}
	e := into[Endpoint](s.call(admin, "POST", "/v1/endpoints", body, idem...).want(201, ""))
	s.call(admin, "DELETE", "/v1/endpoints/"+e.ID, nil).want(204, "")
	s.call(admin, "POST", "/v1/endpoints", body, idem...).want(409, "endpoint_removed")
}

// TestEveryPOSTIsDoneOnce walks the table: whatever was done since, the second request with a key does nothing, says
// so, and shows no secret.
func TestEveryPOSTIsDoneOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	// What undoes it, by another POST on the same thing.
	opposite := map[string]string{"enable-endpoint": "disable", "disable-endpoint": "enable", "pause-replay": "resume",
		"resume-replay": "pause", "rotate-source-token": "rotate-token", "rotate-endpoint-secret": "rotate-secret",
		"cancel-delivery": "retry"}
	for i := range routes {
		rt := &routes[i]
		if !rt.takesKey() {
			continue
		}
		t.Run(rt.id, func(t *testing.T) {
			s := s.on(t)
			key, th := s.key("default", domain.RoleAdmin), s.thingsOf("default")
			if rt.scope == scopePlatform {
				key = s.key(platform, domain.RoleAdmin)
			}
			path := th.path(rt)
			undo := path[:strings.LastIndex(path, "/")+1] + opposite[rt.id]
			switch rt.id {
			case "enable-endpoint", "resume-replay": // so that there is something to do
				s.call(key, "POST", undo, nil).want(200, "")
			case "cancel-delivery":
				receipt := into[Receipt](s.call(key, "POST", "/v1/events", example("")).want(202, ""))
				th.delivery = receipt.Deliveries[0].ID // one that waits
				path = th.path(rt)
				undo = strings.TrimSuffix(path, "cancel") + "retry"
			}
			idem := []string{headerIdempotency, "once"}
			first := s.call(key, "POST", path, bodyOf(rt), idem...)
			if first.status >= 300 || first.header.Get(headerReplayed) != "" {
				t.Fatalf("status %d, %v: %s", first.status, first.header, first.body)
			}
			if opposite[rt.id] != "" {
				if got := s.call(key, "POST", undo, nil); got.status >= 300 {
					t.Fatalf("%s: %d %s", undo, got.status, got.body)
				}
			}
			head := s.store.Head()
			again := s.call(key, "POST", path, bodyOf(rt), idem...)
			posted := strings.HasPrefix(rt.id, "post-event") // which says so in its body
			marked := again.header.Get(headerReplayed) == "true" || posted && strings.Contains(string(again.body),
				`"duplicate":true`)
			if again.status >= 300 || !marked {
				t.Errorf("repeated: status %d, %v: %s", again.status, again.header, again.body)
			}
			if s.store.Head() != head {
				t.Error("it was done twice")
			}
			for _, secret := range []string{`"secret":"`, `"key":"`, `"path":"`} {
				if strings.Contains(string(again.body), secret) {
					t.Errorf("a repeat shows %s", secret)
				}
			}
			if got := s.call(key, "POST", path, bodyOf(rt), headerIdempotency, "twice"); got.header.Get(headerReplayed) != "" {
				t.Errorf("another key is taken for the same: %s", got.body)
			}
		})
	}
}

// TestARotatedTokenHoldsThoughItsRequestIsRepeated: a client that repeats what it got an answer to, and one that did
// not, break nothing.
func TestARotatedTokenHoldsThoughItsRequestIsRepeated(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	source := into[Source](s.call(key, "POST", "/v1/sources", map[string]any{"kind": "cron"}).want(201, ""))
	rotate := "/v1/sources/" + source.ID + "/rotate-token"
	first := into[Source](s.call(key, "POST", rotate, nil, headerIdempotency, "k").want(200, ""))
	again := into[Source](s.call(key, "POST", rotate, nil, headerIdempotency, "k").want(200, ""))
	if first.Path == "" || again.Path != "" || again.Revision != first.Revision {
		t.Errorf("first %+v, then %+v", first, again)
	}
	s.call("", "POST", first.Path+"?job=j", `"done"`).want(202, "")
	s.call(key, "DELETE", "/v1/sources/"+source.ID, nil).want(204, "")
	s.call(key, "POST", rotate, nil, headerIdempotency, "k").want(404, "source_not_found")
}
