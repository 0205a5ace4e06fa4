package projections

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/oklog/ulid/v2"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"hookledger/domain"
)

//go:embed migrations/*.sql
var migrations embed.FS

// foldVersion is raised by whoever changes what is folded into the rows: older rows are then folded anew.
const foldVersion = 5

const (
	fileName = "projections.db"
	readers  = 4 // connections that read
)

// database is one SQLite file: a connection that writes, and some that read beside it (WAL). It runs without sync, so
// it survives the death of the process, but not that of the machine; see the mark in mark.go.
type database struct {
	path  string
	mark  mark
	write *sql.Conn // used by the one follower that writes
	w, r  *sql.DB
	bad   atomic.Bool // SQLite found the file damaged
}

// checkpoint is the last record that the rows hold; the zero value stands before the first.
type checkpoint struct {
	position domain.Position
	record   ulid.ULID
	stream   domain.Stream // that the record stands in
	revision domain.Revision
	at       int64 // microseconds
}

// errDamaged wraps what says that the file can't be used and must be folded anew.
var errDamaged = errors.New("the rows can't be used")

// openDatabase opens or makes the file and brings its schema up to date. It fails with errDamaged where the file is no
// sound database of this version.
func openDatabase(ctx context.Context, path string) (_ *database, err error) {
	db := &database{path: path, mark: mark{path: path + ".state"}}
	if err := db.mark.check(path); err != nil {
		return nil, err
	}
	if err := db.mark.set(markOpen); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = db.broken(err)
			err = errors.Join(err, db.release())
		}
	}()
	if db.w, err = sql.Open("sqlite", dataSource(path, false)); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.w.SetMaxOpenConns(1)
	if err := migrate(ctx, db.w); err != nil {
		return nil, fmt.Errorf("bring the schema of %s up to date: %w", path, err)
	}
	if db.write, err = db.w.Conn(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if db.r, err = sql.Open("sqlite", dataSource(path, true)); err != nil {
		return nil, fmt.Errorf("open %s to read: %w", path, err)
	}
	db.r.SetMaxOpenConns(readers)
	db.r.SetMaxIdleConns(readers)
	return db, nil
}

// The page cache of the writer holds the ends of all trees and what waits; the readers share the system's.
func dataSource(path string, readOnly bool) string {
	v := url.Values{"_pragma": {"journal_mode(wal)", "synchronous(off)", "busy_timeout(10000)", "temp_store(memory)"}}
	if readOnly {
		v["_pragma"] = append(v["_pragma"], "query_only(1)", "cache_size(-2048)")
	} else {
		v["_pragma"] = append(v["_pragma"], "cache_size(-32768)", "wal_autocheckpoint(4000)")
		v.Set("_txlock", "immediate")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: v.Encode()}).String()
}

func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return fmt.Errorf("%w: their schema is version %d, newer than this binary's %d", errDamaged, have, want)
	}
	_, err = p.Up(ctx)
	return err
}

// broken marks the file for a rebuild where the error says that it is not sound.
func (db *database) broken(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		db.bad.Store(true)
		return errors.Join(fmt.Errorf("%w: %w", errDamaged, err), db.mark.set(markDamaged))
	}
	return err
}

func (db *database) release() error {
	var errs []error
	if db.r != nil {
		errs = append(errs, db.r.Close())
	}
	if db.write != nil {
		errs = append(errs, db.write.Close())
	}
	if db.w != nil {
		errs = append(errs, db.w.Close())
	}
	return errors.Join(errs...)
}

// close brings everything into the one file and makes it durable, so that it holds after a loss of power as well.
func (db *database) close() error {
	_, err := db.write.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
	err = errors.Join(db.broken(err), db.release())
	if err != nil {
		return fmt.Errorf("close %s: %w", db.path, err)
	}
	if db.bad.Load() {
		return nil // the mark says so
	}
	if err := syncFile(db.path); err != nil {
		return fmt.Errorf("close %s: %w", db.path, err)
	}
	return db.mark.set(markClosed)
}

// removeDatabase deletes the file with all that belongs to it.
func removeDatabase(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", ".state"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the old rows: %w", err)
		}
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// queryer is a connection or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readCheckpoint reads what the rows hold; rows of another fold are errDamaged.
func readCheckpoint(ctx context.Context, q queryer) (checkpoint, error) {
	var c checkpoint
	var record string
	var fold int
	err := q.QueryRowContext(ctx, "SELECT position, record, stream, revision, recorded_at, fold FROM checkpoint").
		Scan(&c.position, &record, &c.stream, &c.revision, &c.at, &fold)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return checkpoint{}, nil
	case err != nil:
		return checkpoint{}, fmt.Errorf("read the checkpoint: %w", err)
	case fold != foldVersion:
		return checkpoint{}, fmt.Errorf("%w: they were folded by version %d, this binary's is %d", errDamaged, fold,
			foldVersion)
	case c.stream == "":
		return checkpoint{}, fmt.Errorf("%w: an older version's checkpoint does not say where its record stands", errDamaged)
	}
	if c.record, err = ulid.ParseStrict(record); err != nil {
		return checkpoint{}, fmt.Errorf("%w: their checkpoint names no record", errDamaged)
	}
	return c, nil
}

// view runs fn on one consistent state of the rows.
func (db *database) view(ctx context.Context, fn func(queryer, checkpoint) error) error {
	tx, err := db.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("read the rows: %w", db.broken(err))
	}
	defer tx.Rollback()
	c, err := readCheckpoint(ctx, tx)
	if err == nil {
		err = fn(tx, c)
	}
	return db.broken(err)
}
