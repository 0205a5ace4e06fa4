package vault

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

// Errors that callers branch on.
var (
	// ErrErased: the key was destroyed, and what it sealed is gone for good.
	ErrErased = errors.New("vault: the key was destroyed")
	// ErrUnknownKey: this vault never held the key: it is another ledger's, or a part of it was lost.
	ErrUnknownKey = errors.New("vault: no such key")
	// ErrTampered: the ciphertext, or the place that it is bound to, is not what was sealed.
	ErrTampered = errors.New("vault: the sealed content does not open at this place")
)

// Scope is what one data key covers: a subject of a tenant, or, for content without a subject, one tenant's type and
// month. It is the smallest thing that may have to be erased one day.
type Scope struct {
	Tenant  string
	Subject string
	Type    string    // where there is no subject
	At      time.Time // likewise: its month, in UTC
}

// Config of a vault. Dir, Master and LedgerID are needed.
type Config struct {
	Dir      string
	Master   domain.Secret // 32 bytes, as 64 hex digits or base64
	LedgerID string        // the ledger that the vault belongs to, for ever
	FS       vfs.FS        // nil: the disk
	Logger   *slog.Logger  // for what the storage engine reports; nil: nothing
	// MustExist refuses to make a new vault: set it where the ledger holds sealed content already.
	MustExist bool
}

// Vault is safe for concurrent use.
type Vault struct{}

// Open opens the vault in cfg.Dir, or makes one. It refuses, with a *domain.Error that names the fix, a wrong master
// key, another ledger's vault, one that another process holds, and one of a newer format.
func Open(cfg Config) (*Vault, error) { return nil, errors.ErrUnsupported }

// Close waits for writes under way. Calling it again is a no-op.
func (v *Vault) Close() error { return nil }

// DataKey gives the id of the scope's key, and makes the key if there is none; it is durable on return. Concurrent calls
// for one scope get one key.
func (v *Vault) DataKey(ctx context.Context, s Scope) (string, error) {
	return "", errors.ErrUnsupported
}

// Seal encrypts plaintext for one place. Errors: ErrErased, ErrUnknownKey.
func (v *Vault) Seal(ctx context.Context, keyID string, p Place, plaintext []byte) (*domain.Sealed, error) {
	return nil, errors.ErrUnsupported
}

// Open decrypts what was sealed for this place. Errors: ErrErased, ErrUnknownKey, ErrTampered.
func (v *Vault) Open(ctx context.Context, p Place, s *domain.Sealed) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

// NewSigningSecret makes a signing secret of 32 random bytes, durable on return. The secret is for the one answer that
// shows it; the Signing is for the ledger.
func (v *Vault) NewSigningSecret(ctx context.Context, tenant string) (domain.Signing, domain.Secret, error) {
	return domain.Signing{}, domain.Secret{}, errors.ErrUnsupported
}

// SigningKey gives the bytes of a signing secret; the caller must not change them. Errors: ErrErased, ErrUnknownKey.
func (v *Vault) SigningKey(ctx context.Context, keyID string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

// Destroy erases a key, a data key or a signing one, and leaves a tombstone. When it returns, the tombstone is durable
// and no file of the vault holds the wrapped key any more. It can be repeated.
func (v *Vault) Destroy(ctx context.Context, keyID string) error { return errors.ErrUnsupported }

// Erasures counts the keys destroyed since Open: whoever caches opened content drops it when the count has changed.
func (v *Vault) Erasures() uint64 { return 0 }

// LoadMasterKey reads the master key from a file that only its owner can read; where there is none, and create is set,
// it makes one first and says so.
func LoadMasterKey(path string, create bool) (key domain.Secret, created bool, err error) {
	return domain.Secret{}, false, errors.ErrUnsupported
}
