package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"hookledger/domain"
)

// TestEndpointsOfEachKind: made, shown, changed and repeated; nothing secret of them stands on the ledger or in an
// answer, and who may not see a URL does not see whom messages go to.
func TestEndpointsOfEachKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, create, patch, needsNew string
		shows                         []string // to an operator
		limit                         string
	}{
		{"slack", `{"kind":"slack","url":"https://hooks.example.com/services/canary","event_types":["*"]}`,
			`{"description":"x"}`, "", []string{`"url":"https://hooks.example.com/services/canary"`}, `"rate_limit":1`},
		{"telegram", `{"kind":"telegram","event_types":["*"],"telegram":{"chat_id":"-1001","token":"123456:AAcanary-token"}}`,
			`{"telegram":{"chat_id":"@canary_ops"}}`, `{"telegram":{"token":"123456:AAcanary-other"}}`,
			[]string{`"url":"https://api.telegram.org/"`, `"chat_id":"-1001"`}, `"rate_limit":1`},
		{"email", `{"kind":"email","event_types":["*"],"email":{"server":"mx.example.com","from":"Canary <a@example.com>",` +
			`"to":"canary@example.com","username":"canary-user","password":"canary-password"}}`,
			`{"email":{"to":"canary-other@example.com"}}`, `{"email":{"password":"canary-new"}}`,
			[]string{`"server":"mx.example.com:587"`, `"to":"canary@example.com"`, `"username":"canary-user"`},
			`"max_in_flight":2`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t)
			key, auditor := s.key("default", domain.RoleOperator), s.key("default", domain.RoleAuditor)
			made := s.call(key, "POST", "/v1/endpoints", c.create, "Idempotency-Key", "k").want(201, "")
			e := into[Endpoint](made)
			if e.Kind != c.name || e.Secret != "" || e.Signing.KeyID != "" {
				t.Errorf("made %+v", e)
			}
			for _, want := range append(c.shows, c.limit) {
				if !strings.Contains(string(made.body), want) {
					t.Errorf("no %s in %s", want, made.body)
				}
			}
			again := into[Endpoint](s.call(key, "POST", "/v1/endpoints", c.create, "Idempotency-Key", "k").want(200, ""))
			if again.ID != e.ID {
				t.Errorf("a repeat made %s", again.ID)
			}
			s.call(key, "POST", "/v1/endpoints", strings.Replace(c.create, "canary", "other", 1), "Idempotency-Key", "k").
				want(409, "idempotency_conflict")
			path := "/v1/endpoints/" + e.ID
			if shown := s.call(auditor, "GET", path, nil).want(200, ""); strings.Contains(string(shown.body), "canary") ||
				strings.Contains(string(shown.body), "1001") {
				t.Errorf("an auditor sees %s", shown.body)
			}
			s.call(key, "PATCH", path, `{"kind":"webhook"}`).want(400, "invalid_kind")
			s.call(key, "POST", path+"/rotate-secret", nil).want(400, "not_signed")
			before := s.config(e.ID)
			s.call(key, "PATCH", path, c.patch).want(200, "")
			after := s.config(e.ID)
			if c.needsNew != "" {
				if after.Credential == nil || before.Credential.KeyID != after.Credential.KeyID {
					t.Error("a change of something else took the credential")
				}
				s.call(key, "PATCH", path, c.needsNew).want(200, "")
				if now := s.config(e.ID); now.Credential.KeyID == after.Credential.KeyID {
					t.Error("a new credential did not take the place of the old one")
				}
			}
			for r, err := range s.store.ReadAll(t.Context(), 0) {
				if err != nil {
					t.Fatal(err)
				}
				if raw, _ := json.Marshal(r.Fact); strings.Contains(string(raw), "canary") {
					t.Errorf("on the ledger: %s", raw)
				}
			}
		})
	}
}

func (s *stack) config(endpoint string) *domain.EndpointConfig {
	e, ok := s.api.Directory.Endpoint("default", endpoint)
	if !ok {
		s.t.Fatal("there is no such endpoint")
	}
	return &e.Config
}
