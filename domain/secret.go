package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Secret is a value that must not be printed: whatever formats or marshals it sees "[redacted]". Reveal is the one way
// to the value. It stands behind a pointer because fmt prints the unexported fields of a struct without asking their
// methods; so secrets can't be compared with ==.
type Secret struct{ value *string }

const redacted = "[redacted]"

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal gives the value, for signing, for the vault, and for the one answer that shows it to its owner.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty says that there is no value.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// Fingerprint is the first 16 hex digits of the value's SHA-256: enough to compare, nothing to recover it from.
func (s Secret) Fingerprint() string {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return hex.EncodeToString(sum[:8])
}

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
