package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/httpapi"
	"hookledger/ledger"
	"hookledger/vault"
)

// What stands in the data directory; the files hold secrets.
const (
	ledgerDir      = "ledger"
	vaultDir       = "vault"
	projectionsDir = "projections"
	masterKeyFile  = "master.key"
	adminKeyFile   = "admin.key"
)

// serverSecrets are what the server starts with; admin is empty where the first start has to make it.
type serverSecrets struct{ master, admin domain.Secret }

// secrets finds the keys, and refuses those that don't fit what is there before anything else is touched. The master
// key is made at the first start, before the ledger; a ledger or a vault that is there was sealed under one that must
// be there too: another one would lock its content up for good.
func (s *server) secrets(cfg serverConfig, ledger held) (out serverSecrets, err error) {
	if err := fits(cfg.DataDir, cfg.Store, ledger); err != nil {
		return out, err
	}
	if out.admin, err = givenAdminKey(cfg); err != nil {
		return out, err
	}
	vaultPath := filepath.Join(cfg.DataDir, vaultDir)
	if out.master = cfg.MasterKey; out.master.Empty() {
		hasVault, err := vault.Exists(vaultPath, nil)
		if err != nil {
			return out, err
		}
		path := filepath.Join(cfg.DataDir, masterKeyFile)
		key, created, err := vault.LoadMasterKey(path, !hasVault && ledger != heldRecords)
		if err != nil {
			return out, err
		}
		if created {
			s.log.Warn("made a master key: without it the content of this ledger can't be read; keep a copy elsewhere",
				"file", path)
		}
		out.master = key
	}
	return out, vault.Check(vaultPath, nil, out.master)
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// openLedger opens the store and the vault, and begins the ledger where there is none. A store in the data directory is
// opened once all that is there fits, because that changes it; one elsewhere is asked first what it holds.
func (s *server) openLedger(ctx context.Context, cfg serverConfig) (keys *vault.Vault, secrets serverSecrets,
	err error) {
	open := func() error {
		store, err := openStore(ctx, cfg.DataDir, cfg.Store)
		if err != nil {
			return err
		}
		s.store = store
		s.closer.add(store.Close)
		return nil
	}
	// Also what else is said of half a ledger leads nowhere.
	if err := refuseHalf(cfg.DataDir, cfg.Store.Kind); err != nil {
		return nil, secrets, err
	}
	if cfg.Store.remote() {
		if err := open(); err != nil {
			return nil, secrets, err
		}
	}
	ledgerHolds, err := holds(ctx, cfg.DataDir, s.store)
	if err != nil {
		return nil, secrets, err
	}
	if secrets, err = s.secrets(cfg, ledgerHolds); err != nil {
		return nil, secrets, err
	}
	if s.store == nil {
		if err := open(); err != nil {
			return nil, secrets, err
		}
	}
	if s.LedgerID, err = ledger.Found(ctx, s.store, newID(), now()); err != nil {
		return nil, secrets, err
	}
	keys, err = s.openVault(ctx, secrets.master)
	return keys, secrets, err
}

func (s *server) openVault(ctx context.Context, master domain.Secret) (*vault.Vault, error) {
	ledgerHolds, err := begun(ctx, s.store)
	if err != nil {
		return nil, err
	}
	v, err := vault.Open(vault.Config{Dir: filepath.Join(s.DataDir, vaultDir), Master: master, LedgerID: s.LedgerID,
		MustExist: ledgerHolds == heldRecords, Logger: s.log})
	if err != nil {
		return nil, err
	}
	s.closer.add(v.Close)
	return v, nil
}

// bootstrap makes what every ledger has: the tenant "default" and a platform key of role admin.
func (s *server) bootstrap(ctx context.Context) error {
	stamp := func() domain.Stamp { return domain.Stamp{At: now(), Base: newID(), Actor: domain.System("serve")} }
	stream := domain.TenantStream(domain.DefaultTenant)
	_, done, err := ledger.Execute(ctx, s.store, stream, func() *domain.Tenant { return &domain.Tenant{} },
		func(t *domain.Tenant) ([]domain.Record, error) {
			if t.Exists() {
				return nil, nil
			}
			facts, err := t.Register(domain.DefaultTenant, domain.TenantSettings{})
			st := stamp()
			return st.Records(stream, domain.DefaultTenant, "", ulid.Zero, facts...), err
		})
	if err != nil {
		return fmt.Errorf("register the tenant %q: %w", domain.DefaultTenant, err)
	}
	keyDone, err := s.issueAdminKey(ctx, stamp)
	if err != nil {
		return fmt.Errorf("issue the admin key: %w", err)
	}
	return s.proj.Directory().WaitFor(ctx, max(done.Position, keyDone.Position))
}

// issueAdminKey puts the admin key's hash on the ledger. Its id derives from the hash, so that every start names the
// same.
func (s *server) issueAdminKey(ctx context.Context, stamp func() domain.Stamp) (ledger.Appended, error) {
	prefix, hash := httpapi.DescribeKey(s.AdminKey)
	id := domain.NewID(domain.PrefixKey, domain.DerivedID(time.UnixMilli(0), "admin key", string(hash)))
	stream := domain.KeyStream(domain.AnyTenant, id)
	_, done, err := ledger.Execute(ctx, s.store, stream, func() *domain.APIKey { return &domain.APIKey{} },
		func(k *domain.APIKey) ([]domain.Record, error) {
			if !k.RevokedAt.IsZero() {
				return nil, fmt.Errorf("it was revoked: remove %s and start again to get a new one",
					filepath.Join(s.DataDir, adminKeyFile))
			}
			if k.ID != "" {
				return nil, nil
			}
			st := stamp()
			facts, err := k.Issue(domain.KeyIssued{Name: "admin", Prefix: prefix, Hash: hash,
				Role: domain.RoleAdmin}, st.At)
			return st.Records(stream, domain.AnyTenant, "", ulid.Zero, facts...), err
		})
	return done, err
}

// givenAdminKey is the configured key, or the one in the data directory; empty where there is none yet.
func givenAdminKey(cfg serverConfig) (domain.Secret, error) {
	if !cfg.AdminKey.Empty() {
		if len(cfg.AdminKey.Reveal()) < 32 {
			return domain.Secret{}, errors.New("the admin key is shorter than 32 characters: give hl_ and 256 random bits in base64url")
		}
		return cfg.AdminKey, nil
	}
	path := filepath.Join(cfg.DataDir, adminKeyFile)
	raw, err := os.ReadFile(path)
	if err == nil {
		key := strings.TrimSpace(string(raw))
		if len(key) < 32 {
			return domain.Secret{}, fmt.Errorf("%s holds no API key: remove the file and start again to get a new one", path)
		}
		return domain.NewSecret(key), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return domain.Secret{}, fmt.Errorf("read the admin key: %w", err)
	}
	return domain.Secret{}, nil
}

// adminKey is the one that was given, or a new one. The ledger is open and locked by then: no other process makes one.
func (k *serverSecrets) adminKey(dataDir string) (domain.Secret, error) {
	if !k.admin.Empty() {
		return k.admin, nil
	}
	key, _, _ := httpapi.NewKey()
	if err := writeSecret(filepath.Join(dataDir, adminKeyFile), key); err != nil {
		return domain.Secret{}, fmt.Errorf("write the admin key: %w", err)
	}
	return key, nil
}

// writeSecret makes a file that only this user can read. It is there whole or not at all, also after a crash.
func writeSecret(path string, secret domain.Secret) error {
	return writeWhole(path, []byte(secret.Reveal()+"\n"))
}

// writeWhole makes or replaces a file, durably.
func writeWhole(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
