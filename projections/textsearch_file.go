package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"hookledger/domain"
)

// textVersion is raised by whoever changes what is indexed, or how: an older index is then made anew.
const textVersion = 1

// The index of one tenant. The text is kept beside it, so that what is erased can be taken out of the index again;
// secure-delete and secure_delete leave nothing of it in the file. A document's id begins with when its event was
// received, so that a range of time is one of ids.
const textSchema = `
CREATE TABLE docs (
  id     INTEGER PRIMARY KEY,
  event  TEXT NOT NULL UNIQUE,
  key_id TEXT NOT NULL,
  body   TEXT NOT NULL
);
CREATE INDEX docs_key ON docs (key_id);
CREATE VIRTUAL TABLE texts USING fts5(body, content='docs', content_rowid='id',
  tokenize='unicode61 remove_diacritics 2');
INSERT INTO texts (texts, rank) VALUES ('secure-delete', 1);
CREATE TABLE checkpoint (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  position    INTEGER NOT NULL,
  record      TEXT    NOT NULL,
  stream      TEXT    NOT NULL,
  revision    INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL
);`

// textFile is the SQLite file of one tenant's index. It is written by the follower alone.
type textFile struct {
	path string
	w, r *sql.DB
	at   checkpoint
}

// textDoc is what is indexed of an event.
type textDoc struct {
	event, keyID, body string
	received           time.Time
}

func textSource(path string, readOnly bool) string {
	v := url.Values{"_pragma": {"journal_mode(wal)", "synchronous(normal)", "busy_timeout(10000)", "secure_delete(on)",
		"temp_store(memory)", "cache_size(-4096)"}}
	if readOnly {
		v["_pragma"] = append(v["_pragma"], "query_only(1)")
	} else {
		v.Set("_txlock", "immediate")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: v.Encode()}).String()
}

// openTextFile opens or makes an index. One that is damaged or of another version is made anew.
func openTextFile(ctx context.Context, path string) (*textFile, error) {
	f, err := tryTextFile(ctx, path)
	if err != nil && (errors.Is(err, errDamaged) || isDamage(err)) {
		if err := removeTextFile(path); err != nil {
			return nil, err
		}
		f, err = tryTextFile(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the index of texts %s: %w", path, err)
	}
	return f, nil
}

func tryTextFile(ctx context.Context, path string) (_ *textFile, err error) {
	f := &textFile{path: path}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.w, err = sql.Open("sqlite", textSource(path, false)); err != nil {
		return nil, err
	}
	f.w.SetMaxOpenConns(1)
	if f.r, err = sql.Open("sqlite", textSource(path, true)); err != nil {
		return nil, err
	}
	f.r.SetMaxOpenConns(2)
	var version int
	if err := f.w.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return nil, err
	}
	switch version {
	case textVersion:
	case 0:
		if err := f.make(ctx); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%w: it is of version %d", errDamaged, version)
	}
	var record string
	c := &f.at
	err = f.w.QueryRowContext(ctx, "SELECT position, record, stream, revision, recorded_at FROM checkpoint").
		Scan(&c.position, &record, &c.stream, &c.revision, &c.at)
	if errors.Is(err, sql.ErrNoRows) {
		return f, nil
	}
	if err == nil {
		c.record, err = ulid.ParseStrict(record)
	}
	return f, err
}

func (f *textFile) make(ctx context.Context) error {
	tx, err := f.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, textSchema); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", textVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

func isDamage(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

func (f *textFile) close() error {
	var errs []error
	for _, db := range []*sql.DB{f.r, f.w} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

func removeTextFile(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the index of texts: %w", err)
		}
	}
	return nil
}

// roomInMicro is how many documents of one microsecond have ids of their own.
const roomInMicro = 1 << 11

// add indexes documents and moves the checkpoint, in one transaction. What is indexed already is passed over.
func (f *textFile) add(ctx context.Context, docs []textDoc, to checkpoint) error {
	tx, err := f.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for i := range docs {
		if err := addDoc(ctx, tx, &docs[i]); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO checkpoint (one, position, record, stream, revision, "+
		"recorded_at) VALUES (1, ?, ?, ?, ?, ?)", int64(to.position), to.record.String(), string(to.stream),
		int64(to.revision), to.at); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	f.at = to
	return nil
}

func addDoc(ctx context.Context, tx *sql.Tx, d *textDoc) error {
	var id int64
	from := micros(d.received) * roomInMicro
	err := tx.QueryRowContext(ctx, "SELECT coalesce(max(id) + 1, ?) FROM docs WHERE id >= ? AND id < ?", from, from,
		from+roomInMicro).Scan(&id)
	if err == nil && id >= from+roomInMicro {
		err = tx.QueryRowContext(ctx, "SELECT max(id) + 1 FROM docs").Scan(&id)
	}
	if err != nil {
		return err
	}
	done, err := tx.ExecContext(ctx, "INSERT INTO docs (id, event, key_id, body) VALUES (?, ?, ?, ?) "+
		"ON CONFLICT (event) DO NOTHING", id, d.event, d.keyID, d.body)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO texts (rowid, body) VALUES (?, ?)", id, d.body)
	return err
}

// forget takes what was sealed under the keys out of the index, and out of the file.
func (f *textFile) forget(ctx context.Context, keys []string) error {
	list, err := json.Marshal(keys)
	if err != nil || len(keys) == 0 {
		return err
	}
	tx, err := f.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	const of = " FROM docs WHERE key_id IN (SELECT value FROM json_each(?))"
	if _, err := tx.ExecContext(ctx, "INSERT INTO texts (texts, rowid, body) SELECT 'delete', id, body"+of,
		string(list)); err != nil {
		return err
	}
	done, err := tx.ExecContext(ctx, "DELETE"+of, string(list))
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = f.w.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)") // the log held it too
	return err
}

// find gives the events whose text matches, of those received within the span, the newest first, at most so many.
func (f *textFile) find(ctx context.Context, match string, s Span, limit int) ([]string, error) {
	low, high := int64(0), int64(math.MaxInt64)
	if !s.After.IsZero() {
		low = s.After.UnixMicro() * roomInMicro
	}
	if !s.Before.IsZero() {
		high = min(high, s.Before.UnixMicro()*roomInMicro)
	}
	out := []string{}
	err := scanRows(ctx, f.r, "SELECT d.event FROM texts JOIN docs d ON d.id = texts.rowid WHERE texts MATCH ? "+
		"AND texts.rowid >= ? AND texts.rowid < ? ORDER BY texts.rowid DESC LIMIT ?", []any{match, low, high, limit},
		func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			out = append(out, id)
			return err
		})
	return out, err
}

// matchOf turns what somebody searches for into FTS5's language: all words, what stands in double quotes as a phrase,
// and a * at the end for words that begin so. Nothing else of that language gets through.
func matchOf(text string) (string, error) {
	var terms []string
	for i, part := range strings.Split(text, `"`) {
		if i%2 == 1 {
			terms = append(terms, quoteTerm(part, false)...)
			continue
		}
		for _, word := range strings.Fields(part) {
			terms = append(terms, quoteTerm(strings.TrimSuffix(word, "*"), strings.HasSuffix(word, "*"))...)
		}
	}
	if len(terms) == 0 || len(terms) > maxTextTerms {
		return "", domain.Refuse(domain.KindInvalid, "invalid_text",
			"there is nothing in the text to search for, or too much",
			`give 1 to 16 words; "disk full" in double quotes is a phrase, and time* finds words that begin so`)
	}
	return strings.Join(terms, " AND "), nil
}

const maxTextTerms = 16
