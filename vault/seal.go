package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// recordSalt is the salt of HKDF-Extract over a data key.
const recordSalt = "hookledger record 1"

// dataKey derives the key of each record: HKDF-SHA256 (RFC 5869) of the data key with recordSalt and, as info, the
// record's id. A data key's Extract is done once, and its HMAC kept, so that a record costs one short HMAC.
type dataKey struct {
	mu  sync.Mutex // guards all below
	mac hash.Hash  // keyed with HKDF-Extract's output
	in  [len(ulid.ULID{}) + 1]byte
	out [sha256.Size]byte
}

func newDataKey(key []byte) *dataKey {
	// The errors are those of hash functions and lengths that are not used here.
	prk, _ := hkdf.Extract(sha256.New, key, []byte(recordSalt))
	return &dataKey{mac: hmac.New(sha256.New, prk)}
}

// record gives the AEAD of one record.
func (k *dataKey) record(id ulid.ULID) (cipher.AEAD, error) {
	k.mu.Lock()
	// HKDF-Expand's first block: HMAC(prk, info | 0x01).
	copy(k.in[:], id[:])
	k.in[len(id)] = 1
	k.mac.Reset()
	k.mac.Write(k.in[:])
	k.mac.Sum(k.out[:0])
	block, err := aes.NewCipher(k.out[:])
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// places holds buffers for associated data.
var places = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// Seal encrypts plaintext for one place. Errors: ErrErased, ErrUnknownKey.
func (v *Vault) Seal(_ context.Context, keyID string, p Place, plaintext []byte) (*domain.Sealed, error) {
	k, err := v.dataKey(keyID)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := k.record(p.Record)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	out := make([]byte, nonceSize, nonceSize+len(plaintext)+tagSize)
	_, _ = rand.Read(out) // never fails
	ad := places.Get().(*[]byte)
	*ad = p.append((*ad)[:0])
	sealed := &domain.Sealed{KeyID: keyID, Nonce: out[:nonceSize:nonceSize],
		Ciphertext: aead.Seal(out[nonceSize:], out[:nonceSize], plaintext, *ad)}
	places.Put(ad)
	return sealed, nil
}

// Open decrypts what was sealed for this place. Errors: ErrErased, ErrUnknownKey, ErrTampered.
func (v *Vault) Open(_ context.Context, p Place, s *domain.Sealed) ([]byte, error) {
	if s.Empty() || len(s.Nonce) != nonceSize {
		return nil, fmt.Errorf("open: %w", ErrTampered)
	}
	k, err := v.dataKey(s.KeyID)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	aead, err := k.record(p.Record)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	ad := places.Get().(*[]byte)
	*ad = p.append((*ad)[:0])
	plaintext, err := aead.Open(nil, s.Nonce, s.Ciphertext, *ad)
	places.Put(ad)
	if err != nil {
		return nil, fmt.Errorf("open: %w", ErrTampered)
	}
	return plaintext, nil
}
