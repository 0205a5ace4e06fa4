package vault

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookledger/domain"
)

// TestSemantics_DamagedKeysAreRefusedAtTheStart overwrites a page in each place of the table that holds the keys: the
// vault is refused with a fix, in one line, and nothing is changed.
func TestSemantics_DamagedKeysAreRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "vault"), Master: master, LedgerID: "led_1",
		Fatal: func(reason string) { t.Errorf("the process would have ended: %s", reason) }}
	v, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		mustKey(t, v, Scope{Tenant: "acme", Subject: fmt.Sprint("user-", i)})
	}
	_, _, signingErr := v.NewSigningSecret(t.Context(), "acme")
	destroyErr := v.Destroy(t.Context(), mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"}))
	if err := errors.Join(signingErr, destroyErr, v.db.Flush(), v.db.Compact(t.Context(), []byte{0}, []byte{255}, false),
		v.Close()); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(cfg.Dir, keysName, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, table := range tables {
		whole, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at+4096 < len(whole); at += 8192 {
			bad := bytes.Clone(whole)
			copy(bad[at:at+4096], bytes.Repeat([]byte{0xa5}, 4096))
			if err := os.WriteFile(table, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			before := filesIn(t, cfg.Dir)
			_, err := Open(cfg)
			if domain.Code(err) != "vault_damaged" || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s at %d: %v, want one line with the code vault_damaged", filepath.Base(table), at, err)
			}
			if !maps.Equal(before, filesIn(t, cfg.Dir)) {
				t.Errorf("%s at %d: the refusal has changed files", filepath.Base(table), at)
			}
		}
		if err := os.WriteFile(table, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v, err = Open(cfg)
	if err != nil {
		t.Fatalf("the whole vault: %v", err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnEntryOfUnknownFormIsRefused(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "vault"), Master: master, LedgerID: "led_1"}
	v, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	id := mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"})
	if err := errors.Join(v.db.Set(keyEntry(id), []byte("dshort"), nil), v.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); domain.Code(err) != "vault_damaged" {
		t.Errorf("%v, want code vault_damaged", err)
	}
}

func TestTheEndOfTheProcessIsOneLine(t *testing.T) {
	t.Parallel()
	var got string
	func() {
		defer func() { _ = recover() }()
		engineLog{fatal: func(reason string) { got = reason }}.Fatalf("%s\n%s", "crc32c mismatch", "a stack")
	}()
	if got != "crc32c mismatch" {
		t.Errorf("%q", got)
	}
}
