package vault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

// copyable makes a vault with a key, a signing secret and a tombstone, and closes it.
func copyable(t *testing.T, cfg Config) (keyID, erased string) {
	t.Helper()
	v, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	keyID = mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"})
	erased = mustKey(t, v, Scope{Tenant: "acme", Subject: "user-2"})
	if err := v.Destroy(t.Context(), erased); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return keyID, erased
}

func TestCopy_OpensTheSameContent(t *testing.T) {
	t.Parallel()
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cfg := Config{Dir: filepath.Join(dir, "a", "vault"), Master: master, LedgerID: "led_1", FS: fs}
			keyID, erased := copyable(t, cfg)
			to := filepath.Join(dir, "b", "vault")
			for range 2 { // the second finds it there
				if n, err := Copy(cfg, to); err != nil || n != 3 {
					t.Fatalf("%d entries: %v", n, err)
				}
			}
			target := cfg
			target.Dir, target.MustExist = to, true
			v, err := Open(target)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.dataKey(keyID); err != nil {
				t.Error(err)
			}
			if got := mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"}); got != keyID {
				t.Errorf("the copy gives a subject the key %s, not %s", got, keyID)
			}
			if _, err := v.dataKey(erased); !errors.Is(err, ErrErased) {
				t.Errorf("what was erased is %v in the copy", err)
			}
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCopy_ADestroyedKeyIsInNoFileOfTheCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{Dir: filepath.Join(dir, "a"), Master: master, LedgerID: "led_1"}
	v, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	id := mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"})
	wrapped, _, err := v.get(keyEntry(id))
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Destroy(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "b")
	if _, err := Copy(cfg, to); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if strings.Contains(string(raw), string(wrapped)) {
			t.Errorf("%s holds the destroyed key, wrapped", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the copy's mode is %v: %v", info.Mode(), err)
	}
}

func TestCopy_WritesNothingOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(t *testing.T, cfg Config, to string)
		code    string
	}{
		"another vault of the ledger": {func(t *testing.T, cfg Config, to string) {
			cfg.Dir = to
			copyable(t, cfg)
		}, "vault_differs"},
		"another ledger's": {func(t *testing.T, cfg Config, to string) {
			cfg.Dir, cfg.LedgerID = to, "led_2"
			copyable(t, cfg)
		}, "wrong_vault"},
		"another master key's": {func(t *testing.T, cfg Config, to string) {
			cfg.Dir, cfg.Master = to, other
			copyable(t, cfg)
		}, "wrong_master_key"},
		"something else": {func(t *testing.T, cfg Config, to string) {
			if err := errors.Join(os.MkdirAll(to, 0o700), os.WriteFile(filepath.Join(to, "note"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "vault_target_not_empty"},
		"what a crash left aside, which is written over": {func(t *testing.T, _ Config, to string) {
			if err := errors.Join(os.MkdirAll(filepath.Join(to+".new", keysName), 0o700),
				os.WriteFile(filepath.Join(to+".new", keysName, "MANIFEST-000001"), []byte("torn"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"an empty directory, which is taken": {func(t *testing.T, _ Config, to string) {
			if err := os.MkdirAll(to, 0o700); err != nil {
				t.Fatal(err)
			}
		}, ""},
		"a vault in use": {func(t *testing.T, cfg Config, _ string) {
			v, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := v.Close(); err != nil {
					t.Error(err)
				}
			})
		}, "vault_in_use"},
		"no vault": {func(t *testing.T, cfg Config, _ string) {
			if err := os.RemoveAll(cfg.Dir); err != nil {
				t.Fatal(err)
			}
		}, "vault_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cfg := Config{Dir: filepath.Join(dir, "a"), Master: master, LedgerID: "led_1"}
			copyable(t, cfg)
			to := filepath.Join(dir, "b")
			c.prepare(t, cfg, to)
			_, err := Copy(cfg, to)
			if domain.Code(err) != c.code {
				t.Fatalf("%v, want the code %q", err, c.code)
			}
			if err != nil && strings.Contains(err.Error(), master.Reveal()) {
				t.Error("the error quotes the master key")
			}
		})
	}
}
