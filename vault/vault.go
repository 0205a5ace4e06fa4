package vault

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/singleflight"

	"hookledger/domain"
)

// Errors that callers branch on.
var (
	// ErrErased: the key was destroyed, and what it sealed is gone for good.
	ErrErased = errors.New("vault: the key was destroyed")
	// ErrUnknownKey: this vault never held the key: it is another ledger's, or a part of it was lost.
	ErrUnknownKey = errors.New("vault: no such key")
	// ErrTampered: the ciphertext, or the place that it is bound to, is not what was sealed.
	ErrTampered = errors.New("vault: the sealed content does not open at this place")
	// ErrClosed: the vault was closed.
	ErrClosed = errors.New("vault: closed")
)

// Config of a vault. Dir, Master and LedgerID are needed.
type Config struct {
	Dir      string
	Master   domain.Secret // 32 bytes, as 64 hex digits or base64
	LedgerID string        // the ledger that the vault belongs to, for ever
	FS       vfs.FS        // nil: the disk
	Logger   *slog.Logger  // for what the storage engine reports; nil: nothing
	// MustExist refuses to make a new vault: set it where the ledger holds sealed content already.
	MustExist bool
	// Fatal is called when a write failed and nobody knows what the disk holds; it must end the process. nil: write
	// the reason to stderr and exit.
	Fatal func(reason string)
	// Compactions makes what says when a compaction may run; nil: Pebble's own, which looks every 100 ms.
	Compactions func() pebble.CompactionScheduler
}

// Bounds of what is kept in memory, in entries.
const (
	maxScopes = 1 << 15
	maxKeys   = 1 << 15
)

// Vault is safe for concurrent use.
type Vault struct {
	keys   masterKeys
	making singleflight.Group // by index entry: one key for a scope

	// open guards db: operations on it hold it for reading, Close for writing.
	open   sync.RWMutex
	db     *pebble.DB
	closed bool

	destroying sync.Mutex    // one Destroy at a time
	erasures   atomic.Uint64 // raised after a tombstone is durable, before the caches are cleared

	scopes  *cache[scopeKey, string]
	data    *cache[string, *dataKey]
	signing *cache[string, []byte]
}

// Open opens the vault in cfg.Dir, or makes one. It refuses, with a *domain.Error that names the fix, a wrong master
// key, another ledger's vault, one that another process holds, one of a newer format, and one that is damaged: it reads
// every entry first, which takes about 0.3 s for a million keys. It has changed nothing then.
func Open(cfg Config) (*Vault, error) {
	keys, err := parseMaster(cfg.Master)
	if err != nil {
		return nil, err
	}
	if cfg.LedgerID == "" {
		return nil, errors.New("open vault: the ledger's id is missing")
	}
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	db, err := openFiles(cfg, keys)
	if err != nil {
		return nil, err
	}
	return &Vault{keys: keys, db: db, scopes: newCache[scopeKey, string](maxScopes),
		data: newCache[string, *dataKey](maxKeys), signing: newCache[string, []byte](maxKeys)}, nil
}

// Close waits for writes under way. Calling it again is a no-op.
func (v *Vault) Close() error {
	v.open.Lock()
	defer v.open.Unlock()
	if v.closed {
		return nil
	}
	v.closed = true
	if err := v.db.Close(); err != nil {
		return fmt.Errorf("close vault: %w", err)
	}
	return nil
}

// Erasures counts the keys destroyed since Open: whoever keeps opened content drops it when the count has changed.
func (v *Vault) Erasures() uint64 { return v.erasures.Load() }

// enter makes sure that the vault stays open until leave is called.
func (v *Vault) enter() error {
	v.open.RLock()
	if v.closed {
		v.open.RUnlock()
		return ErrClosed
	}
	return nil
}

func (v *Vault) leave() { v.open.RUnlock() }

// Scope is what one data key covers: a subject of a tenant, or, for content without a subject, one tenant's type and
// month. It is the smallest thing that may have to be erased one day.
type Scope struct {
	Tenant  string
	Subject string
	Type    string    // where there is no subject
	At      time.Time // likewise: its month, in UTC
}

// scopeKey is a Scope without what does not count.
type scopeKey struct {
	tenant, subject, typ string
	month                int32 // years times 12, plus months; 0 with a subject
}

func (s Scope) key() scopeKey {
	if s.Subject != "" {
		return scopeKey{tenant: s.Tenant, subject: s.Subject}
	}
	year, month, _ := s.At.UTC().Date()
	return scopeKey{tenant: s.Tenant, typ: s.Type, month: int32(year*12 + int(month))}
}
