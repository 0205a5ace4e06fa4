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

// rival is a store at which another node is first, in the moment before an endpoint or a source is appended.
type rival struct {
	ledger.Store
	first  func()
	once   sync.Once
	beaten []string // the keys of what came too late
}

func (s *rival) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	if keys := secretsOf(records[0].Fact); keys != nil {
		s.once.Do(func() {
			s.beaten = keys
			s.first()
		})
	}
	return s.Store.Append(ctx, stream, expected, records)
}

// secretsOf are the keys that a fact about an endpoint or a source names.
func secretsOf(f domain.Fact) (ids []string) {
	switch f := f.(type) {
	case *domain.EndpointRegistered:
		ids = []string{f.Config.Signing.KeyID}
		for _, h := range f.Config.Headers {
			ids = append(ids, h.Value.KeyID)
		}
		if f.Config.Credential != nil {
			ids = append(ids, f.Config.Credential.KeyID)
		}
	case *domain.EndpointReconfigured:
		ids = []string{}
		for _, h := range f.Config.Headers {
			ids = append(ids, h.Value.KeyID)
		}
	case *domain.EndpointSecretRotated:
		ids = []string{f.Signing.KeyID}
	case *domain.SourceAdded:
		ids = []string{f.Config.Poll.Credentials.KeyID}
	case *domain.SourceChanged:
		ids = []string{f.Config.Poll.Credentials.KeyID}
	case *domain.SourceRemoved:
		ids = []string{}
	}
	return ids
}

// holds expects that the vault has the keys, or has none of them any more.
func (s *stack) holds(want bool, ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		if id == "" {
			continue // a destination that signs nothing
		}
		var err error
		if strings.HasPrefix(id, vault.PrefixSigningKey) {
			_, err = s.vault.SigningKey(s.t.Context(), id)
		} else {
			_, err = s.vault.Secret(s.t.Context(), id)
		}
		if want && err != nil || !want && !errors.Is(err, vault.ErrErased) {
			s.t.Errorf("the vault is to hold %s: %v; it says %v", id, want, err)
		}
	}
}

// TestWhatAnotherNodeMadeFirstLeavesNoSecret: two nodes are asked under the same Idempotency-Key at the same moment.
// Who is second answers with the first one's endpoint or source, or that the key is taken, shows no secret, and leaves
// none behind in the vault.
func TestWhatAnotherNodeMadeFirstLeavesNoSecret(t *testing.T) {
	t.Parallel()
	const webhook = `{"url":"https://example.com/","event_types":["*"],"headers":{"X-Key":"value"}}`
	telegram := `{"kind":"telegram","event_types":["*"],"telegram":{"chat_id":"@ops_channel","token":"123456:AA-` +
		strings.Repeat("x", 32) + `"}}`
	const source = `{"kind":"agenfleet","agenfleet":{"url":"https://api.agenfleet.ai/api","api_key":"canary"}}`
	for name, c := range map[string]struct {
		path         string
		theirs, ours string
		status       int
	}{
		"a webhook":       {"/v1/endpoints", webhook, webhook, 200},
		"a telegram chat": {"/v1/endpoints", telegram, telegram, 200},
		"another body": {"/v1/endpoints", strings.Replace(webhook, "example.com", "example.org", 1), webhook,
			409},
		"a source": {"/v1/sources", source, source, 200},
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
			r.first = func() { made = postTo(t, node.URL+c.path, admin, c.theirs) }
			got := s.call(admin, "POST", c.path, c.ours, "Idempotency-Key", "k")
			if got.status != c.status || strings.Contains(string(got.body), "whsec_") {
				t.Errorf("%d, or a secret is shown that signs nothing: %s", got.status, got.body)
			}
			if c.ours == webhook != strings.Contains(made, "whsec_") {
				t.Errorf("the first one was told %s", made)
			}
			if len(r.beaten) == 0 {
				t.Error("no secret was made")
			}
			s.holds(false, r.beaten...)
		})
	}
}

// postTo makes something at another node, from whatever goroutine.
func postTo(t *testing.T, url, key, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
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

// refusing answers appends with its error; nil: it takes them, and the client goes then.
type refusing struct {
	ledger.Store
	keys  func(domain.Fact) []string // that a fact names; nil: it is taken
	leave context.CancelFunc         // called first; nil: the client stays
	err   error
	lost  bool     // the first answer to what is written does not arrive, so that it is repeated
	named []string // by the fact that was refused
}

func (s *refusing) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	keys := s.keys(records[0].Fact)
	if keys == nil {
		return s.Store.Append(ctx, stream, expected, records)
	}
	s.named = keys
	var done ledger.Appended
	err := s.err
	if err == nil {
		done, err = s.Store.Append(ctx, stream, expected, records)
	}
	if s.lost && err == nil && !done.Duplicate {
		return ledger.Appended{}, ledger.ErrUnknownOutcome
	}
	if s.leave != nil {
		s.leave()
	}
	return done, err
}

// TestAClientThatGoesAwayLeavesNoSecret: who asked may be gone by the time that its endpoint, its rotation or its
// source is known to be on no ledger; the secrets that were made for it are destroyed all the same. Where nobody knows
// whether it was written they stay, and where a repeat of the append says that it was.
func TestAClientThatGoesAwayLeavesNoSecret(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		early bool // it goes before the append is answered, not after
		lost  bool // its first append was written, which only the repeat says
		stays bool
	}{
		"refused, then gone":              {err: domain.Refuse(domain.KindConflict, "full", "no more", "delete one")},
		"gone, then beaten":               {err: ledger.ErrConflict, early: true}, // it can't load again
		"gone before anything was begun":  {err: ledger.ErrUnavailable, early: true},
		"gone while it was being written": {err: ledger.ErrUnknownOutcome, early: true, stays: true},
		"the store failed for good":       {err: ledger.ErrClosed, stays: true},
		"gone, then a repeat is answered": {lost: true, early: true, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, v := &refusing{keys: secretsOf}, &leaving{}
			s := newStack(t, func(c *Config) {
				store.Store, c.Store = c.Store, store
				v.Vault, c.Vault = c.Vault, v
			})
			admin := s.key("default", domain.RoleAdmin)
			made := s.endpoint(admin, map[string]any{})
			store.err, store.lost = c.err, c.lost
			expect := func(ctx context.Context, ask func(context.Context, *caller) error) {
				t.Helper()
				ctx, v.leave = context.WithCancel(ctx)
				defer v.leave()
				if c.early {
					store.leave = v.leave
				}
				err := ask(ctx, &caller{key: &domain.APIKey{}, tenant: "default"})
				if err == nil && !c.lost {
					t.Fatal("it was done")
				}
				if len(store.named) == 0 {
					t.Error("no secret was made")
				}
				s.holds(c.stays, store.named...)
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
			expect(t.Context(), func(ctx context.Context, by *caller) error {
				_, err := s.api.updateEndpoint(ctx, by, &updateEndpointInput{ID: made.ID,
					RawBody: []byte(`{"headers":{"X-Key":"another"}}`)})
				return err
			})
			fleet := SourceConfig{Kind: domain.SourceAgenFleet, AgenFleet: &AgenFleetConfig{
				URL: "https://api.agenfleet.ai/api", APIKey: "canary"}}
			expect(t.Context(), func(ctx context.Context, by *caller) error {
				_, err := s.api.createSource(ctx, by, &createSourceInput{Body: fleet})
				return err
			})
			store.err, store.leave, store.lost = nil, nil, false
			added, err := s.api.createSource(t.Context(), &caller{key: &domain.APIKey{}, tenant: "default"},
				&createSourceInput{Body: fleet})
			if err != nil {
				t.Fatal(err)
			}
			first := store.named
			store.err, store.lost = c.err, c.lost
			expect(t.Context(), func(ctx context.Context, by *caller) error {
				_, err := s.api.updateSource(ctx, by, &updateSourceInput{ID: added.Body.ID,
					RawBody: []byte(`{"agenfleet":{"api_key":"another"}}`)})
				return err
			})
			s.holds(!c.lost, first...) // what the new ones took the place of
		})
	}
}

// TestWhatASourceLetsGoOfIsDestroyed, though its client went away as soon as the change stood on the ledger, be that
// known at once or by a repeat; the new credentials stay, which the ledger names.
func TestWhatASourceLetsGoOfIsDestroyed(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"answered": false, "repeated": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &refusing{keys: secretsOf, lost: lost}
			s := newStack(t, func(c *Config) { store.Store, c.Store = c.Store, store })
			admin := s.key("default", domain.RoleAdmin)
			src := into[Source](s.call(admin, "POST", "/v1/sources", fleetSource(nil)).want(201, ""))
			first, by := store.named, &caller{key: &domain.APIKey{}, tenant: "default"}
			var ctx context.Context
			ctx, store.leave = context.WithCancel(t.Context())
			_, _ = s.api.updateSource(ctx, by, &updateSourceInput{ID: src.ID, // nobody is there for the answer
				RawBody: []byte(`{"agenfleet":{"email":"you@example.com","password":"canary"}}`)})
			second := store.named
			s.holds(false, first...)
			s.holds(true, second...)
			ctx, store.leave = context.WithCancel(t.Context())
			_, _ = s.api.deleteSource(ctx, by, &deleteSourceInput{ID: src.ID})
			s.holds(false, second...)
			if len(first) != 1 || len(second) != 1 || first[0] == second[0] {
				t.Errorf("the credentials: %v, then %v", first, second)
			}
		})
	}
}

// TestARepeatThatCantBeReadIsOfUnknownOutcome: under a key, what stands on the ledger is read to see whose it is; until
// then nothing is known that a refusal could say.
func TestARepeatThatCantBeReadIsOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	store := &refusing{keys: func(f domain.Fact) []string {
		switch f.(type) {
		case *domain.EndpointSecretRotated, *domain.EndpointDisabled:
			return []string{}
		}
		return nil
	}, lost: true}
	s := newStack(t, func(c *Config) { store.Store, c.Store = c.Store, store })
	on := s.endpoint(s.key("default", domain.RoleAdmin), map[string]any{})
	by := &caller{key: &domain.APIKey{}, tenant: "default", route: &route{id: "any"}, idempotency: "k"}
	for what, ask := range map[string]func(context.Context) error{
		"disable": func(ctx context.Context) error {
			_, err := s.api.disableEndpoint(ctx, by, &endpointPath{ID: on.ID})
			return err
		},
		"rotate": func(ctx context.Context) error {
			_, err := s.api.rotateSecret(ctx, by, &rotateInput{ID: on.ID})
			return err
		},
	} {
		var ctx context.Context
		ctx, store.leave = context.WithCancel(t.Context())
		if err := ask(ctx); !errors.Is(err, ledger.ErrUnknownOutcome) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestASourceWhoseCredentialsTheVaultNeverHadCanBeDeleted, as after a vault was restored from before it was added.
func TestASourceWhoseCredentialsTheVaultNeverHadCanBeDeleted(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.append(domain.SourceStream("default", "src_1"), "default", &domain.SourceAdded{Config: domain.SourceConfig{
		Kind: domain.SourceAgenFleet, TimeZone: "UTC", Poll: &domain.PollConfig{URL: "https://api.agenfleet.ai/api",
			Auth: domain.AuthKey, Credentials: domain.VaultRef{KeyID: "cr_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"}}}})
	s.call(s.key("default", domain.RoleAdmin), "DELETE", "/v1/sources/src_1", nil).want(204, "")
}
