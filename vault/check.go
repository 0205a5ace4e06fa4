package vault

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

// Exists says whether there is a vault in dir. It changes nothing. fs nil: the disk.
func Exists(dir string, fs vfs.FS) (bool, error) {
	if fs == nil {
		fs = vfs.Default
	}
	c, err := readCard(fs, fs.PathJoin(dir, cardName))
	return c != nil, err
}

// Check refuses a master key that does not open the vault in dir, with a *domain.Error that names the fix, and so a
// vault of a newer format or one whose card can't be read. Where there is no vault, only the key's form is checked. It
// changes nothing, and may be called while another process holds the vault. fs nil: the disk.
func Check(dir string, fs vfs.FS, master domain.Secret) error {
	keys, err := parseMaster(master)
	if err != nil {
		return err
	}
	if fs == nil {
		fs = vfs.Default
	}
	c, err := readCard(fs, fs.PathJoin(dir, cardName))
	if err != nil || c == nil {
		return err
	}
	return c.opens(dir, keys)
}
