package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

const keySize = 32 // of every key here, in bytes

// masterKeys are derived from the master key, each for one use; the master key itself is not kept.
type masterKeys struct {
	wrap   cipher.AEAD // wraps what the vault keeps
	index  [keySize]byte
	ledger [keySize]byte // proves that the master key is the one that the vault was made with
}

func parseMaster(master domain.Secret) (masterKeys, error) {
	var k masterKeys
	text := strings.TrimSpace(master.Reveal())
	raw, err := hex.DecodeString(text)
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	}
	if err != nil || len(raw) != keySize {
		return k, domain.Refuse(domain.KindInvalid, "invalid_master_key", "the master key is not one of 32 bytes",
			"give 64 hex digits or base64, such as openssl rand -base64 32 prints")
	}
	block, err := aes.NewCipher(derive(raw, "hookledger vault 1: wrap"))
	if err != nil {
		return k, err
	}
	if k.wrap, err = cipher.NewGCM(block); err != nil {
		return k, err
	}
	copy(k.index[:], derive(raw, "hookledger vault 1: index"))
	copy(k.ledger[:], derive(raw, "hookledger vault 1: ledger"))
	return k, nil
}

func derive(master []byte, use string) []byte {
	// The only error is a length over 8160 bytes.
	key, _ := hkdf.Key(sha256.New, master, nil, use, keySize)
	return key
}

// check is what the vault's card carries to know its master key by.
func (k *masterKeys) check(ledger string) string {
	mac := hmac.New(sha256.New, k.ledger[:])
	mac.Write([]byte(ledger))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (k *masterKeys) checks(check, ledger string) bool {
	return hmac.Equal([]byte(check), []byte(k.check(ledger)))
}

// scope gives the entry of a scope in the index: a subject is looked up by it, and never written.
func (k *masterKeys) scope(s scopeKey) [sha256.Size]byte {
	b := make([]byte, 0, 128)
	b = appendPart(b, s.tenant)
	b = appendPart(b, s.subject)
	b = appendPart(b, s.typ)
	b = append(b, byte(s.month>>24), byte(s.month>>16), byte(s.month>>8), byte(s.month))
	mac := hmac.New(sha256.New, k.index[:])
	mac.Write(b)
	return [sha256.Size]byte(mac.Sum(b[:0]))
}

// LoadMasterKey reads the master key from a file that only its owner can read; where there is none, and create is set,
// it makes one first, durably, and says so. Two processes that make it at once end up with one.
func LoadMasterKey(path string, create bool) (key domain.Secret, created bool, err error) {
	if create {
		if created, err = createMasterKey(path); err != nil {
			return domain.Secret{}, false, fmt.Errorf("make the master key: %w", err)
		}
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return domain.Secret{}, false, domain.Refuse(domain.KindNotFound, "master_key_missing",
			"there is no master key in "+path, "restore the file, or give the key as HOOKLEDGER_MASTER_KEY")
	}
	if err != nil {
		return domain.Secret{}, false, fmt.Errorf("read the master key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return domain.Secret{}, false, domain.Refuse(domain.KindForbidden, "master_key_exposed",
			fmt.Sprintf("others can read the master key in %s (mode %04o)", path, info.Mode().Perm()), "chmod 600 "+path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return domain.Secret{}, false, fmt.Errorf("read the master key: %w", err)
	}
	key = domain.NewSecret(strings.TrimSpace(string(raw)))
	if _, err := parseMaster(key); err != nil {
		return domain.Secret{}, false, fmt.Errorf("%s: %w", path, err)
	}
	return key, created, nil
}

// createMasterKey writes the file whole and then gives it its name, which fails if the name is taken: no crash leaves
// half a key, and no key is ever written over.
func createMasterKey(path string) (created bool, err error) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	dir := filepath.Dir(path)
	if err := makeDir(vfs.Default, dir); err != nil {
		return false, err
	}
	f, err := os.CreateTemp(dir, ".master-key-*") // O_EXCL, mode 0600
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(raw) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return false, nil // another process was first
	} else if err != nil {
		return false, err
	}
	return true, syncDir(vfs.Default, dir)
}
