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
