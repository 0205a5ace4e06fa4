package projections

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What a mark says of the rows beside it.
const (
	markOpen    = "open"    // and the boot of the machine in which they were opened
	markClosed  = "closed"  // all is on the disk
	markDamaged = "damaged" // fold them anew
)

// mark is a small durable file beside the rows. SQLite runs without sync: after a loss of power, pages of it may be old
// or torn, in ways that no check of the file finds for certain. So the mark says whether the rows were closed, and if
// not, in which boot of the machine they were open: within the same boot the system's cache held what was written.
type mark struct{ path string }

// check says errDamaged where the rows at path can't be trusted.
func (m mark) check(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	raw, err := os.ReadFile(m.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the rows' state: %w", err)
	}
	state, boot, _ := strings.Cut(string(bytes.TrimSpace(raw)), " ")
	switch {
	case state == markClosed, state == markOpen && boot != "" && boot == bootID():
		return nil
	case state == markOpen:
		return fmt.Errorf("%w: the machine went down while they were open", errDamaged)
	case state == markDamaged:
		return fmt.Errorf("%w: SQLite found them damaged", errDamaged)
	}
	return fmt.Errorf("%w: nothing says how they were closed", errDamaged)
}

// set writes the mark; it is durable on return.
func (m mark) set(state string) error {
	if state == markOpen {
		state += " " + bootID()
	}
	if err := writeDurably(m.path, []byte(state+"\n")); err != nil {
		return fmt.Errorf("write the rows' state: %w", err)
	}
	return nil
}

func writeDurably(path string, b []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	if err := syncFile(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFile(filepath.Dir(path))
}

// bootID is the same from one start of the machine to the next; empty where the system does not say.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}
