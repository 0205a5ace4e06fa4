package vault

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

func TestASecretThatWasGivenIsKeptUntilItIsDestroyed(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	v := open(t, fs)
	refs := map[string]string{}
	for _, secret := range []string{`{"password":"hunter2"}`, "x", strings.Repeat("y", MaxSecret)} {
		ref, err := v.PutSecret(t.Context(), "acme", domain.NewSecret(secret))
		if err != nil {
			t.Fatal(err)
		}
		refs[ref.KeyID] = secret
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open(t, fs) // it reads every entry, and knows these
	var last string
	for id, want := range refs {
		if got, err := v.Secret(t.Context(), id); err != nil || got.Reveal() != want {
			t.Errorf("%d bytes: %v", len(want), err)
		}
		last = id
	}
	if _, err := v.SigningKey(t.Context(), last); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("as a signing key: %v", err)
	}
	if err := v.Destroy(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Secret(t.Context(), last); !errors.Is(err, ErrErased) {
		t.Errorf("destroyed: %v", err)
	}
	if _, err := v.Secret(t.Context(), "cr_none"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown: %v", err)
	}
	for _, secret := range []string{"", strings.Repeat("z", MaxSecret+1)} {
		if _, err := v.PutSecret(t.Context(), "acme", domain.NewSecret(secret)); err == nil {
			t.Errorf("%d bytes were taken", len(secret))
		}
	}
}

// TestADamagedSecretIsSaidToBe: an entry that was changed or moved to another id does not open.
func TestADamagedSecretIsSaidToBe(t *testing.T) {
	t.Parallel()
	v := open(t, vfs.NewMem())
	ref, err := v.PutSecret(t.Context(), "acme", domain.NewSecret("secret"))
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := v.get(keyEntry(ref.KeyID))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		if err := v.db.Set(keyEntry(ref.KeyID), bad, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Secret(t.Context(), ref.KeyID); err == nil {
			t.Errorf("byte %d was changed", i)
		}
	}
	if err := v.db.Set(keyEntry("cr_other"), good, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Secret(t.Context(), "cr_other"); !errors.Is(err, ErrTampered) {
		t.Errorf("moved: %v", err)
	}
}
