package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"hookledger/domain"
	"hookledger/ledger"
)

// Names of the projections.
const (
	nameLive    = "live"
	nameHistory = "history"
)

// Config is what projections need.
type Config struct {
	Dir        string // where the rows stand, in projections.db; it is made
	Store      ledger.Reader
	Now        func() time.Time      // nil: time.Now
	Metrics    prometheus.Registerer // nil: none
	Logger     *slog.Logger          // nil: none
	FlushEvery time.Duration         // how long records may wait for their transaction; 0: 250 ms
	FlushSize  int                   // records of one transaction; 0: 20,000
	Health     domain.HealthConfig   // zero: domain.DefaultHealthConfig
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.FlushEvery <= 0 {
		c.FlushEvery = 250 * time.Millisecond
	}
	if c.FlushSize <= 0 {
		c.FlushSize = 20_000
	}
	if c.Health == (domain.HealthConfig{}) {
		c.Health = domain.DefaultHealthConfig()
	}
	return c
}

// Projections are all read models of one node. All methods are safe for concurrent use.
type Projections struct {
	cfg       Config
	db        *database
	history   *history
	live      *live
	refiller  *refiller
	directory *Directory
	backlog   *Backlog
	health    *Health
	rebuilt   string // why the rows were folded anew
}

// Directory gives the configuration in memory.
func (p *Projections) Directory() *Directory { return p.directory }

// Backlog gives the deliveries that wait.
func (p *Projections) Backlog() *Backlog { return p.backlog }

// Health gives the health of endpoints.
func (p *Projections) Health() *Health { return p.health }

// Open opens the rows in cfg.Dir, folds what they lack, and loads what is held in memory. Rows that are damaged, of
// another ledger or of another version are folded anew; Status says why. A record that can't be folded is no error
// here: it stops a projection, and Status names it. Close releases the rows.
func Open(ctx context.Context, cfg Config) (*Projections, error) {
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the rows: %w", err)
	}
	path := filepath.Join(cfg.Dir, fileName)
	p, err := open(ctx, cfg, path)
	if errors.Is(err, errDamaged) {
		reason := err.Error()
		cfg.Logger.Warn("the rows of the history are folded anew", "reason", reason)
		if err := removeDatabase(path); err != nil {
			return nil, err
		}
		if p, err = open(ctx, cfg, path); err == nil {
			p.rebuilt = reason
		}
	}
	if err != nil {
		return nil, err
	}
	if err := p.history.metrics.register(cfg.Metrics, p); err != nil {
		return nil, errors.Join(fmt.Errorf("register the metrics of the projections: %w", err), p.Close())
	}
	return p, nil
}

func open(ctx context.Context, cfg Config, path string) (*Projections, error) {
	db, at, err := openSound(ctx, cfg.Store, path)
	if err != nil {
		return nil, err
	}
	p := &Projections{cfg: cfg, db: db}
	if err := p.start(ctx, at); err != nil {
		return nil, errors.Join(db.broken(err), p.history.w.close(), db.release())
	}
	return p, nil
}

// openSound opens the rows and compares their checkpoint with the ledger.
func openSound(ctx context.Context, store ledger.Reader, path string) (*database, checkpoint, error) {
	db, err := openDatabase(ctx, path)
	if err != nil {
		return nil, checkpoint{}, err
	}
	at, err := readCheckpoint(ctx, db.write)
	if err == nil {
		err = verify(ctx, store, at)
	}
	if err != nil {
		return nil, checkpoint{}, errors.Join(db.broken(err), db.release())
	}
	return db, at, nil
}

// verify reads the checkpoint's record from the ledger: the rows are of this ledger only if it stands where they say.
func verify(ctx context.Context, store ledger.Reader, at checkpoint) error {
	if at.position == 0 {
		return nil
	}
	for r, err := range store.ReadStream(ctx, at.stream, at.revision) {
		if err != nil {
			return fmt.Errorf("read the checkpoint's record: %w", err)
		}
		if r.Position == at.position && r.ID == at.record {
			return nil
		}
		break
	}
	return fmt.Errorf("%w: their last record %s does not stand at position %d of this ledger", errDamaged, at.record,
		at.position)
}

// start catches up and loads what is in memory.
func (p *Projections) start(ctx context.Context, at checkpoint) error {
	m := newMetrics()
	p.history = &history{store: p.cfg.Store, db: p.db, w: newWriter(p.db.write), at: at, size: p.cfg.FlushSize,
		every: p.cfg.FlushEvery, now: p.cfg.Now, log: p.cfg.Logger, metrics: m, hurry: make(chan struct{}, 1),
		away: absence{name: nameHistory, log: p.cfg.Logger}}
	p.history.progress.reached(at.position, at.at)
	p.live = &live{store: p.cfg.Store, now: p.cfg.Now, log: p.cfg.Logger,
		notices: newNotices(p.cfg.Logger, p.cfg.Now)}
	p.directory = newDirectory(&p.live.progress)
	p.backlog = newBacklog(p.cfg.Now, p.cfg.Store.Head)
	p.live.directory, p.live.backlog = p.directory, p.backlog
	p.refiller = &refiller{backlog: p.backlog, db: p.db, want: p.history.want, metrics: m}

	var bad *foldError
	if err := p.history.catchUp(ctx); errors.As(err, &bad) {
		p.cfg.Logger.Error("the history projection stopped", "error", err)
		p.history.progress.stop(err)
	} else if err != nil {
		return err
	}
	at = p.history.at
	if err := p.db.load(ctx, p.directory, p.backlog); err != nil {
		return fmt.Errorf("load the read models: %w", err)
	}
	if err := p.startHealth(ctx, at.position); err != nil {
		return err
	}
	p.live.health, p.history.health = p.health, p.health
	p.backlog.folded = at.position
	p.backlog.advanced(at.position)
	p.live.progress.reached(at.position, at.at)
	p.history.flushed = p.backlog.advanced
	return nil
}

// Run follows the ledger until ctx ends, which is no error, or the ledger or the rows can't be read any more. A record
// that can't be folded does not end it: Status names the record.
func (p *Projections) Run(ctx context.Context) error {
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return p.live.run(running) })
	g.Go(func() error { return p.history.run(running, &p.live.progress) })
	g.Go(func() error { return p.refiller.run(running) })
	g.Go(func() error { return p.live.notices.run(running) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("projections: %w", err)
	}
	return nil
}

// Close makes the rows durable and releases them. Run must have returned.
func (p *Projections) Close() error {
	saved := p.db.broken(p.health.save(context.Background(), p.history.w))
	return errors.Join(saved, p.history.w.close(), p.db.close())
}

// WaitFor returns once the rows hold every record up to the position; it does not wait for the next flush but causes
// it.
func (p *Projections) WaitFor(ctx context.Context, pos domain.Position) error {
	p.history.want(pos)
	return p.history.progress.wait(ctx, pos)
}

// Status says where each projection stands.
func (p *Projections) Status() []ProjectionStatus {
	head, now := p.cfg.Store.Head(), p.cfg.Now()
	memory := p.live.progress.status(nameLive, head, now)
	rows := p.history.progress.status(nameHistory, head, now)
	rows.Rebuilt = p.rebuilt
	p.history.mu.Lock()
	defer p.history.mu.Unlock()
	if rows.Err == nil {
		rows.Err = p.history.failing
	}
	return []ProjectionStatus{memory, rows}
}
