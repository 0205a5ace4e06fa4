package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

const (
	// healthFold is raised by whoever changes how health is folded or stored: what older versions stored is then folded
	// anew.
	healthFold = 2
	// saveEvery is how often the fold is stored: what came since is folded again after a crash.
	saveEvery = 10 * time.Second
)

// healthRest is what a fold holds beside the endpoints' own.
type healthRest struct {
	Config  domain.HealthConfig // what the fold was made with
	Open    []domain.HealthOpen
	Between domain.HealthBetween
	Todo    []domain.FollowUp
}

// healthKept is a fold of one endpoint.
type healthKept struct {
	Health  json.RawMessage
	Open    []domain.HealthOpen
	Between domain.HealthBetween
}

// keptHealth is one that is not stored yet.
type keptHealth struct {
	key      domain.EndpointKey
	position domain.Position
	latest   time.Time
	state    []byte
	err      error
}

func (h *Health) keep(one *domain.Health, r *domain.Record) keptHealth {
	k := keptHealth{key: domain.EndpointKey{Tenant: one.Tenant, Endpoint: one.Endpoint}, position: r.Position,
		latest: one.Latest}
	health, err := one.Encode()
	if err == nil {
		k.state, err = json.Marshal(healthKept{Health: health, Open: h.fold.Open(one), Between: h.fold.Between()})
	}
	k.err = err
	return k
}

// savedHealth is a fold on its way into the rows.
type savedHealth struct {
	at     checkpoint
	held   healthRest
	rest   []byte // held, encoded
	copies []*domain.Health
	rows   map[domain.EndpointKey][]byte // copies, encoded
	gone   []domain.EndpointKey
	kept   []keptHealth
	dirty  []*domain.Health // of which copies are
}

// due says that it is time to store the fold.
func (h *Health) due() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.now().Sub(h.saved) >= saveEvery || len(h.kept) > 1000
}

// take gives what changed since the last time. Deliveries wait for the lock meanwhile: it copies, and encodes nothing.
func (h *Health) take() *savedHealth {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saved = h.now()
	s := &savedHealth{at: h.at, gone: h.gone, kept: h.kept}
	for one := range h.dirty {
		s.dirty = append(s.dirty, one)
		s.copies = append(s.copies, one.Clone())
	}
	s.held = healthRest{Config: h.fold.Config, Open: h.fold.Open(nil), Between: h.fold.Between(), Todo: h.todo.pending()}
	// By the time of the records and not by the clock: whoever folds old ones has the windows of their time.
	past := fromMicros(h.at.at).Add(-2 * clockSkew)
	h.fold.Endpoints(func(one *domain.Health) { one.Forget(past) })
	h.dirty, h.gone, h.kept = map[*domain.Health]struct{}{}, nil, nil
	return s
}

// encode makes the rows of it.
func (s *savedHealth) encode() (err error) {
	s.rows = make(map[domain.EndpointKey][]byte, len(s.copies))
	for _, one := range s.copies {
		key := domain.EndpointKey{Tenant: one.Tenant, Endpoint: one.Endpoint}
		if s.rows[key], err = one.Encode(); err != nil {
			return fmt.Errorf("encode the health of %s: %w", one.Endpoint, err)
		}
	}
	if s.rest, err = json.Marshal(s.held); err != nil {
		return fmt.Errorf("encode what follows: %w", err)
	}
	return nil
}

// giveBack takes what could not be stored as changed again.
func (h *Health) giveBack(s *savedHealth) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range s.dirty {
		if !one.Removed {
			h.dirty[one] = struct{}{}
		}
	}
	h.gone, h.kept = append(s.gone, h.gone...), append(s.kept, h.kept...)
}

// save stores what changed since the last time, in a transaction of its own: wherever it stands, the ledger behind it
// is folded again at the next start.
func (h *Health) save(ctx context.Context, w *writer) (err error) {
	s := h.take()
	if s.at.position == 0 {
		return nil
	}
	if err := s.encode(); err != nil {
		h.giveBack(s)
		return err
	}
	if err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		h.giveBack(s)
		return fmt.Errorf("begin: %w", err)
	}
	if err = w.writeHealth(ctx, s); err == nil {
		err = w.exec(ctx, "COMMIT")
	}
	if err != nil {
		h.giveBack(s)
		return errors.Join(fmt.Errorf("store the health of endpoints: %w", err), w.rollback(ctx))
	}
	return nil
}

func (w *writer) writeHealth(ctx context.Context, s *savedHealth) error {
	for _, key := range s.gone {
		for _, table := range []string{"endpoint_health", "health_kept"} {
			err := w.exec(ctx, "DELETE FROM "+table+" WHERE tenant = ? AND endpoint_id = ?", key.Tenant, key.Endpoint)
			if err != nil {
				return err
			}
		}
	}
	for key, state := range s.rows {
		if err := w.exec(ctx, "INSERT INTO endpoint_health (tenant, endpoint_id, state) VALUES (?, ?, ?) "+
			"ON CONFLICT (tenant, endpoint_id) DO UPDATE SET state = excluded.state", key.Tenant, key.Endpoint,
			state); err != nil {
			return err
		}
	}
	for _, k := range s.kept {
		if k.err != nil {
			return k.err
		}
		if err := w.exec(ctx, "INSERT INTO health_kept (tenant, endpoint_id, position, latest, state) "+
			"VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, endpoint_id, position) DO UPDATE SET latest = excluded.latest, "+
			"state = excluded.state", k.key.Tenant, k.key.Endpoint, int64(k.position), micros(k.latest), k.state); err != nil {
			return err
		}
	}
	return w.exec(ctx, "INSERT INTO health_mark (one, position, record, stream, revision, at, fold, rest) "+
		"VALUES (1, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET position = excluded.position, "+
		"record = excluded.record, stream = excluded.stream, revision = excluded.revision, at = excluded.at, "+
		"fold = excluded.fold, rest = excluded.rest", int64(s.at.position), s.at.record.String(), string(s.at.stream),
		int64(s.at.revision), s.at.at, healthFold, s.rest)
}

// readHealth reads what was stored; it is false where there is nothing that can be used: it was folded by another
// version or with other thresholds, or from another ledger.
func (p *Projections) readHealth(ctx context.Context, h *Health) (bool, error) {
	var at checkpoint
	var record string
	var fold int
	var rest []byte
	err := p.db.write.QueryRowContext(ctx, "SELECT position, record, stream, revision, at, fold, rest FROM health_mark").
		Scan(&at.position, &record, &at.stream, &at.revision, &at.at, &fold, &rest)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var more healthRest
	if fold != healthFold || json.Unmarshal(rest, &more) != nil || more.Config != h.fold.Config {
		return false, nil
	}
	if at.record, err = ulid.ParseStrict(record); err != nil {
		return false, nil //nolint:nilerr // what names no record is folded anew
	}
	if err := verify(ctx, p.cfg.Store, at); err != nil {
		if errors.Is(err, errDamaged) {
			return false, nil
		}
		return false, err
	}
	var healths [][]byte
	err = scanRows(ctx, p.db.write, "SELECT state FROM endpoint_health", nil, func(rows *sql.Rows) error {
		var b []byte
		err := rows.Scan(&b)
		healths = append(healths, b)
		return err
	})
	if err != nil {
		return false, err
	}
	if err := h.fold.Restore(healths, more.Open, more.Between); err != nil {
		return false, nil //nolint:nilerr // what can't be read is folded anew
	}
	h.at = at
	for _, f := range more.Todo {
		h.todo.add(f, h.log)
	}
	return true, nil
}

// startHealth reads what was stored and folds the ledger on from there, up to the record at the limit.
func (p *Projections) startHealth(ctx context.Context, limit domain.Position) error {
	h := newHealth(p.cfg.Health, p.cfg.Now, p.cfg.Logger)
	ok, err := p.readHealth(ctx, h)
	if err != nil {
		return fmt.Errorf("read the health of endpoints: %w", err)
	}
	if !ok {
		h = newHealth(p.cfg.Health, p.cfg.Now, p.cfg.Logger)
		for _, table := range []string{"health_mark", "endpoint_health", "health_kept"} {
			if _, err := p.db.write.ExecContext(ctx, "DELETE FROM "+table); err != nil {
				return fmt.Errorf("drop the health of endpoints: %w", err)
			}
		}
	}
	away, answered := absence{name: nameHealth, log: p.cfg.Logger}, time.Now()
	for h.at.position < limit {
		from := h.at.position
		err := p.foldHealth(ctx, h, limit)
		if err == nil || h.at.position > from {
			away.back()
			answered = time.Now()
		}
		if err != nil && (time.Since(answered) > startPatience || !away.wait(ctx, err)) {
			return err
		}
	}
	p.health = h
	return nil
}

// nameHealth is what a log says of the fold of health when it starts.
const nameHealth = "health"

func (p *Projections) foldHealth(ctx context.Context, h *Health, limit domain.Position) error {
	for r, err := range p.cfg.Store.ReadAll(ctx, h.at.position) {
		if err != nil {
			return fmt.Errorf("read the ledger behind %d: %w", h.at.position, err)
		}
		if r.Position > limit {
			return nil
		}
		h.apply(r)
		if len(h.kept) > 1000 {
			if err := h.save(ctx, p.history.w); err != nil {
				return err
			}
		}
	}
	if h.at.position < limit {
		return fmt.Errorf("the ledger goes to position %d and shows no record behind %d", limit, h.at.position)
	}
	return nil
}
