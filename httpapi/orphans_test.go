package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// rival is a store at which another node is first, in the moment before an endpoint is appended.
type rival struct {
	ledger.Store
	first  func()
	once   sync.Once
	beaten domain.EndpointConfig // what came too late
}

func (s *rival) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	if made, ok := records[0].Fact.(*domain.EndpointRegistered); ok {
		s.once.Do(func() {
			s.beaten = made.Config
			s.first()
		})
	}
	return s.Store.Append(ctx, stream, expected, records)
}

// TestAnEndpointThatAnotherNodeMadeFirstLeavesNoSecret: two nodes are asked under the same Idempotency-Key at the same
// moment. Who is second answers with the first one's endpoint, or that the key is taken, shows no secret, and leaves
// none behind in the vault.
func TestAnEndpointThatAnotherNodeMadeFirstLeavesNoSecret(t *testing.T) {
	t.Parallel()
	const webhook = `{"url":"https://example.com/","event_types":["*"],"headers":{"X-Key":"value"}}`
	telegram := `{"kind":"telegram","event_types":["*"],"telegram":{"chat_id":"@ops_channel","token":"123456:AA-` +
		strings.Repeat("x", 32) + `"}}`
	for name, c := range map[string]struct {
		theirs, ours string
		status       int
	}{
		"a webhook": {webhook, webhook, 200}, "a telegram chat": {telegram, telegram, 200},
		"another body": {strings.Replace(webhook, "example.com", "example.org", 1), webhook, 409},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rival{}
			var other *api
			s := newStack(t, func(c *Config) {
				var err error
				if other, err = build(*c); err != nil {
					t.Fatal(err)
				}
				r.Store, c.Store = c.Store, r
			})
			node := httptest.NewServer(other.mux)
			defer node.Close()
			admin, made := s.key("default", domain.RoleAdmin), ""
			r.first = func() { made = postTo(t, node.URL, admin, c.theirs) }
			got := s.call(admin, "POST", "/v1/endpoints", c.ours, "Idempotency-Key", "k")
			if got.status != c.status || strings.Contains(string(got.body), "whsec_") {
				t.Errorf("%d, or a secret is shown that signs nothing: %s", got.status, got.body)
			}
			if c.ours == webhook != strings.Contains(made, "whsec_") {
				t.Errorf("the first one was told %s", made)
			}
			s.gone(&r.beaten)
		})
	}
}

// postTo makes an endpoint at another node, from whatever goroutine.
func postTo(t *testing.T, url, key, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/endpoints", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return ""
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "k")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Errorf("%v, %s: %s", err, resp.Status, raw)
	}
	return string(raw)
}

// gone expects that the vault has none of a configuration's secrets.
func (s *stack) gone(c *domain.EndpointConfig) {
	s.t.Helper()
	looked := 0
	check := func(id string, err error) {
		if looked++; !errors.Is(err, vault.ErrErased) {
			s.t.Errorf("the vault keeps %s: %v", id, err)
		}
	}
	if id := c.Signing.KeyID; id != "" {
		_, err := s.vault.SigningKey(s.t.Context(), id)
		check(id, err)
	}
	for _, h := range c.Headers {
		_, err := s.vault.Secret(s.t.Context(), h.Value.KeyID)
		check(h.Value.KeyID, err)
	}
	if c.Credential != nil {
		_, err := s.vault.Secret(s.t.Context(), c.Credential.KeyID)
		check(c.Credential.KeyID, err)
	}
	if looked == 0 {
		s.t.Error("no secret was made")
	}
}

// leaving is a vault that a client goes away from in the moment before something is destroyed there, and that does
// nothing for who has gone.
type leaving struct {
	Vault
	leave context.CancelFunc
}

func (v *leaving) Destroy(ctx context.Context, id string) error {
	v.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	return v.Vault.Destroy(ctx, id)
}

// refusing answers the append of an endpoint with its error.
type refusing struct {
	ledger.Store
	leave  context.CancelFunc // called first; nil: the client stays
	err    error
	beaten domain.EndpointConfig
}

func (s *refusing) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	switch f := records[0].Fact.(type) {
	case *domain.EndpointRegistered:
		s.beaten = f.Config
	case *domain.EndpointSecretRotated:
		s.beaten = domain.EndpointConfig{Signing: f.Signing}
	default:
		return s.Store.Append(ctx, stream, expected, records)
	}
	if s.err == nil {
		return s.Store.Append(ctx, stream, expected, records)
	}
	if s.leave != nil {
		s.leave()
	}
	return ledger.Appended{}, s.err
}

// TestAClientThatGoesAwayLeavesNoSecret: who asked may be gone by the time that its endpoint, or its rotation, is known
// to be on no ledger; the secrets that were made for it are destroyed all the same. Where nobody knows whether it was
// written they stay.
func TestAClientThatGoesAwayLeavesNoSecret(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		early bool // it goes before the append is answered, not after
		stays bool
	}{
		"refused, then gone":              {err: domain.Refuse(domain.KindConflict, "full", "no more", "delete one")},
		"gone, then beaten":               {err: ledger.ErrConflict, early: true}, // it can't load again
		"gone before anything was begun":  {err: ledger.ErrUnavailable, early: true},
		"gone while it was being written": {err: ledger.ErrUnknownOutcome, early: true, stays: true},
		"the store failed for good":       {err: ledger.ErrClosed, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, v := &refusing{}, &leaving{}
			s := newStack(t, func(c *Config) {
				store.Store, c.Store = c.Store, store
				v.Vault, c.Vault = c.Vault, v
			})
			admin := s.key("default", domain.RoleAdmin)
			made := s.endpoint(admin, map[string]any{})
			store.err = c.err
			expect := func(ctx context.Context, ask func(context.Context, *caller) error) {
				t.Helper()
				ctx, v.leave = context.WithCancel(ctx)
				defer v.leave()
				if c.early {
					store.leave = v.leave
				}
				if err := ask(ctx, &caller{key: &domain.APIKey{}, tenant: "default"}); err == nil {
					t.Fatal("it was done")
				}
				if !c.stays {
					s.gone(&store.beaten)
				} else if _, err := s.vault.SigningKey(t.Context(), store.beaten.Signing.KeyID); err != nil {
					t.Errorf("what may be on the ledger is gone: %v", err)
				}
			}
			expect(t.Context(), func(ctx context.Context, by *caller) error {
				in := &createEndpointInput{Body: EndpointConfig{EventTypes: []string{"*"}}}
				in.Body.Kind, in.Body.URL = domain.EndpointWebhook, "https://example.com/"
				in.Body.Headers = map[string]string{"X-Key": "value"}
				_, err := s.api.createEndpoint(ctx, by, in)
				return err
			})
			expect(t.Context(), func(ctx context.Context, by *caller) error {
				_, err := s.api.rotateSecret(ctx, by, &rotateInput{ID: made.ID})
				return err
			})
		})
	}
}
