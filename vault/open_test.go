package vault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

func TestSemantics_AWrongMasterKeyOrAnotherLedgersVaultIsRefused(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	v := open(t, mem)
	mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"})
	good := Config{Dir: "/data/vault", Master: master, LedgerID: "led_1", FS: mem}
	for name, c := range map[string]struct {
		change func(*Config)
		code   string
	}{
		"in use":              {code: "vault_in_use"},
		"wrong master key":    {change: func(c *Config) { c.Master = other }, code: "wrong_master_key"},
		"another ledger":      {change: func(c *Config) { c.LedgerID = "led_2" }, code: "wrong_vault"},
		"no master key":       {change: func(c *Config) { c.Master = domain.NewSecret("short") }, code: "invalid_master_key"},
		"missing, must exist": {change: func(c *Config) { c.Dir, c.MustExist = "/none", true }, code: "vault_missing"},
		"wrong both":          {change: func(c *Config) { c.Master, c.LedgerID = other, "led_2" }, code: "wrong_master_key"},
		"a base64 master key": {change: func(c *Config) { c.Dir, c.Master = "/data/other", other }},
	} {
		cfg := good
		if c.change != nil {
			c.change(&cfg)
		}
		got, err := Open(cfg)
		if domain.Code(err) != c.code {
			t.Errorf("%s: %v, want code %q", name, err, c.code)
		}
		var refusal *domain.Error
		if errors.As(err, &refusal) && refusal.Fix == "" {
			t.Errorf("%s: no fix is named", name)
		}
		if err != nil && (strings.Contains(err.Error(), other.Reveal()) || strings.Contains(err.Error(), master.Reveal())) {
			t.Errorf("%s: the error quotes the master key", name)
		}
		if got != nil {
			if err := got.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	cfg := good
	cfg.Dir, cfg.Master, cfg.MustExist = "/data/other", other, true
	got, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Close(); err != nil {
		t.Error(err)
	}
}

func TestADamagedVaultIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(dir string) error
		code   string
	}{
		"no card":      {func(d string) error { return os.Remove(filepath.Join(d, cardName)) }, "vault_damaged"},
		"no keys":      {func(d string) error { return os.RemoveAll(filepath.Join(d, keysName)) }, "vault_damaged"},
		"cut card":     {func(d string) error { return os.Truncate(filepath.Join(d, cardName), 10) }, "vault_damaged"},
		"newer format": {func(d string) error { return setFormat(d, Format+1) }, "vault_newer_format"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Dir: filepath.Join(t.TempDir(), "vault"), Master: master, LedgerID: "led_1"}
			v, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			mustKey(t, v, Scope{Tenant: "acme", Subject: "user-1"})
			if err := errors.Join(v.Close(), c.damage(cfg.Dir)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(cfg); domain.Code(err) != c.code {
				t.Errorf("%v, want code %q", err, c.code)
			}
		})
	}
}

func setFormat(dir string, format int) error {
	path := filepath.Join(dir, cardName)
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	was, is := fmt.Sprintf(`"format":%d`, Format), fmt.Sprintf(`"format":%d`, format)
	return os.WriteFile(path, []byte(strings.Replace(string(raw), was, is, 1)), 0o600)
}

// A key whose id was given out is there after a crash at any later point, whatever unsynced data is lost.
func TestSemantics_AKeyIsDurableBeforeTheFirstRecordThatNeedsIt(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	mem := vfs.NewCrashableMem()
	v := open(t, mem)
	type given struct {
		scope  Scope
		id     string
		sealed *domain.Sealed
	}
	var mu sync.Mutex // guards all below
	var acked []given
	type crash struct {
		fs    *vfs.MemFS
		acked int
	}
	var crashes []crash
	rnd := rand.New(rand.NewPCG(seed, 1))

	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				s := Scope{Tenant: "acme", Subject: fmt.Sprintf("user-%d-%d", w, i)}
				id, err := v.DataKey(t.Context(), s)
				if err != nil {
					t.Error(err)
					return
				}
				sealed, err := v.Seal(t.Context(), id, place, []byte(s.Subject))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked = append(acked, given{s, id, sealed})
				if len(acked)%10 == 1 {
					n := len(acked)
					crashes = append(crashes, crash{mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101),
						RNG: rnd}), n})
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, c := range crashes {
		v, err := Open(Config{Dir: "/data/vault", Master: master, LedgerID: "led_1", FS: c.fs, MustExist: true})
		if err != nil {
			t.Fatalf("after a crash with %d keys given out: %v", c.acked, err)
		}
		for _, g := range acked[:c.acked] {
			if got, err := v.Open(t.Context(), place, g.sealed); err != nil || string(got) != g.scope.Subject {
				t.Fatalf("after a crash with %d keys given out, %s: %q, %v", c.acked, g.id, got, err)
			}
			if id := mustKey(t, v, g.scope); id != g.id {
				t.Fatalf("the scope of %s has %s", g.id, id)
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoadMasterKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "master.key")
	if _, _, err := LoadMasterKey(path, false); domain.Code(err) != "master_key_missing" {
		t.Errorf("no file: %v", err)
	}
	keys, made := make([]string, 8), make([]bool, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			key, created, err := LoadMasterKey(path, true)
			if err != nil {
				t.Error(err)
			}
			keys[i], made[i] = key.Reveal(), created
		})
	}
	wg.Wait()
	count := 0
	for i := range keys {
		if keys[i] != keys[0] {
			t.Error("two processes have two master keys")
		}
		if made[i] {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d say that they made it", count)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, %v", left, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadMasterKey(path, true); domain.Code(err) != "master_key_exposed" ||
		!strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by the group: %v", err)
	}
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadMasterKey(path, true); domain.Code(err) != "invalid_master_key" {
		t.Errorf("an empty file: %v", err)
	}
}
