package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// APIKey is an API key as shown; Key is there once, in the answer to its creation.
type APIKey struct {
	ID        string     `json:"id" example:"key_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Key       string     `json:"key,omitempty" doc:"The key itself. It is shown this once; only its hash is kept."`
	Tenant    string     `json:"tenant" doc:"The tenant that it belongs to, or * for a platform key." example:"default"`
	Name      string     `json:"name,omitempty" example:"the cron server"`
	Prefix    string     `json:"prefix" doc:"The key's first characters, to recognise it by." example:"hl_3kTq9x"`
	Role      string     `json:"role" enum:"admin,operator,producer,auditor"`
	Status    string     `json:"status" enum:"active,expired,revoked"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

func (a *api) showKey(k *domain.APIKey) APIKey {
	status := "active"
	switch {
	case !k.RevokedAt.IsZero():
		status = "revoked"
	case !k.Usable(a.Now()):
		status = "expired"
	}
	return APIKey{ID: k.ID, Tenant: k.Tenant, Name: k.Name, Prefix: k.Prefix, Role: string(k.Role), Status: status,
		CreatedAt: k.CreatedAt, ExpiresAt: timeOrNil(k.ExpiresAt), RevokedAt: timeOrNil(k.RevokedAt)}
}

// NewKey draws an API key of 256 random bits, and gives what KeyIssued says of it: its hash, and the prefix to
// recognise it by.
func NewKey() (secret domain.Secret, prefix string, hash []byte) {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // never fails
	key := KeyPrefix + base64.RawURLEncoding.EncodeToString(bits[:])
	prefix, hash = DescribeKey(domain.NewSecret(key))
	return domain.NewSecret(key), prefix, hash
}

// DescribeKey gives what KeyIssued says of a key.
func DescribeKey(secret domain.Secret) (prefix string, hash []byte) {
	key := secret.Reveal()
	sum := sha256.Sum256([]byte(key))
	return key[:min(len(key), len(KeyPrefix)+6)], sum[:]
}

func (a *api) registerKeys() {
	register(a, operation{id: "list-api-keys", tag: "API keys", summary: "List API keys",
		description: "Those of the tenant; with " + HeaderTenant + ": * those of the platform."}, a.listKeys)
	register(a, operation{id: "create-api-key", tag: "API keys", summary: "Create an API key", status: http.StatusCreated,
		description: "The key is shown in this one answer. Only its SHA-256 is kept."}, a.createKey)
	register(a, operation{id: "revoke-api-key", tag: "API keys", summary: "Revoke an API key",
		status: http.StatusNoContent, description: "It opens nothing from the moment of the answer on, and stays listed."},
		a.revokeKey)
}

func (a *api) listKeys(ctx context.Context, c *caller, in *struct{ PageInput }) (*listOutput[APIKey], error) {
	at, now, err := a.tableNow(ctx, in.MinPosition)
	if err != nil {
		return nil, err
	}
	var rows []placed[APIKey]
	for _, k := range a.Directory.Keys(c.tenant) {
		rows = append(rows, placed[APIKey]{k.CreatedAt, k.ID, a.showKey(k)})
	}
	slices.SortFunc(rows, placed[APIKey].compare)
	return pageOf(&in.PageInput, rows, at, now)
}

type createKeyInput struct {
	Body struct {
		Name      string    `json:"name,omitempty" maxLength:"128" doc:"To recognise it by." example:"the cron server"`
		Role      string    `json:"role" enum:"admin,operator,producer,auditor" doc:"What it may do."`
		ExpiresAt time.Time `json:"expires_at,omitempty" doc:"When it ends; absent: never."`
	}
}

func (a *api) createKey(ctx context.Context, c *caller, in *createKeyInput) (*createdOutput[APIKey], error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	id := a.newID(domain.PrefixKey, c.tenant, "create-api-key", c.idempotency)
	secret, prefix, hash := NewKey()
	issue := domain.KeyIssued{Name: in.Body.Name, Prefix: prefix, Hash: hash, Role: domain.Role(in.Body.Role),
		ExpiresAt: in.Body.ExpiresAt.UTC()}
	var before bool
	stream := domain.KeyStream(c.tenant, id)
	k, done, err := ledger.Execute(ctx, a.Store, stream, func() *domain.APIKey { return &domain.APIKey{} },
		func(k *domain.APIKey) ([]domain.Record, error) {
			if before = k.ID != "" && c.idempotency != ""; before {
				if k.Name != issue.Name || k.Role != issue.Role || !k.ExpiresAt.Equal(issue.ExpiresAt) {
					return nil, errIdempotencyConflict
				}
				return nil, nil
			}
			s := a.stamp(c)
			facts, err := k.Issue(issue, s.At)
			if err != nil {
				return nil, err
			}
			return s.Records(stream, c.tenant, "", ulid.ULID{}, facts...), nil
		})
	if err != nil {
		return nil, err
	}
	if err := a.configAt(ctx, done.Position); err != nil {
		return nil, err
	}
	shown := a.showKey(k)
	if !before {
		shown.Key = secret.Reveal()
	}
	return answerCreated(c, before, "", "", shown), nil
}

type keyPath struct {
	ID string `path:"id" maxLength:"128" doc:"The key's id." example:"key_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
}

func (a *api) revokeKey(ctx context.Context, c *caller, in *keyPath) (*struct{}, error) {
	if !domain.ValidEventID(in.ID) { // it names a stream
		_, err := new(domain.APIKey).Revoke()
		return nil, err
	}
	stream := domain.KeyStream(c.tenant, in.ID)
	_, done, err := ledger.Execute(ctx, a.Store, stream, func() *domain.APIKey { return &domain.APIKey{} },
		func(k *domain.APIKey) ([]domain.Record, error) {
			facts, err := k.Revoke()
			if err != nil || len(facts) == 0 {
				return nil, err
			}
			return a.stamp(c).Records(stream, c.tenant, "", ulid.ULID{}, facts...), nil
		})
	if err != nil {
		return nil, err
	}
	return nil, a.configAt(ctx, done.Position)
}
