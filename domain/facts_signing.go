package domain

import "time"

// Signing names the key that signs an endpoint's requests; the key itself stands in the vault.
type Signing struct {
	Scheme      string `json:"scheme"` // SchemeV1 or SchemeV1a
	KeyID       string `json:"key_id"`
	Fingerprint string `json:"fingerprint"`          // of the secret
	PublicKey   string `json:"public_key,omitempty"` // with v1a: "whpk_" and base64
	// Previous are the keys that it replaced and that sign beside it until their end, the newest one first.
	Previous []PreviousKey `json:"previous,omitempty"`
}

// PreviousKey is a signing key that was replaced.
type PreviousKey struct {
	Scheme      string    `json:"scheme"`
	KeyID       string    `json:"key_id"`
	Fingerprint string    `json:"fingerprint"`
	PublicKey   string    `json:"public_key,omitempty"`
	ValidUntil  time.Time `json:"valid_until"` // from then on it signs nothing
}

// SecretHeader is a header that an endpoint's requests carry beside ours; its value stands in the vault.
type SecretHeader struct {
	Name  string   `json:"name"`
	Value VaultRef `json:"value"`
}

// Ways of ReceiverAuth.
const (
	AuthBasic  = "basic"
	AuthBearer = "bearer"
)

// ReceiverAuth is how an endpoint's requests authenticate themselves: by the header Authorization, whose whole value
// stands in the vault.
type ReceiverAuth struct {
	Type  string   `json:"type"` // AuthBasic or AuthBearer
	Value VaultRef `json:"value"`
}

// ClientCert is the certificate that is shown to a receiver which asks for one; the chain and its key stand in the
// vault.
type ClientCert struct {
	Pair        VaultRef  `json:"pair"`
	Subject     string    `json:"subject"`
	Fingerprint string    `json:"fingerprint"` // SHA-256 of the leaf certificate, hex
	NotAfter    time.Time `json:"not_after"`
}

// LegacySigning is one signature more, of the body alone, for receivers that verified another sender's before.
type LegacySigning struct {
	Header string   `json:"header"`
	Prefix string   `json:"prefix,omitempty"` // before the hex digits, such as "sha256="
	Secret VaultRef `json:"secret"`
}

// EndpointSecretRotated carries the whole new Signing: of its Previous the first one is the key that it replaced.
type EndpointSecretRotated struct {
	Signing Signing `json:"signing"`
}

// EndpointSecretRetired says that secrets which the endpoint uses no more were destroyed in the vault.
type EndpointSecretRetired struct {
	Keys   []string `json:"keys"`
	Reason string   `json:"reason"` // one of the constants Retired…
}

// Reasons of EndpointSecretRetired.
const (
	RetiredRotated  = "rotated"  // a signing key whose time beside its successor is over
	RetiredReplaced = "replaced" // a value that the configuration names no more
	RetiredRemoved  = "removed"  // whatever a removed endpoint had
)

func (*EndpointSecretRotated) RecordType() string { return "EndpointSecretRotated" }
func (*EndpointSecretRetired) RecordType() string { return "EndpointSecretRetired" }

func (*EndpointSecretRotated) RecordVersion() int { return 1 }
func (*EndpointSecretRetired) RecordVersion() int { return 1 }

func (*EndpointSecretRotated) fact() {}
func (*EndpointSecretRetired) fact() {}
