package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/followups"
	"hookledger/httpapi"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/ledger/pebblestore"
	"hookledger/projections"
	"hookledger/replays"
	"hookledger/retire"
	"hookledger/vault"
)

// compactions run as in the product, but for the look around every 100 ms, of which there are a million in a day: a
// compaction that had to wait runs when another one has ended.
func compactions() pebble.CompactionScheduler {
	return pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
}

var quiet = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)

// life is one process of the product: all rooms, joined as cmd joins them, between a start and its end.
type life struct {
	number int
	fs     *vfs.MemFS
	store  *pebblestore.Store
	keys   *vault.Vault
	proj   *projections.Projections
	api    http.Handler

	group       *errgroup.Group
	stopFollow  context.CancelFunc
	stopDeliver context.CancelFunc
	delivering  chan struct{} // closed when deliveries, replays and follow-ups have ended
}

// born opens everything over the file system and starts it.
func (w *world) born(fs *vfs.MemFS, rows string) (*life, error) {
	l := &life{number: w.lives, fs: fs}
	var err error
	if l.store, err = pebblestore.Open(pebblestore.Config{Dir: "data/ledger", FS: fs, Now: now,
		MemTableBytes: 256 << 10, CacheBytes: 1 << 20, TailRecords: 1024, Compactions: compactions}); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	id, err := ledger.Found(context.Background(), l.store, w.newID(), now())
	if err != nil {
		return nil, fmt.Errorf("found the ledger: %w", err)
	}
	if l.keys, err = vault.Open(vault.Config{Dir: "data/vault", FS: fs, LedgerID: id, Master: w.master,
		Compactions: compactions, Fatal: func(reason string) { w.t.Errorf("the vault failed: %s", reason) }}); err != nil {
		return nil, fmt.Errorf("open the vault: %w", err)
	}
	if l.proj, err = projections.Open(context.Background(), projections.Config{Dir: rows, Store: l.store,
		FlushEvery: 2 * time.Second, Now: now}); err != nil {
		return nil, fmt.Errorf("open the projections: %w", err)
	}
	parts, err := l.join(w)
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	l.group, ctx = errgroup.WithContext(context.Background())
	var followCtx, deliverCtx context.Context
	followCtx, l.stopFollow = context.WithCancel(ctx)
	deliverCtx, l.stopDeliver = context.WithCancel(ctx)
	l.group.Go(func() error { return l.proj.Run(followCtx) })
	all, ctx := errgroup.WithContext(deliverCtx)
	for _, run := range parts {
		all.Go(func() error { return run(ctx) })
	}
	l.delivering = make(chan struct{})
	l.group.Go(func() error { defer close(l.delivering); return all.Wait() })
	return l, nil
}

// join makes the rooms above the stores, and gives those that run.
func (l *life) join(w *world) ([]func(context.Context) error, error) {
	bodies := ingest.NewBodies(l.store, l.keys, 1<<20)
	in := ingest.New(ingest.Config{Store: l.store, Vault: l.keys, Directory: l.proj.Directory(), Now: now, NewID: w.newID,
		Bodies: bodies})
	node := fmt.Sprintf("life %d", l.number)
	deliver, err := delivery.New(delivery.Config{Store: l.store, Backlog: l.proj.Backlog(), Endpoints: l.proj.Directory(),
		Bodies: bodies, Vault: l.keys, Now: now, NewID: w.newID, Jitter: w.jitter, Node: node,
		Gates: l.proj.Health(), Window: window, Dial: w.net.dialer(l.number, w.receivers.down)})
	if err != nil {
		return nil, err
	}
	planner := &replays.Planner{Store: l.store, Rows: l.proj, Bodies: bodies}
	runner, err := replays.New(replays.Config{Store: l.store, Planner: planner, Progress: l.proj,
		Endpoints: l.proj.Directory(), Vault: l.keys, Now: now, Idle: 5 * time.Minute, Base: func() domain.Stamp {
			return domain.Stamp{At: now(), Base: w.newID(), Actor: domain.System("replay")}
		}})
	if err != nil {
		return nil, err
	}
	follow, err := followups.New(followups.Config{Store: l.store, Pending: l.proj.Health(), Poster: in,
		Directory: l.proj.Directory(), Bodies: bodies, Now: now})
	if err != nil {
		return nil, err
	}
	retirer, err := retire.New(retire.Config{Store: l.store, Vault: l.keys, Endpoints: l.proj.Directory(), Now: now,
		Room: w.rarely})
	if err != nil {
		return nil, err
	}
	l.api, err = httpapi.New(httpapi.Config{Store: l.store, Vault: l.keys, Ingest: in, Projections: l.proj,
		Replays: struct {
			*replays.Planner
			*replays.Runner
		}{planner, runner}, Now: now, NewID: w.newID, Egress: delivery.EgressConfig{}, Logger: slog.New(slog.DiscardHandler)})
	return []func(context.Context) error{deliver.Run, runner.Run, follow.Run, retirer.Run}, err
}

// rarely is a disk on which there is room now and then: until then the keys that have ended are in the vault still, and
// must not sign all the same.
func (w *world) rarely() error {
	if w.draw(32) > 0 {
		return errNoRoom
	}
	return nil
}

var errNoRoom = errors.New("no room")

// end stops a life in order, as SIGTERM does. What it answers is of no use where the life was cut off before.
func (l *life) end() error {
	l.stopDeliver()
	<-l.delivering
	l.stopFollow()
	err := l.group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, l.proj.Close(), l.keys.Close(), l.store.Close())
}

// answer is what the API said; status 0: nobody will know.
type answer struct {
	status int
	body   []byte
}

// call asks the API of a life as its admin.
func (w *world) call(l *life, method, path string, body any) answer {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			panic(err)
		}
	}
	r := httptest.NewRequestWithContext(context.Background(), method, path, io.NopCloser(bytes.NewReader(raw)))
	r.Header.Set("Authorization", "Bearer "+w.admin.Reveal())
	r.Header.Set("Hookledger-Tenant", domain.DefaultTenant)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	l.api.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Body.Bytes()}
}

// bootstrap makes the tenant and the admin's key.
func (w *world) bootstrap(l *life) error {
	ctx := context.Background()
	stamp := domain.Stamp{At: now(), Base: w.newID(), Actor: domain.System("serve")}
	tenant := &domain.Tenant{}
	facts, err := tenant.Register(domain.DefaultTenant, domain.TenantSettings{})
	if err != nil {
		return err
	}
	stream := domain.TenantStream(domain.DefaultTenant)
	if _, err := l.store.Append(ctx, stream, domain.NoStream,
		stamp.Records(stream, domain.DefaultTenant, "", ulid.Zero, facts...)); err != nil {
		return err
	}
	prefix, hash := httpapi.DescribeKey(w.admin)
	key := &domain.APIKey{}
	if facts, err = key.Issue(domain.KeyIssued{Name: "admin", Prefix: prefix, Hash: hash, Role: domain.RoleAdmin},
		stamp.At); err != nil {
		return err
	}
	stamp.Base = w.newID()
	stream = domain.KeyStream(domain.AnyTenant, domain.NewID(domain.PrefixKey, stamp.Base))
	done, err := l.store.Append(ctx, stream, domain.NoStream,
		stamp.Records(stream, domain.AnyTenant, "", ulid.Zero, facts...))
	if err != nil {
		return err
	}
	return l.proj.Directory().WaitFor(ctx, done.Position)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func rowsOf(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("rows-%d", n)) }
