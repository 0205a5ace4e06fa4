package projections

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hookledger/domain"
)

// Rebuilt is what Rebuild did.
type Rebuilt struct {
	Position domain.Position
	Took     time.Duration
	Digest   string
}

// Rebuild folds the rows anew into a fresh file, which then takes the place of the old one; until then the old one
// stays as it is. Nothing else may have them open.
func Rebuild(ctx context.Context, cfg Config) (Rebuilt, error) {
	cfg = cfg.withDefaults()
	start := time.Now()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return Rebuilt{}, fmt.Errorf("make the directory of the rows: %w", err)
	}
	path := filepath.Join(cfg.Dir, fileName)
	fresh := path + ".new"
	if err := removeDatabase(fresh); err != nil {
		return Rebuilt{}, err
	}
	db, err := openDatabase(ctx, fresh)
	if err != nil {
		return Rebuilt{}, fmt.Errorf("make the new rows: %w", err)
	}
	h := &history{store: cfg.Store, db: db, w: newWriter(db.write), size: cfg.FlushSize, log: cfg.Logger,
		metrics: newMetrics(), away: absence{name: nameHistory, log: cfg.Logger}}
	err = h.catchUp(ctx)
	var digest string
	if err == nil {
		digest, err = db.digest(ctx)
	}
	err = errors.Join(err, h.w.close())
	if err == nil {
		err = db.close()
	} else {
		err = errors.Join(err, db.release())
	}
	if err == nil {
		err = replace(fresh, path)
	}
	if err != nil {
		return Rebuilt{}, errors.Join(fmt.Errorf("rebuild the rows: %w", err), removeDatabase(fresh))
	}
	return Rebuilt{Position: h.at.position, Took: time.Since(start), Digest: digest}, nil
}

// replace puts a closed file in the place of another. The mark says "damaged" while neither is whole, so that a crash
// in between leads to another rebuild.
func replace(fresh, path string) error {
	m := mark{path: path + ".state"}
	if err := m.set(markDamaged); err != nil {
		return err
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	if err := syncFile(filepath.Dir(path)); err != nil {
		return err
	}
	if err := m.set(markClosed); err != nil {
		return err
	}
	return removeDatabase(fresh)
}

// Digest is a hash over all rows in order: equal for any two folds of the same records.
func (p *Projections) Digest(ctx context.Context) (string, error) { return p.db.digest(ctx) }

func (db *database) digest(ctx context.Context) (string, error) {
	sum := sha256.New()
	err := db.view(ctx, func(q queryer, c checkpoint) error {
		fmt.Fprintf(sum, "%d %s\n", c.position, c.record)
		for _, query := range []string{
			"SELECT " + eventColumns + " FROM events ORDER BY tenant, created_at, id",
			"SELECT " + deliveryColumns + " FROM deliveries ORDER BY tenant, created_at, id",
			"SELECT " + attemptColumns + " FROM attempts ORDER BY tenant, started_at, id",
			"SELECT " + replayColumns + " FROM replays ORDER BY tenant, created_at, id",
			"SELECT state FROM reconciliations ORDER BY tenant, created_at, id",
			"SELECT state FROM refusals ORDER BY tenant, created_at, id",
			"SELECT tenant, month, endpoint_id, event, bucket, count FROM service_levels ORDER BY 1, 2, 3, 4, 5",
			"SELECT tenant, source_id, count, last_at FROM source_events ORDER BY 1, 2",
			"SELECT tenant, position, record, stream, revision FROM heads ORDER BY tenant",
			"SELECT position, header, body FROM config_records ORDER BY position",
		} {
			fmt.Fprintf(sum, "%s\n", query)
			var cells []any
			err := scanRows(ctx, q, query, nil, func(rows *sql.Rows) error {
				if cells == nil {
					names, err := rows.Columns()
					if err != nil {
						return err
					}
					for range names {
						cells = append(cells, new(any))
					}
				}
				if err := rows.Scan(cells...); err != nil {
					return err
				}
				for _, c := range cells {
					fmt.Fprintf(sum, "%v\x00", *c.(*any))
				}
				return nil
			})
			if err != nil {
				return err
			}
			_, _ = sum.Write([]byte{'\n'})
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("digest of the rows: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
