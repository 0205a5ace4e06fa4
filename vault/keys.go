package vault

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// Prefixes of key ids.
const (
	PrefixDataKey    = "dk_"
	PrefixSigningKey = "sk_"
)

// What stands in the Pebble: under "i" and the scope's HMAC the id of its key; under "k" and a key's id a kind, then
// what that kind has. A wrapped key is a nonce and a ciphertext; what stands before it, and the key's id, are its
// associated data, so that an entry moved to another id does not open.
const (
	kindData      = 'd' // the scope's HMAC, the wrapped key
	kindSigning   = 's' // the length of the tenant's name in a byte, the name, the wrapped key
	kindSecret    = 'c' // the length of the tenant's name in a byte, the name, the secret's length in two, the secret
	kindTombstone = 'x' // the unix seconds of the destruction in 8 bytes
)

const (
	nonceSize   = 12
	tagSize     = 16
	wrappedSize = nonceSize + keySize + tagSize
	macSize     = 32
)

func indexEntry(mac [macSize]byte) []byte { return append([]byte{'i'}, mac[:]...) }
func keyEntry(keyID string) []byte        { return append([]byte{'k'}, keyID...) }

// wrap appends a key, wrapped, to what stands before it.
func (v *Vault) wrap(head, key []byte, keyID string) []byte {
	n := len(head)
	ad := append(append(make([]byte, 0, n+len(keyID)), head...), keyID...)
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return v.keys.wrap.Seal(append(head, nonce[:]...), nonce[:], key, ad)
}

// unwrap opens the key at the end of an entry.
func (v *Vault) unwrap(entry []byte, keyID string) ([]byte, error) {
	n := len(entry) - wrappedSize
	if n < 1 {
		return nil, fmt.Errorf("the entry of %s is too short: %w", keyID, ErrTampered)
	}
	ad := append(append(make([]byte, 0, n+len(keyID)), entry[:n]...), keyID...)
	key, err := v.keys.wrap.Open(nil, entry[n:n+nonceSize], entry[n+nonceSize:], ad)
	if err != nil {
		return nil, fmt.Errorf("the entry of %s: %w", keyID, ErrTampered)
	}
	return key, nil
}

// DataKey gives the id of the scope's key, and makes the key if there is none; it is durable on return. Concurrent
// calls for one scope get one key. After Destroy a scope gets a new one.
func (v *Vault) DataKey(ctx context.Context, s Scope) (string, error) {
	k := s.key()
	if id, ok := v.scopes.get(k); ok {
		return id, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	mac := v.keys.scope(k)
	id, err, _ := v.making.Do(string(mac[:]), func() (any, error) { return v.findOrMake(k, mac) })
	if err != nil {
		return "", fmt.Errorf("data key: %w", err)
	}
	return id.(string), nil
}

func (v *Vault) findOrMake(k scopeKey, mac [macSize]byte) (string, error) {
	if err := v.enter(); err != nil {
		return "", err
	}
	defer v.leave()
	still := v.sinceNow()
	raw, found, err := v.get(indexEntry(mac))
	if err != nil {
		return "", err
	}
	id := string(raw)
	if !found {
		key := make([]byte, keySize)
		_, _ = rand.Read(key) // never fails
		id = domain.NewID(PrefixDataKey, newULID())
		b := v.db.NewBatch()
		entry := v.wrap(append([]byte{kindData}, mac[:]...), key, id)
		err := errors.Join(b.Set(keyEntry(id), entry, nil), b.Set(indexEntry(mac), []byte(id), nil))
		if err == nil {
			err = b.Commit(pebble.Sync)
		}
		if err := errors.Join(err, b.Close()); err != nil {
			return "", err
		}
		v.data.add(id, newDataKey(key), still)
	}
	v.scopes.add(k, id, still)
	return id, nil
}

// dataKey gives an unwrapped data key.
func (v *Vault) dataKey(keyID string) (*dataKey, error) {
	if k, ok := v.data.get(keyID); ok {
		return k, nil
	}
	still := v.sinceNow()
	raw, err := v.load(keyID, kindData)
	if err != nil {
		return nil, err
	}
	k := newDataKey(raw)
	v.data.add(keyID, k, still)
	return k, nil
}

// load reads and unwraps a key.
func (v *Vault) load(keyID string, kind byte) ([]byte, error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	entry, err := v.entry(keyID, kind)
	if err != nil {
		return nil, err
	}
	return v.unwrap(entry, keyID)
}

// entry reads an entry that must be of the kind; the caller has entered.
func (v *Vault) entry(keyID string, kinds ...byte) ([]byte, error) {
	entry, found, err := v.get(keyEntry(keyID))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", keyID, err)
	case !found || len(entry) == 0:
		return nil, fmt.Errorf("%s: %w", keyID, ErrUnknownKey)
	case entry[0] == kindTombstone:
		return nil, fmt.Errorf("%s: %w", keyID, ErrErased)
	case !slices.Contains(kinds, entry[0]):
		return nil, fmt.Errorf("%s is a key of another kind: %w", keyID, ErrUnknownKey)
	}
	return entry, nil
}

// get reads one entry; the caller has entered.
func (v *Vault) get(key []byte) (value []byte, found bool, err error) {
	raw, closer, err := v.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value = append(value, raw...)
	return value, true, closer.Close()
}

// sinceNow says, when asked later, that no key was destroyed meanwhile: what was read before may be cached then.
func (v *Vault) sinceNow() func() bool {
	n := v.erasures.Load()
	return func() bool { return v.erasures.Load() == n }
}

// Destroy erases a key, a data key or a signing one, and leaves a tombstone, which is durable when it returns. The
// files that hold the wrapped key are rewritten without it, and removed by the time that Close returns at the latest.
// It can be repeated. Errors: ErrUnknownKey.
func (v *Vault) Destroy(ctx context.Context, keyID string) error {
	v.destroying.Lock()
	defer v.destroying.Unlock()
	if err := v.enter(); err != nil {
		return err
	}
	defer v.leave()
	entry, found, err := v.get(keyEntry(keyID))
	if err != nil {
		return fmt.Errorf("destroy %s: %w", keyID, err)
	}
	if !found || len(entry) == 0 {
		return fmt.Errorf("destroy %s: %w", keyID, ErrUnknownKey)
	}
	if entry[0] != kindTombstone {
		if err := v.entomb(keyID, entry); err != nil {
			return fmt.Errorf("destroy %s: %w", keyID, err)
		}
	}
	// A tombstone that stands already may be one whose compaction failed: compact in any case.
	from := keyEntry(keyID)
	if err := v.db.Flush(); err != nil {
		return fmt.Errorf("destroy %s: flush: %w", keyID, err)
	}
	if err := v.db.Compact(ctx, from, append(from[:len(from):len(from)], 0), false); err != nil {
		return fmt.Errorf("destroy %s: the key is destroyed, its files are not rewritten yet; repeat: %w", keyID, err)
	}
	return nil
}

func (v *Vault) entomb(keyID string, entry []byte) error {
	b := v.db.NewBatch()
	tombstone := binary.BigEndian.AppendUint64([]byte{kindTombstone}, uint64(time.Now().Unix()))
	err := b.Set(keyEntry(keyID), tombstone, nil)
	if entry[0] == kindData && len(entry) > macSize {
		err = errors.Join(err, b.Delete(indexEntry([macSize]byte(entry[1:1+macSize])), nil))
	}
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err := errors.Join(err, b.Close()); err != nil {
		return err
	}
	v.erasures.Add(1) // before the caches are cleared: a reader that is late then does not fill them again
	v.scopes.purge()
	v.data.remove(keyID)
	v.signing.remove(keyID)
	return nil
}

func newULID() ulid.ULID {
	var u ulid.ULID
	_, _ = rand.Read(u[6:])   // never fails
	_ = u.SetTime(ulid.Now()) // fails in the year 10889
	return u
}
