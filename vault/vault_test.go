package vault

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"hookledger/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	master = domain.NewSecret(strings.Repeat("0123456789abcdef", 4))
	other  = domain.NewSecret("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	march  = time.Date(2026, 3, 17, 8, 0, 0, 0, time.UTC)
	place  = Place{Tenant: "acme", Stream: domain.EventStream("acme", "evt_1"), Record: ulid.ULID{1, 2, 3},
		Type: "EventReceived"}
)

func open(t testing.TB, fs vfs.FS) *Vault {
	t.Helper()
	v, err := Open(Config{Dir: "/data/vault", Master: master, LedgerID: "led_1", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func mustKey(t testing.TB, v *Vault, s Scope) string {
	t.Helper()
	id, err := v.DataKey(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestSemantics_ASealedContentOpensOnlyAtItsPlace(t *testing.T) {
	t.Parallel()
	v := open(t, vfs.NewMem())
	id := mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"})
	sealed, err := v.Seal(t.Context(), id, place, []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Open(t.Context(), place, sealed); err != nil || string(got) != "content" {
		t.Fatalf("at its place: %q, %v", got, err)
	}
	for name, move := range map[string]func(*Place, *domain.Sealed){
		"tenant":     func(p *Place, _ *domain.Sealed) { p.Tenant = "emca" },
		"stream":     func(p *Place, _ *domain.Sealed) { p.Stream += "0" },
		"record":     func(p *Place, _ *domain.Sealed) { p.Record[15]++ },
		"type":       func(p *Place, _ *domain.Sealed) { p.Type = "EventRouted" },
		"nonce":      func(_ *Place, s *domain.Sealed) { s.Nonce[0] ^= 1 },
		"short":      func(_ *Place, s *domain.Sealed) { s.Nonce = s.Nonce[:4] },
		"ciphertext": func(_ *Place, s *domain.Sealed) { s.Ciphertext[0] ^= 1 },
		"cut":        func(_ *Place, s *domain.Sealed) { s.Ciphertext = s.Ciphertext[:3] },
	} {
		p, s := place, domain.Sealed{KeyID: sealed.KeyID, Nonce: bytes.Clone(sealed.Nonce),
			Ciphertext: bytes.Clone(sealed.Ciphertext)}
		move(&p, &s)
		if _, err := v.Open(t.Context(), p, &s); !errors.Is(err, ErrTampered) {
			t.Errorf("%s changed: %v, want ErrTampered", name, err)
		}
	}
	for _, s := range []*domain.Sealed{nil, {}} {
		if _, err := v.Open(t.Context(), place, s); !errors.Is(err, ErrTampered) {
			t.Errorf("nothing sealed: %v", err)
		}
	}
}

func TestSemantics_RecordsAreSealedUnderHKDFOfTheDataKey(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{7}, keySize)
	k := newDataKey(key)
	for i := range 3 {
		id := ulid.ULID{byte(i)}
		want, err := hkdf.Key(sha256.New, key, []byte(recordSalt), string(id[:]), keySize)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.record(id); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(k.out[:], want) {
			t.Fatalf("record %d: the derived key is not HKDF's", i)
		}
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	v := open(t, vfs.NewMem())
	ids := map[string]string{}
	for name, s := range map[string]Scope{
		"subject":           {Tenant: "acme", Subject: "user-1"},
		"another subject":   {Tenant: "acme", Subject: "user-2"},
		"another tenant":    {Tenant: "emca", Subject: "user-1"},
		"month":             {Tenant: "acme", Type: "a.b", At: march},
		"another month":     {Tenant: "acme", Type: "a.b", At: march.AddDate(0, 1, 0)},
		"another year":      {Tenant: "acme", Type: "a.b", At: march.AddDate(1, 0, 0)},
		"another type":      {Tenant: "acme", Type: "a.c", At: march},
		"a type as subject": {Tenant: "acme", Subject: "a.b"},
	} {
		id := mustKey(t, v, s)
		if was, ok := ids[id]; ok {
			t.Errorf("%q and %q share a key", name, was)
		}
		ids[id] = name
	}
	if a, b := mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1", Type: "a", At: march}),
		mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1", Type: "b"}); a != b {
		t.Error("a subject has a key for each type or month")
	}
	zone := time.FixedZone("", 12*3600)
	if a, b := mustKey(t, v, Scope{Tenant: "acme", Type: "a.b", At: time.Date(2026, 3, 31, 23, 0, 0, 0, time.UTC)}),
		mustKey(t, v, Scope{Tenant: "acme", Type: "a.b", At: time.Date(2026, 4, 1, 11, 0, 0, 0, zone)}); a != b {
		t.Error("the month is not UTC's")
	}
}

func TestConcurrentDataKeyGivesOneKey(t *testing.T) {
	t.Parallel()
	v := open(t, vfs.NewMem())
	const posters, scopes = 64, 8
	got := make([][scopes]string, posters)
	var wg sync.WaitGroup
	for i := range posters {
		wg.Go(func() {
			for j := range scopes {
				id, err := v.DataKey(t.Context(), Scope{Tenant: "acme", Subject: fmt.Sprint("user-", j)})
				if err != nil {
					t.Error(err)
				}
				got[i][j] = id
			}
		})
	}
	wg.Wait()
	for i := range got {
		if got[i] != got[0] {
			t.Fatalf("poster %d got other keys than poster 0", i)
		}
	}
}

func TestKeysSurviveReopening(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	v := open(t, mem)
	scope := Scope{Tenant: "acme", Subject: "user-1"}
	id := mustKey(t, v, scope)
	sealed, err := v.Seal(t.Context(), id, place, []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	signing, secret, err := v.NewSigningSecret(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Close(), v.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := v.DataKey(t.Context(), Scope{Tenant: "acme", Subject: "new"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}

	v = open(t, mem)
	if again := mustKey(t, v, scope); again != id {
		t.Errorf("the scope has key %s, had %s", again, id)
	}
	if got, err := v.Open(t.Context(), place, sealed); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	want, err := domain.SigningKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // from the files, then from memory
		if got, err := v.SigningKey(t.Context(), signing.KeyID); err != nil || !bytes.Equal(got, want) {
			t.Errorf("signing key: %v", err)
		}
	}
	if signing.Fingerprint != secret.Fingerprint() || signing.Scheme != domain.SchemeV1 {
		t.Errorf("signing %+v", signing)
	}
	if _, err := v.SigningKey(t.Context(), id); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a data key as signing key: %v", err)
	}
}

func TestSemantics_ADestroyedKeyLeavesATombstone(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	v := open(t, mem)
	scope := Scope{Tenant: "acme", Subject: "user-1"}
	id := mustKey(t, v, scope)
	sealed, err := v.Seal(t.Context(), id, place, []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	signing, _, err := v.NewSigningSecret(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.SigningKey(t.Context(), signing.KeyID); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Destroy(t.Context(), id), v.Destroy(t.Context(), id),
		v.Destroy(t.Context(), signing.KeyID)); err != nil {
		t.Fatal(err)
	}
	if v.Erasures() != 2 {
		t.Errorf("%d erasures", v.Erasures())
	}
	check := func(v *Vault) {
		t.Helper()
		if _, err := v.Open(t.Context(), place, sealed); !errors.Is(err, ErrErased) {
			t.Errorf("open: %v", err)
		}
		if _, err := v.Seal(t.Context(), id, place, nil); !errors.Is(err, ErrErased) {
			t.Errorf("seal: %v", err)
		}
		if _, err := v.SigningKey(t.Context(), signing.KeyID); !errors.Is(err, ErrErased) {
			t.Errorf("signing key: %v", err)
		}
		unknown := domain.Sealed{KeyID: "dk_unknown", Nonce: sealed.Nonce, Ciphertext: sealed.Ciphertext}
		if _, err := v.Open(t.Context(), place, &unknown); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("unknown key: %v", err)
		}
		if err := v.Destroy(t.Context(), "dk_unknown"); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("destroy of an unknown key: %v", err)
		}
	}
	check(v)
	again := mustKey(t, v, scope)
	if again == id {
		t.Error("the scope still has the destroyed key")
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open(t, mem)
	check(v)
	if got := mustKey(t, v, scope); got != again {
		t.Errorf("the scope has %s, had %s", got, again)
	}
}

// The disk is searched for the wrapped bytes, so this test needs one.
func TestADestroyedKeyIsGoneFromTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{Dir: filepath.Join(dir, "vault"), Master: master, LedgerID: "led_1"}
	v, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	doomed := mustKey(t, v, Scope{Tenant: "acme", Subject: "the-subject-in-the-clear"})
	kept := mustKey(t, v, Scope{Tenant: "acme", Subject: "user-2"})
	wrapped := func(id string) []byte {
		entry, found, err := v.get(keyEntry(id))
		if err != nil || !found {
			t.Fatal(found, err)
		}
		return entry[len(entry)-wrappedSize:]
	}
	gone, stays := wrapped(doomed), wrapped(kept)
	if !onDisk(t, dir, gone) || !onDisk(t, dir, stays) {
		t.Fatal("a wrapped key is not where this test looks for it")
	}
	if err := errors.Join(v.db.Flush(), v.Destroy(t.Context(), doomed), v.Close()); err != nil {
		t.Fatal(err)
	}
	if onDisk(t, dir, gone) {
		t.Error("the destroyed key's wrapped bytes are still on the disk")
	}
	if !onDisk(t, dir, stays) {
		t.Error("another key went with it")
	}
	for _, secret := range []string{"the-subject-in-the-clear", master.Reveal()} {
		if onDisk(t, dir, []byte(secret)) {
			t.Errorf("a secret of %d bytes stands in the clear on the disk", len(secret))
		}
	}
}

func onDisk(t *testing.T, dir string, what []byte) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		found = found || bytes.Contains(raw, what)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
