package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hookledger/domain"
	"hookledger/vault"
)

// homeMove takes to the target's data directory what opens the ledger's content: the vault, and the keys that stand in
// files. Nothing is ever written over, and it can be repeated.
type homeMove struct {
	from, to string
	ledgerID string
	master   domain.Secret
	files    []string // those that stand in from, and go
}

// newHomeMove finds what has to move, and refuses what can't open the content. nil: nothing has to.
func (a *app) newHomeMove(from, to, ledgerID string) (*homeMove, error) {
	two, err := apart(from, to)
	if err != nil || !two {
		return nil, err
	}
	m := &homeMove{from: from, to: to, ledgerID: ledgerID}
	if there, err := vault.Exists(filepath.Join(from, vaultDir), nil); err != nil || !there {
		return nil, errors.Join(err, domain.Refuse(domain.KindNotFound, "vault_missing", "there is no vault in "+from,
			"restore it from the backup that belongs to this ledger, or give --ledger-only to move it yourself"))
	}
	if m.master, err = a.secret("MASTER_KEY"); err != nil {
		return nil, err
	}
	names := []string{adminKeyFile}
	if m.master.Empty() {
		names = []string{masterKeyFile, adminKeyFile}
		if m.master, _, err = vault.LoadMasterKey(filepath.Join(from, masterKeyFile), false); err != nil {
			return nil, err
		}
	}
	if err := vault.Check(filepath.Join(from, vaultDir), nil, m.master); err != nil {
		return nil, err
	}
	for _, name := range names {
		there, err := exists(filepath.Join(from, name))
		if err != nil {
			return nil, err
		}
		if there {
			m.files = append(m.files, name)
		}
	}
	return m, nil
}

// check refuses what stands in the way. It writes nothing.
func (m *homeMove) check() error {
	for _, name := range m.files {
		if err := m.clash(name); err != nil {
			return err
		}
	}
	if there, err := exists(filepath.Join(m.to, vaultDir)); err != nil || !there {
		return err
	}
	_, err := m.copyVault() // compares, where there is one
	return err
}

func (m *homeMove) copyVault() (int, error) {
	return vault.Copy(vault.Config{Dir: filepath.Join(m.from, vaultDir), Master: m.master, LedgerID: m.ledgerID},
		filepath.Join(m.to, vaultDir))
}

// clash refuses a key file of the target that holds another key.
func (m *homeMove) clash(name string) error {
	there, err := os.ReadFile(filepath.Join(m.to, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s of the target: %w", name, err)
	}
	ours, err := os.ReadFile(filepath.Join(m.from, name))
	if err != nil {
		return fmt.Errorf("read %s of the source: %w", name, err)
	}
	if !bytes.Equal(bytes.TrimSpace(there), bytes.TrimSpace(ours)) {
		return domain.Refuse(domain.KindConflict, "key_differs",
			filepath.Join(m.to, name)+" is another key than the source's",
			"give a data directory of its own; nothing was written over")
	}
	return nil
}

// run moves it all: the vault's master key first, so that no vault stands there without it. It calls mark once nothing
// stands in the way, before it writes.
func (m *homeMove) run(mark func() error) (entries int, err error) {
	if err := m.check(); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(m.to, 0o700); err != nil {
		return 0, fmt.Errorf("make the target's data directory: %w", err)
	}
	if err := mark(); err != nil {
		return 0, err
	}
	for _, name := range m.files {
		if err := copyKeyFile(filepath.Join(m.from, name), filepath.Join(m.to, name)); err != nil {
			return 0, fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return m.copyVault()
}

// copyKeyFile copies a key to a file that only this user can read: whole or not at all, and never over another one.
// What is there already was compared.
func copyKeyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	aside := to + ".copy"
	if err := writeSecret(aside, domain.NewSecret(string(bytes.TrimSpace(raw)))); err != nil {
		return err
	}
	if err := os.Link(aside, to); err != nil && !errors.Is(err, fs.ErrExist) {
		return errors.Join(err, os.Remove(aside))
	}
	if err := os.Remove(aside); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}
