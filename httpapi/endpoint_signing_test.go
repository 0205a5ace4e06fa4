package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/vault"
)

const givenSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func (s *stack) keys(key, id string) []SigningKey {
	s.t.Helper()
	return into[List[SigningKey]](s.call(key, "GET", "/v1/endpoints/"+id+"/keys", nil).want(200, "")).Data
}

// TestRotateSecret: the new secret is in the one answer, the table holds both keys when it comes, and the bounds hold.
func TestRotateSecret(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	e := s.endpoint(admin, map[string]any{})
	path := "/v1/endpoints/" + e.ID + "/rotate-secret"
	before := time.Now()
	got := into[Endpoint](s.call(admin, "POST", path, nil).want(200, ""))
	if !strings.HasPrefix(got.Secret, "whsec_") || got.Secret == e.Secret || got.Revision != 1 ||
		got.Signing.Fingerprint != domain.NewSecret(got.Secret).Fingerprint() {
		t.Fatalf("rotated: %+v", got)
	}
	held, _ := s.proj.Directory().Endpoint("default", e.ID) // no waiting: the answer did
	if held.Config.Signing.KeyID != got.Signing.KeyID || len(held.Config.Signing.Previous) != 1 {
		t.Errorf("the answer came before the table held it: %+v", held.Config.Signing)
	}
	if p := got.Signing.Previous[0]; p.KeyID != e.Signing.KeyID || p.ValidUntil.Before(before.Add(24*time.Hour)) ||
		p.ValidUntil.After(time.Now().Add(24*time.Hour)) {
		t.Errorf("the replaced key: %+v", p)
	}
	shown := s.call(admin, "GET", "/v1/endpoints/"+e.ID, nil).want(200, "")
	if strings.Contains(string(shown.body), "whsec_") {
		t.Errorf("the secret is shown again: %s", shown.body)
	}

	// v1a: what is shown is the public key, and nobody sees the private one.
	pair := s.call(admin, "POST", path, `{"scheme":"v1a","overlap":"1h"}`).want(200, "")
	p := into[Endpoint](pair)
	if p.Secret != "" || p.Signing.Scheme != "v1a" || !strings.HasPrefix(p.Signing.PublicKey, "whpk_") ||
		strings.Contains(string(pair.body), "whsk_") {
		t.Errorf("%s", pair.body)
	}
	keys := s.keys(s.key("default", domain.RoleProducer), e.ID)
	if len(keys) != 3 || keys[0].PublicKey != p.Signing.PublicKey || keys[0].Status != "current" ||
		keys[1].KeyID != got.Signing.KeyID || keys[2].KeyID != e.Signing.KeyID || keys[2].Status != "previous" {
		t.Errorf("keys: %+v", keys)
	}
	s.call(admin, "POST", path, nil).want(409, "too_many_secrets")

	// One that leaked: the new one alone signs from now on.
	alone := into[Endpoint](s.call(admin, "POST", path, map[string]any{"overlap": "0s", "secret": givenSecret}).
		want(200, ""))
	if alone.Secret != "" || alone.Signing.Fingerprint != domain.NewSecret(givenSecret).Fingerprint() {
		t.Errorf("%+v", alone)
	}
	if keys := s.keys(admin, e.ID); len(keys) != 1 || keys[0].KeyID != alone.Signing.KeyID {
		t.Errorf("keys: %+v", keys)
	}
	s.call(admin, "POST", path, map[string]any{"secret": givenSecret}).want(400, "same_secret")
	for body, code := range map[string]string{
		`{"overlap":"-1s"}`: "invalid_overlap", `{"overlap":"721h"}`: "invalid_overlap",
		`{"secret":"hunter2"}`:                            "invalid_signing_secret",
		`{"secret":"` + givenSecret + `","scheme":"v1a"}`: "invalid_signing_secret",
		`{"scheme":"v2"}`:                                 "invalid_request", `{"overlap":5}`: "invalid_request",
	} {
		if got := s.call(admin, "POST", path, body); strings.Contains(string(got.body), "hunter2") {
			t.Errorf("%s quotes the secret: %s", body, got.body)
		} else {
			got.want(400, code)
		}
	}
	s.call(admin, "POST", "/v1/endpoints/ep_none/rotate-secret", nil).want(404, "endpoint_not_found")
	s.call(s.key("default", domain.RoleAuditor), "POST", path, nil).want(403, "role_not_allowed")
	if _, err := s.vault.SigningKey(t.Context(), alone.Signing.KeyID); err != nil {
		t.Error(err)
	}
}

// TestSemantics_ARepeatedRotationRotatesOnceAndShowsNoSecret: another body under the same key is refused.
func TestSemantics_ARepeatedRotationRotatesOnceAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	e := s.endpoint(admin, map[string]any{})
	path := "/v1/endpoints/" + e.ID + "/rotate-secret"
	idem := []string{"Idempotency-Key", "once"}
	first := into[Endpoint](s.call(admin, "POST", path, `{"overlap":"2h"}`, idem...).want(200, ""))
	head := s.store.Head()
	for range 2 {
		got := s.call(admin, "POST", path, `{"overlap":"2h"}`, idem...).want(200, "")
		again := into[Endpoint](got)
		if again.Secret != "" || got.header.Get("Idempotency-Replayed") != "true" ||
			again.Signing.KeyID != first.Signing.KeyID {
			t.Errorf("the repeat: %v %s", got.header, got.body)
		}
	}
	for _, body := range []string{`{"overlap":"3h"}`, `{"overlap":"2h","scheme":"v1a"}`,
		`{"overlap":"2h","secret":"` + givenSecret + `"}`} {
		s.call(admin, "POST", path, body, idem...).want(409, "idempotency_conflict")
	}
	if s.store.Head() != head {
		t.Error("a repeat was recorded")
	}
	// Later rotations do not make the first request another one.
	s.call(admin, "POST", path, `{"overlap":"0s"}`).want(200, "")
	s.call(admin, "POST", path, `{"overlap":"2h"}`, idem...).want(200, "")
}

// TestARotationAskedForTwiceAtOnceShowsOneSecret: of requests under one key that come together one made the secret, and
// none shows another one.
func TestARotationAskedForTwiceAtOnceShowsOneSecret(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	e := s.endpoint(admin, map[string]any{})
	path := "/v1/endpoints/" + e.ID + "/rotate-secret"
	for round := range 10 {
		answers := make([]Endpoint, 4)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				got := s.call(admin, "POST", path, `{"overlap":"0s"}`, "Idempotency-Key", strconv.Itoa(round))
				if got.status == 200 {
					answers[i] = into[Endpoint](got)
				} else {
					t.Errorf("%d %s", got.status, got.body)
				}
			})
		}
		all.Wait()
		shown := 0
		for _, a := range answers {
			if a.Secret != "" {
				shown++
				if f := domain.NewSecret(a.Secret).Fingerprint(); f != a.Signing.Fingerprint {
					t.Errorf("round %d: the secret shown is not the one in force", round)
				}
			}
		}
		if shown > 1 {
			t.Errorf("round %d: %d requests show a secret", round, shown)
		}
	}
}

// TestAnEndpointWithASecretThatExists: whoever moves here keeps what the receiver has.
func TestAnEndpointWithASecretThatExists(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	body := map[string]any{"url": "https://example.com/h", "event_types": []string{"*"}, "secret": givenSecret}
	got := s.call(admin, "POST", "/v1/endpoints", body, "Idempotency-Key", "k").want(201, "")
	e := into[Endpoint](got)
	if strings.Contains(string(got.body), givenSecret) || e.Signing.Fingerprint !=
		domain.NewSecret(givenSecret).Fingerprint() {
		t.Errorf("%s", got.body)
	}
	key, err := s.vault.SigningKey(t.Context(), e.Signing.KeyID)
	if want, _ := domain.SigningKey(domain.NewSecret(givenSecret)); err != nil || string(key) != string(want) {
		t.Errorf("another key signs: %v", err)
	}
	s.call(admin, "POST", "/v1/endpoints", body, "Idempotency-Key", "k").want(200, "")
	body["secret"] = "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	s.call(admin, "POST", "/v1/endpoints", body, "Idempotency-Key", "k").want(409, "idempotency_conflict")
	body["secret"] = "whsec_dG9vIHNob3J0"
	s.call(admin, "POST", "/v1/endpoints", body).want(400, "invalid_signing_secret")
	delete(body, "secret")
	body["scheme"] = "v1a"
	pair := into[Endpoint](s.call(admin, "POST", "/v1/endpoints", body).want(201, ""))
	if pair.Secret != "" || !strings.HasPrefix(pair.Signing.PublicKey, "whpk_") {
		t.Errorf("%+v", pair)
	}
	s.call(admin, "PATCH", "/v1/endpoints/"+e.ID, `{"secret":"`+givenSecret+`"}`).want(400, "secret_at_creation")
}

// TestWhatAReceiverDemands: values are taken, kept in the vault, changed one by one and taken away, and never shown.
func TestWhatAReceiverDemands(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	body := map[string]any{"url": "https://example.com/h", "event_types": []string{"*"},
		"headers": map[string]string{"X-Api-Key": "canary-1", "X-Tenant": "canary-2"},
		"auth":    map[string]string{"type": "basic", "username": "n8n", "password": "canary-3"},
		"legacy_signature": map[string]string{"header": "X-Hub-Signature-256", "prefix": "sha256=",
			"secret": "canary-4"}}
	got := s.call(admin, "POST", "/v1/endpoints", body, "Idempotency-Key", "k").want(201, "")
	e := into[Endpoint](got)
	config := func() *domain.EndpointConfig {
		held, _ := s.proj.Directory().Endpoint("default", e.ID)
		return &held.Config
	}
	value := func(ref domain.VaultRef) string {
		v, err := s.vault.Secret(t.Context(), ref.KeyID)
		if errors.Is(err, vault.ErrErased) {
			return "erased"
		}
		if err != nil {
			t.Fatal(err)
		}
		return v.Reveal()
	}
	first := *config()
	if value(first.Headers[0].Value) != "canary-1" || value(first.Headers[1].Value) != "canary-2" ||
		value(first.Auth.Value) != "Basic "+base64.StdEncoding.EncodeToString([]byte("n8n:canary-3")) ||
		value(first.Legacy.Secret) != "canary-4" || e.Auth.Type != "basic" || e.Legacy.Prefix != "sha256=" ||
		e.Headers["X-Api-Key"] != first.Headers[0].Value.String() {
		t.Fatalf("%+v; shown %s", first, got.body)
	}

	path := "/v1/endpoints/" + e.ID
	s.call(admin, "PATCH", path, `{"description":"x"}`).want(200, "")
	if c := config(); !slices.Equal(c.Headers, first.Headers) || *c.Auth != *first.Auth || *c.Legacy != *first.Legacy {
		t.Errorf("a change of another thing touched them: %+v", c)
	}
	head := s.store.Head()
	s.call(admin, "PATCH", path, map[string]any{"headers": map[string]string{"X-Api-Key": e.Headers["X-Api-Key"]},
		"auth": map[string]string{"type": "basic"}}).want(200, "")
	if s.store.Head() != head {
		t.Error("a patch with what was shown was recorded")
	}
	s.call(admin, "PATCH", path, `{"headers":{"X-Api-Key":"canary-5","X-Tenant":null},"auth":{"type":"bearer",`+
		`"token":"canary-6"},"legacy_signature":{"header":"X-Signature"}}`).want(200, "")
	c := config()
	if len(c.Headers) != 1 || value(c.Headers[0].Value) != "canary-5" || value(c.Auth.Value) != "Bearer canary-6" ||
		c.Legacy.Header != "X-Signature" || c.Legacy.Secret != first.Legacy.Secret {
		t.Errorf("%+v", c)
	}
	s.call(admin, "PATCH", path, `{"headers":null,"auth":null,"legacy_signature":null}`).want(200, "")
	if c := config(); c.Headers != nil || c.Auth != nil || c.Legacy != nil {
		t.Errorf("%+v", c)
	}
	for _, ids := range s.proj.Directory().Retiring() {
		if len(ids) != 6 {
			t.Errorf("to be destroyed: %v", ids)
		}
	}

	// A repeat is compared with the values of the first request.
	s.call(admin, "POST", "/v1/endpoints", body, "Idempotency-Key", "k").want(200, "")
	body["headers"] = map[string]string{"X-Api-Key": "canary-9", "X-Tenant": "canary-2"}
	s.call(admin, "POST", "/v1/endpoints", body, "Idempotency-Key", "k").want(409, "idempotency_conflict")

	history := s.call(admin, "GET", path+"/history", nil).want(200, "")
	records := s.call(admin, "GET", "/v1/records?after=0", nil).want(200, "")
	for where, text := range map[string][]byte{"created": got.body, "history": history.body, "records": records.body,
		"log": []byte(s.log.String())} {
		if strings.Contains(string(text), "canary") {
			t.Errorf("%s holds a secret: %s", where, text)
		}
	}
}

// TestDemandsThatAreRefused leave nothing behind in the vault, and quote nothing.
func TestDemandsThatAreRefused(t *testing.T) {
	t.Parallel()
	kept := &counting{}
	s := newStack(t, func(c *Config) { kept.Vault = c.Vault; c.Vault = kept })
	admin := s.key("default", domain.RoleAdmin)
	for _, c := range []struct{ body, code string }{
		{`"headers":{"Host":"canary"}`, "invalid_header"},
		{`"headers":{"content-encoding":"canary"}`, "invalid_header"},
		{`"headers":{"Webhook-Id":"canary"}`, "invalid_header"},
		{`"headers":{"X-Idempotency-Key":"canary"}`, "invalid_header"},
		{`"headers":{"X-A":"canary\r\nX-Evil: 1"}`, "invalid_header"},
		{`"headers":{"X-A":""}`, "invalid_header"},
		{`"headers":{"X-A":"{vault:cr_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C}"}`, "invalid_header"},
		{`"headers":{"X-A":"canary","x-a":"canary"}`, "invalid_header"},
		{`"headers":{"Authorization":"canary"},"auth":{"type":"bearer","token":"canary"}`, "invalid_header"},
		{`"auth":{"type":"basic","username":"canary"}`, "invalid_auth"},
		{`"auth":{"type":"basic","username":"a:b","password":"canary"}`, "invalid_auth"},
		{`"auth":{"type":"bearer","password":"canary","token":"canary"}`, "invalid_auth"},
		{`"auth":{"type":"bearer"}`, "invalid_auth"},
		{`"auth":{"type":"bearer","token":"canary\n"}`, "invalid_header"},
		{`"legacy_signature":{"header":"X-Sig"}`, "invalid_signing_secret"},
		{`"legacy_signature":{"header":"webhook-signature","secret":"canary"}`, "invalid_header"},
		{`"client_cert":{"chain":"canary","key":"canary"}`, "invalid_client_cert"},
		{`"client_cert":{"chain":"canary"}`, "invalid_client_cert"},
		{`"secret":"canary"`, "invalid_signing_secret"},
		{`"headers":{"X-A":"canary"},"timeout":"1h"`, "invalid_timeout"},
	} {
		got := s.call(admin, "POST", "/v1/endpoints", `{"url":"https://example.com/h","event_types":["*"],`+c.body+`}`)
		got.want(400, c.code)
		if strings.Contains(string(got.body), "canary") {
			t.Errorf("%s is quoted: %s", c.body, got.body)
		}
	}
	if kept.made != 0 {
		t.Errorf("%d secrets were kept for requests that were refused", kept.made)
	}
	// One that is found wrong only when it is decided takes its secrets along.
	e := s.endpoint(admin, map[string]any{})
	made := kept.made
	s.call(admin, "PATCH", "/v1/endpoints/"+e.ID, `{"headers":{"X-A":"canary"}}`, "If-Match", `"7"`).
		want(412, "revision_conflict")
	s.call(admin, "PATCH", "/v1/endpoints/"+e.ID, `{"headers":{"X-A":"canary"},"rate_limit":1e9}`).
		want(400, "invalid_rate_limit")
	if kept.made != made+kept.destroyed {
		t.Errorf("made %d, destroyed %d", kept.made-made, kept.destroyed)
	}
}

// counting is a vault that counts what goes in and out. Its requests come one after the other.
type counting struct {
	Vault
	made, destroyed int
}

func (c *counting) PutSecret(ctx context.Context, tenant string, s domain.Secret) (domain.VaultRef, error) {
	c.made++
	return c.Vault.PutSecret(ctx, tenant, s)
}

func (c *counting) PutSigningSecret(ctx context.Context, tenant string, s domain.Secret) (domain.Signing, error) {
	c.made++
	return c.Vault.PutSigningSecret(ctx, tenant, s)
}

func (c *counting) NewSigningSecret(ctx context.Context, tenant string) (domain.Signing, domain.Secret, error) {
	c.made++
	return c.Vault.NewSigningSecret(ctx, tenant)
}

func (c *counting) Destroy(ctx context.Context, id string) error {
	c.destroyed++
	return c.Vault.Destroy(ctx, id)
}

// TestWhatRemovesAnEndpointLeavesItsSecretsToBeDestroyed, however long ago it was removed.
func TestWhatRemovesAnEndpointLeavesItsSecretsToBeDestroyed(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	e := s.endpoint(admin, map[string]any{"headers": map[string]string{"X-Api-Key": "canary"}})
	s.call(admin, "DELETE", "/v1/endpoints/"+e.ID, nil).want(204, "")
	left := s.proj.Directory().Retiring()[domain.EndpointKey{Tenant: "default", Endpoint: e.ID}]
	if len(left) != 2 || left[0].Reason != domain.RetiredRemoved || left[0].Because.IsZero() {
		t.Errorf("%+v", left)
	}
	s.call(admin, "GET", "/v1/endpoints/"+e.ID+"/keys", nil).want(404, "endpoint_not_found")
}
