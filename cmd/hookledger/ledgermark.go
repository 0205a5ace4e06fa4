package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hookledger/domain"
)

// copyMarkFile stands in the target's data directory while a copy is under way: from before the first record, and the
// vault, until all was read back. Half a ledger looks like a whole one, and what a server adds to it ends the copy for
// good; so nobody works on it.
const copyMarkFile = "copy-under-way.json"

// copyMark says which copy is under way. It holds no secret.
type copyMark struct {
	Store    string    `json:"store"` // that the copy goes to: what stands in another is not meant
	LedgerID string    `json:"ledger_id"`
	Command  string    `json:"command"` // connection strings without user, password and settings
	BegunAt  time.Time `json:"begun_at"`
}

// command is the command line of the copy, as somebody would repeat it from any directory.
func (f *copyFlags) command(from, to *place) string {
	line := "hookledger ledger copy"
	for _, p := range []*place{from, to} {
		if !p.store.remote() {
			line += " " + p.flag + " " + absolute(p.home)
			continue
		}
		line += " " + p.flag + " " + p.String()
		if p.home != "" {
			line += " " + p.homeFlag() + " " + absolute(p.home)
		}
	}
	if f.ledgerOnly {
		line += " --ledger-only"
	}
	return line
}

func absolute(dir string) string {
	if full, err := filepath.Abs(dir); err == nil {
		return full
	}
	return dir
}

// mark keeps servers off the target for as long as the copy is not whole, also after a crash of this machine. Without a
// data directory there is nothing that a server could start with.
func (p *place) mark(m copyMark) error {
	if p.home == "" {
		return nil
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = writeWhole(filepath.Join(p.home, copyMarkFile), append(raw, '\n'))
	}
	if err != nil {
		return fmt.Errorf("mark the copy as under way: %w", err)
	}
	return nil
}

// unmark is for a copy that was read back whole.
func (p *place) unmark() error {
	if p.home == "" {
		return nil
	}
	if err := errors.Join(os.Remove(filepath.Join(p.home, copyMarkFile)), syncDir(p.home)); err != nil {
		return fmt.Errorf("the copy is whole, and its mark can't be removed: %w", err)
	}
	return nil
}

// refuseHalf refuses to work on what a copy has not finished.
func refuseHalf(dataDir, store string) error {
	if dataDir == "" {
		return nil
	}
	path := filepath.Join(dataDir, copyMarkFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the mark of a copy: %w", err)
	}
	var m copyMark
	if err := json.Unmarshal(raw, &m); err != nil {
		m = copyMark{Store: store, Command: "hookledger ledger copy, as it was begun"} // it is there: that must do
	}
	if store == "" {
		store = storeEmbedded
	}
	if m.Store != store {
		return nil
	}
	fix := "run it again, it goes on where it was: " + m.Command
	if store == storeEventstore {
		fix += " (with the connection string as it was). To go on with another ledger here, remove " + path
	}
	return domain.Refuse(domain.KindConflict, "copy_unfinished",
		"a copy of a ledger to "+dataDir+" was begun and has not ended: a part of the records is missing", fix)
}
