package vault

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

// TestASigningSecretThatWasGivenSignsAsItDidBefore: of any legal length and either scheme, after a restart, too.
func TestASigningSecretThatWasGivenSignsAsItDidBefore(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	v := open(t, fs)
	want := map[string][]byte{}
	for _, secret := range []string{
		"whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 24)),
		"whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{2}, 64)),
		base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{3}, 32)),
		domain.EncodePrivateKey(bytes.Repeat([]byte{4}, 32)).Reveal(),
		"whsk_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{5}, 32)),
	} {
		key, err := domain.ParseSigningKey(domain.NewSecret(secret))
		if err != nil {
			t.Fatal(err)
		}
		s, err := v.PutSigningSecret(t.Context(), "acme", domain.NewSecret(secret))
		if err != nil {
			t.Fatal(err)
		}
		if s.Scheme != key.Scheme || s.PublicKey != key.PublicKey() || !strings.HasPrefix(s.KeyID, PrefixSigningKey) {
			t.Errorf("%+v", s)
		}
		again, err := v.PutSigningSecret(t.Context(), "acme", domain.NewSecret(secret))
		if err != nil || again.Fingerprint != s.Fingerprint || again.KeyID == s.KeyID {
			t.Errorf("%v: again %+v, first %+v", err, again, s)
		}
		want[s.KeyID] = key.Bytes
	}
	pair, err := v.NewSigningPair(t.Context(), "acme")
	if err != nil || pair.Scheme != domain.SchemeV1a || !strings.HasPrefix(pair.PublicKey, "whpk_") {
		t.Fatalf("%v: %+v", err, pair)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open(t, fs)
	for id, key := range want {
		for range 2 { // from the files, then from memory
			if got, err := v.SigningKey(t.Context(), id); err != nil || !bytes.Equal(got, key) {
				t.Errorf("%s: %v", id, err)
			}
		}
		if err := v.Destroy(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := v.SigningKey(t.Context(), id); !errors.Is(err, ErrErased) {
			t.Errorf("destroyed: %v", err)
		}
	}
	private, err := v.SigningKey(t.Context(), pair.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	if got := (domain.Key{Scheme: pair.Scheme, Bytes: private}).PublicKey(); got != pair.PublicKey {
		t.Errorf("the pair's public key is %s, not %s", got, pair.PublicKey)
	}
	for _, secret := range []string{"", "whsec_", "whsk_x", pair.PublicKey} {
		if _, err := v.PutSigningSecret(t.Context(), "acme", domain.NewSecret(secret)); domain.Code(err) !=
			"invalid_signing_secret" {
			t.Errorf("%q: %v", secret, err)
		}
	}
}
