package vault

import (
	"context"
	"crypto/rand"
	"fmt"

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

// SigningKey gives the bytes of a signing secret; the caller must not change them. Errors: ErrErased, ErrUnknownKey.
func (v *Vault) SigningKey(_ context.Context, keyID string) ([]byte, error) {
	if key, ok := v.signing.get(keyID); ok {
		return key, nil
	}
	still := v.sinceNow()
	key, err := v.load(keyID, kindSigning)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	v.signing.add(keyID, key, still)
	return key, nil
}
