package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// TextDir is the directory of the indexes of texts, in that of the rows: one file for each tenant.
const TextDir = "text-search"

const textSuffix = ".db"

// TextVault opens what events say; *vault.Vault does.
type TextVault interface {
	Open(ctx context.Context, p vault.Place, s *domain.Sealed) ([]byte, error)
	// Erasures counts destroyed keys since the vault was opened; Tombstones names all that ever were.
	Erasures() uint64
	Tombstones(ctx context.Context) ([]string, error)
}

var _ TextVault = (*vault.Vault)(nil)

// TextConfig is what a TextSearch needs.
type TextConfig struct {
	Dir       string // of the rows
	Store     ledger.Reader
	Directory *Directory // says which tenants want it
	Vault     TextVault
	Now       func() time.Time // nil: time.Now
	Logger    *slog.Logger     // nil: none
	Every     time.Duration    // how long records may gather; 0: 250 ms
	Slice     int              // records that are read at once; 0: 2,000
}

// TextSearch holds, for each tenant that wants it, an index of what its events say: plain text at rest, in a file of
// its own, which is deleted when the tenant wants it no more. It has a follower and checkpoints of its own, behind all
// others', so that it holds up nothing. It is what the ledger says to whoever has the keys that are not destroyed, and
// can be thrown away. All methods are safe for concurrent use.
type TextSearch struct {
	cfg   TextConfig
	dir   string
	hurry chan struct{}
	away  absence // used by the follower

	mu      sync.Mutex // guards all below
	indexes map[string]*textIndex
	turned  chan struct{} // closed at the end of each round
}

// textIndex is one tenant's.
type textIndex struct {
	*textFile
	tenant   string
	progress progress
	purged   uint64       // the vault's erasures that it has followed, plus one; 0: none yet. Guarded by TextSearch.mu
	using    sync.RWMutex // held to search; to close the file, for writing
	closed   bool         // guarded by using
	damaged  atomic.Bool  // SQLite found the file damaged: it is to be made anew
}

// broken notes what an error says of the file.
func (x *textIndex) broken(err error) error {
	if isDamage(err) {
		x.damaged.Store(true)
	}
	return err
}

// NewTextSearch makes one; it opens nothing before Run.
func NewTextSearch(cfg TextConfig) *TextSearch {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Every <= 0 {
		cfg.Every = 250 * time.Millisecond
	}
	if cfg.Slice <= 0 {
		cfg.Slice = 2000
	}
	return &TextSearch{cfg: cfg, dir: filepath.Join(cfg.Dir, TextDir), hurry: make(chan struct{}, 1),
		away: absence{name: "text-search", log: cfg.Logger}, indexes: map[string]*textIndex{}, turned: make(chan struct{})}
}

// DropTextSearch deletes all indexes in the directory of the rows, and says of which tenants. Nothing may have them
// open. They are made anew for the tenants that want them.
func DropTextSearch(dir string) ([]string, error) {
	tenants, err := textFiles(filepath.Join(dir, TextDir))
	for _, tenant := range tenants {
		err = errors.Join(err, removeTextFile(filepath.Join(dir, TextDir, tenant+textSuffix)))
	}
	return tenants, err
}

// textFiles names the tenants that have a file.
func textFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look for indexes of texts: %w", err)
	}
	var out []string
	for _, e := range entries {
		if tenant, ok := strings.CutSuffix(e.Name(), textSuffix); ok {
			out = append(out, tenant)
		}
	}
	return out, nil
}

// Run follows the ledger until ctx ends, whose error it returns, or the store is closed. What goes wrong with an index
// is repeated, or shown by Status; nothing else depends on it.
func (t *TextSearch) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, t.closeAll()) }()
	for {
		worked, err := t.round(ctx)
		pause := t.cfg.Every
		switch {
		case err == nil:
			t.away.back()
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ledger.ErrClosed):
			return err
		case t.away.wait(ctx, err):
		default:
			t.cfg.Logger.Warn("the index of texts repeats what failed", "error", err)
			pause = retryPause
		}
		t.turn()
		if worked && err == nil {
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-t.hurry:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// turn wakes those who wait for what a round did.
func (t *TextSearch) turn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.turned)
	t.turned = make(chan struct{})
}

// round brings the indexes on by a slice of the ledger, and says whether there was one: that of those which are ahead,
// and that of the one which is most behind, so that a tenant which comes later holds up no other.
func (t *TextSearch) round(ctx context.Context) (worked bool, err error) {
	indexes, err := t.sync(ctx)
	if err != nil || len(indexes) == 0 {
		return false, err
	}
	head := t.cfg.Store.Head()
	first, last := indexes[0].at.position, indexes[len(indexes)-1].at.position
	for _, from := range slices.Compact([]domain.Position{first, last}) {
		if from >= head {
			continue
		}
		var group []*textIndex
		for _, x := range indexes {
			if x.at.position == from {
				group = append(group, x)
			}
		}
		if err := t.advance(ctx, group, from, head); err != nil {
			return worked, err
		}
		worked = true
	}
	return worked, nil
}

// sync opens the indexes of the tenants that want one and deletes the others'; what is erased leaves them. It gives
// those that can go on, the one that is most behind first.
func (t *TextSearch) sync(ctx context.Context) ([]*textIndex, error) {
	wanted := map[string]bool{}
	for _, tenant := range t.cfg.Directory.Tenants() {
		if tenant.Settings.TextSearch {
			wanted[tenant.Name] = true
		}
	}
	if err := t.drop(wanted); err != nil {
		return nil, err
	}
	var out []*textIndex
	for tenant := range wanted {
		x, err := t.open(ctx, tenant)
		if err != nil {
			return nil, err
		}
		if x.progress.status("", 0, time.Time{}).Err == nil {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b *textIndex) int {
		if a.at.position != b.at.position {
			return int(min(max(int64(a.at.position)-int64(b.at.position), -1), 1))
		}
		return strings.Compare(a.tenant, b.tenant)
	})
	return out, t.purge(ctx, out)
}

// drop deletes the indexes that nobody wants any more.
func (t *TextSearch) drop(wanted map[string]bool) error {
	there, err := textFiles(t.dir)
	if err != nil {
		return err
	}
	for _, tenant := range there {
		if wanted[tenant] {
			continue
		}
		if err := t.close(tenant); err != nil {
			return err
		}
		if err := removeTextFile(filepath.Join(t.dir, tenant+textSuffix)); err != nil {
			return err
		}
		t.cfg.Logger.Info("the index of texts is deleted, for the tenant wants none", "tenant", tenant)
	}
	return nil
}

// open gives a tenant's index. One whose last record does not stand where it says is another ledger's, and made anew.
func (t *TextSearch) open(ctx context.Context, tenant string) (*textIndex, error) {
	t.mu.Lock()
	x := t.indexes[tenant]
	t.mu.Unlock()
	path := filepath.Join(t.dir, tenant+textSuffix)
	switch {
	case x != nil && !x.damaged.Load():
		return x, nil
	case x != nil:
		t.cfg.Logger.Warn("an index of texts is made anew", "tenant", tenant, "reason", "SQLite found it damaged")
		if err := errors.Join(t.close(tenant), removeTextFile(path)); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the indexes of texts: %w", err)
	}
	f, err := openTextFile(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := verify(ctx, t.cfg.Store, f.at); err != nil {
		err = errors.Join(err, f.close())
		if errors.Is(err, errDamaged) {
			t.cfg.Logger.Warn("an index of texts is made anew", "tenant", tenant, "reason", err)
			return nil, errors.Join(removeTextFile(path), fmt.Errorf("open the index of texts of %s: %w", tenant, err))
		}
		return nil, err
	}
	x = &textIndex{textFile: f, tenant: tenant}
	x.progress.reached(f.at.position, f.at.at)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.indexes[tenant] = x
	return x, nil
}

// purge takes what was erased since out of the indexes.
func (t *TextSearch) purge(ctx context.Context, indexes []*textIndex) error {
	erasures := t.cfg.Vault.Erasures() + 1
	var keys []string
	for _, x := range indexes {
		t.mu.Lock()
		done := x.purged == erasures
		t.mu.Unlock()
		if done {
			continue
		}
		if keys == nil {
			var err error
			if keys, err = t.cfg.Vault.Tombstones(ctx); err != nil {
				return fmt.Errorf("ask for what was erased: %w", err)
			}
		}
		if err := x.forget(ctx, keys); err != nil {
			return fmt.Errorf("take what was erased out of the index of texts of %s: %w", x.tenant, x.broken(err))
		}
		t.mu.Lock()
		x.purged = erasures
		t.mu.Unlock()
	}
	return nil
}

// close closes a tenant's index once nobody searches in it.
func (t *TextSearch) close(tenant string) error {
	t.mu.Lock()
	x := t.indexes[tenant]
	delete(t.indexes, tenant)
	t.mu.Unlock()
	if x == nil {
		return nil
	}
	x.using.Lock()
	defer x.using.Unlock()
	x.closed = true
	return x.textFile.close()
}

func (t *TextSearch) closeAll() error {
	t.mu.Lock()
	var tenants []string
	for tenant := range t.indexes {
		tenants = append(tenants, tenant)
	}
	t.mu.Unlock()
	var errs []error
	for _, tenant := range tenants {
		errs = append(errs, t.close(tenant))
	}
	return errors.Join(errs...)
}
