package vault

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"hookledger/domain"
)

// NewSigningSecret makes a signing secret of 32 random bytes, durable on return. The secret is for the one answer that
// shows it; the Signing is for the ledger.
func (v *Vault) NewSigningSecret(ctx context.Context, tenant string) (domain.Signing, domain.Secret, error) {
	if err := ctx.Err(); err != nil {
		return domain.Signing{}, domain.Secret{}, err
	}
	if err := v.enter(); err != nil {
		return domain.Signing{}, domain.Secret{}, err
	}
	defer v.leave()
	if len(tenant) > 255 {
		return domain.Signing{}, domain.Secret{}, fmt.Errorf("signing secret: a tenant's name of %d bytes", len(tenant))
	}
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	id := domain.NewID(PrefixSigningKey, newULID())
	head := append([]byte{kindSigning, byte(len(tenant))}, tenant...)
	if err := v.db.Set(keyEntry(id), v.wrap(head, key, id), pebble.Sync); err != nil {
		return domain.Signing{}, domain.Secret{}, fmt.Errorf("signing secret: %w", err)
	}
	secret := domain.EncodeSigningSecret(key)
	return domain.Signing{Scheme: domain.SchemeV1, KeyID: id, Fingerprint: secret.Fingerprint()}, secret, nil
}

// NewSigningPair makes an ed25519 key, durable on return. The Signing, with the public key in it, is for the ledger;
// the private key leaves the vault for signing only.
func (v *Vault) NewSigningPair(ctx context.Context, tenant string) (domain.Signing, error) {
	seed := make([]byte, keySize)
	_, _ = rand.Read(seed) // never fails
	return v.PutSigningSecret(ctx, tenant, domain.EncodePrivateKey(seed))
}

// PutSigningSecret keeps a signing secret or private key that somebody uses already; it is durable on return. What is
// no such thing is refused with a *domain.Error.
func (v *Vault) PutSigningSecret(ctx context.Context, tenant string, secret domain.Secret) (domain.Signing, error) {
	key, err := domain.ParseSigningKey(secret)
	if err != nil {
		return domain.Signing{}, err
	}
	secret = key.Secret()
	id := domain.NewID(PrefixSigningKey, newULID())
	if err := v.putSecret(ctx, tenant, id, secret); err != nil {
		return domain.Signing{}, fmt.Errorf("signing secret: %w", err)
	}
	return domain.Signing{Scheme: key.Scheme, KeyID: id, Fingerprint: secret.Fingerprint(),
		PublicKey: key.PublicKey()}, nil
}

// SigningKey gives the bytes of a signing secret, or an ed25519 private key of 64 bytes; the caller must not change
// them. Errors: ErrErased, ErrUnknownKey.
func (v *Vault) SigningKey(_ context.Context, keyID string) ([]byte, error) {
	if key, ok := v.signing.get(keyID); ok {
		return key, nil
	}
	still := v.sinceNow()
	key, err := v.loadSigning(keyID)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	v.signing.add(keyID, key, still)
	return key, nil
}

// loadSigning reads a signing key: one that was made here is wrapped like a data key, one that was given, or is longer,
// like any other secret.
func (v *Vault) loadSigning(keyID string) ([]byte, error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	kinds := []byte{kindSigning}
	if strings.HasPrefix(keyID, PrefixSigningKey) {
		kinds = append(kinds, kindSecret)
	}
	entry, err := v.entry(keyID, kinds...)
	if err != nil {
		return nil, err
	}
	if entry[0] == kindSigning {
		return v.unwrap(entry, keyID)
	}
	secret, err := v.openSecret(keyID, entry)
	if err != nil {
		return nil, err
	}
	key, err := domain.ParseSigningKey(secret)
	return key.Bytes, err
}
