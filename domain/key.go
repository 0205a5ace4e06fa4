package domain

import "time"

// Role says what an API key may do.
type Role string

const (
	RoleAdmin    Role = "admin"    // everything, keys and tenants included
	RoleOperator Role = "operator" // endpoints, event types, retries; reads all
	RoleProducer Role = "producer" // posts events and reads what became of them
	RoleAuditor  Role = "auditor"  // reads everything, changes nothing
)

// Roles lists them all.
func Roles() []Role { return []Role{RoleAdmin, RoleOperator, RoleProducer, RoleAuditor} }

// Valid says whether the role is one of the four.
func (r Role) Valid() bool {
	switch r {
	case RoleAdmin, RoleOperator, RoleProducer, RoleAuditor:
		return true
	}
	return false
}

// APIKey is folded from a key's stream.
type APIKey struct {
	ID        string
	Tenant    string // AnyTenant for a platform key
	Name      string
	Prefix    string
	Hash      []byte
	Role      Role
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time // zero: not revoked
	Revision  Revision
}

// Evolve folds one record of the key's stream.
func (k *APIKey) Evolve(r *Record) {
	k.Revision = r.Revision
	switch f := r.Fact.(type) {
	case *KeyIssued:
		k.ID, k.Tenant, k.Name, k.Prefix, k.Hash, k.Role = r.Stream.ID(), r.Tenant, f.Name, f.Prefix, f.Hash, f.Role
		k.CreatedAt, k.ExpiresAt = r.RecordedAt, f.ExpiresAt
	case *KeyRevoked:
		k.RevokedAt = r.RecordedAt
	}
}

// Usable says whether the key opens anything at the given time.
func (k *APIKey) Usable(now time.Time) bool {
	return k.ID != "" && k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// Issue decides on a new key.
func (k *APIKey) Issue(f KeyIssued, now time.Time) ([]Fact, error) {
	if !f.Role.Valid() {
		return nil, Refuse(KindInvalid, "invalid_role", "there is no role \""+string(f.Role)+"\"",
			"use admin, operator, producer or auditor")
	}
	if !f.ExpiresAt.IsZero() && !f.ExpiresAt.After(now) {
		return nil, Refuse(KindInvalid, "invalid_expiry", "the key would have expired already", "give a time to come")
	}
	if k.ID != "" {
		return nil, Refuse(KindConflict, "key_exists", "the key exists already", "repeat without an id")
	}
	return []Fact{&f}, nil
}

// Revoke decides on the key's end; a revoked key stays revoked.
func (k *APIKey) Revoke() ([]Fact, error) {
	if k.ID == "" {
		return nil, Refuse(KindNotFound, "key_not_found", "there is no such key", "list them with: hookledger key list")
	}
	if !k.RevokedAt.IsZero() {
		return nil, nil
	}
	return []Fact{&KeyRevoked{}}, nil
}
