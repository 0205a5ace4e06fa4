package vault

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"hookledger/domain"
)

// PrefixSecret begins the ids of secrets that were given to us.
const PrefixSecret = "cr_"

// MaxSecret bounds a secret that is kept, in bytes.
const MaxSecret = 16 << 10

// PutSecret keeps a secret that somebody gave us for use elsewhere, such as a login; it is durable on return. What it
// gives is for the ledger. It goes with Destroy.
func (v *Vault) PutSecret(ctx context.Context, tenant string, secret domain.Secret) (domain.VaultRef, error) {
	id := domain.NewID(PrefixSecret, newULID())
	if err := v.putSecret(ctx, tenant, id, secret); err != nil {
		return domain.VaultRef{}, fmt.Errorf("put secret: %w", err)
	}
	return domain.VaultRef{KeyID: id}, nil
}

func (v *Vault) putSecret(ctx context.Context, tenant, id string, secret domain.Secret) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	text := []byte(secret.Reveal())
	if len(tenant) > 255 || len(text) == 0 || len(text) > MaxSecret {
		return fmt.Errorf("a tenant's name of %d bytes, a secret of %d", len(tenant), len(text))
	}
	if err := v.enter(); err != nil {
		return err
	}
	defer v.leave()
	head := append([]byte{kindSecret, byte(len(tenant))}, tenant...)
	entry := binary.BigEndian.AppendUint16(head, uint16(len(text)))
	n := len(entry)
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails
	entry = v.keys.wrap.Seal(append(entry, nonce[:]...), nonce[:], text, append(entry[:n:n], id...))
	return v.db.Set(keyEntry(id), entry, pebble.Sync)
}

// Secret gives what PutSecret kept. Errors: ErrErased, ErrUnknownKey.
func (v *Vault) Secret(_ context.Context, keyID string) (domain.Secret, error) {
	if err := v.enter(); err != nil {
		return domain.Secret{}, err
	}
	defer v.leave()
	entry, err := v.entry(keyID, kindSecret)
	if err != nil {
		return domain.Secret{}, fmt.Errorf("secret: %w", err)
	}
	return v.openSecret(keyID, entry)
}

func (v *Vault) openSecret(keyID string, entry []byte) (domain.Secret, error) {
	if !wellFormed(keyEntry(keyID), entry) {
		return domain.Secret{}, fmt.Errorf("secret: the entry of %s: %w", keyID, ErrTampered)
	}
	n := 2 + int(entry[1]) + 2
	text, err := v.keys.wrap.Open(nil, entry[n:n+nonceSize], entry[n+nonceSize:], append(entry[:n:n], keyID...))
	if err != nil {
		return domain.Secret{}, fmt.Errorf("secret: the entry of %s: %w", keyID, ErrTampered)
	}
	return domain.NewSecret(string(text)), nil
}

// secretSize is the size of a well-formed entry of kindSecret, or 0.
func secretSize(entry []byte) int {
	n := 2 + int(entry[1])
	if len(entry) < n+2 {
		return 0
	}
	return n + 2 + nonceSize + int(binary.BigEndian.Uint16(entry[n:])) + tagSize
}
