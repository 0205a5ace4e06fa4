package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// What is counted apart: beyond MaxTenantRefusals keys and reasons, those of a tenant are counted by their reason only;
// beyond maxRefusals of all tenants, in the metrics only.
const (
	MaxTenantRefusals = 64
	maxRefusals       = 4096
)

// Sealer seals content; *vault.Vault does.
type Sealer interface {
	DataKey(ctx context.Context, s vault.Scope) (keyID string, err error)
	Seal(ctx context.Context, keyID string, p vault.Place, plaintext []byte) (*domain.Sealed, error)
}

var _ Sealer = (*vault.Vault)(nil)

// RefusalsConfig is what Refusals need. Store and Vault are required.
type RefusalsConfig struct {
	Store   ledger.Store
	Vault   Sealer
	Room    func() error          // nothing is written while it refuses; nil: there is always room
	Now     func() time.Time      // nil: time.Now
	NewID   func() ulid.ULID      // nil: random ones
	Metrics prometheus.Registerer // may be nil
	Logger  *slog.Logger          // nil: none
}

// Refusals count the posts that were refused, and write them to the ledger: one record for each minute, key and reason,
// so that a flood of bad posts is no flood of records. What a crash loses is what was counted since the last minute. It
// is safe for concurrent use.
type Refusals struct {
	cfg        RefusalsConfig
	refused    *prometheus.CounterVec
	unrecorded prometheus.Counter

	mu      sync.Mutex // guards all below
	counts  map[refusalKey]*refusalCount
	tenants map[string]int // keys of counts that name a key, by tenant

	// waiting are records whose append failed: they are repeated as they are. Used by the one who writes.
	waiting map[refusalKey]*refusalRecord
}

// refusalKey is what one record counts.
type refusalKey struct{ tenant, key, reason string }

type refusalCount struct {
	n           int
	first, last time.Time
	content     domain.RefusalContent // of the first
	subject     string                // likewise
}

// Refusal is one post that was refused.
type Refusal struct {
	Tenant string
	Key    string // the API key's id, or the source's
	Reason string // the code of the refusal
	Detail string // what the producer was told
	Body   []byte // as it came; nil: it was not read to its end
	Post   Post   // what could be read of it
}

// NewRefusals makes one; Run writes what it counts.
func NewRefusals(cfg RefusalsConfig) *Refusals {
	if cfg.Room == nil {
		cfg.Room = func() error { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = ulid.Make
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	with := promauto.With(cfg.Metrics)
	return &Refusals{cfg: cfg, counts: map[refusalKey]*refusalCount{}, tenants: map[string]int{},
		waiting: map[refusalKey]*refusalRecord{},
		refused: with.NewCounterVec(prometheus.CounterOpts{Name: "hookledger_refusals_total",
			Help: "Events that were posted with a key and refused, by reason: the code of the refusal."},
			[]string{"reason"}),
		unrecorded: with.NewCounter(prometheus.CounterOpts{Name: "hookledger_refusals_unrecorded_total",
			Help: "Refusals that no record counts: there were too many keys and reasons at once."})}
}

// Count counts a post that was refused. It never waits for the ledger.
func (rs *Refusals) Count(r *Refusal) {
	rs.refused.WithLabelValues(r.Reason).Inc()
	now := rs.cfg.Now().UTC().Truncate(time.Microsecond)
	if rs.count(r, now, nil) {
		return
	}
	// It seems to be the first. A digest over a large body is not computed under the lock.
	first := &refusalCount{first: now, content: r.content()}
	if len(r.Post.Subject) <= MaxSubject && utf8.ValidString(r.Post.Subject) {
		first.subject = r.Post.Subject
	}
	rs.count(r, now, first)
}

// count adds one to what is counted, or begins a count with first; false: it is to be called with one.
func (rs *Refusals) count(r *Refusal, now time.Time, first *refusalCount) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	k := refusalKey{r.Tenant, r.Key, r.Reason}
	c := rs.counts[k]
	if c == nil && rs.tenants[r.Tenant] >= MaxTenantRefusals {
		k.key = ""
		c = rs.counts[k]
	}
	switch {
	case c == nil && len(rs.counts) >= maxRefusals:
		rs.unrecorded.Inc()
		return true
	case c == nil && first == nil:
		return false
	case c == nil:
		c = first
		rs.put(k, c)
	}
	c.n++
	c.last = now
	return true
}

// put adds a count; rs.mu is held.
func (rs *Refusals) put(k refusalKey, c *refusalCount) {
	rs.counts[k] = c
	if k.key != "" {
		rs.tenants[k.tenant]++
	}
}

// content is what a record says of its first post: of what it said itself only what is within the limits of an event.
func (r *Refusal) content() domain.RefusalContent {
	c := domain.RefusalContent{Detail: r.Detail}
	if domain.ValidEventType(r.Post.Event) {
		c.Event = r.Post.Event
	}
	if domain.ValidEventID(r.Post.ID) {
		c.ID = r.Post.ID
	}
	if r.Body != nil {
		sum := sha256.Sum256(r.Body)
		c.Size, c.SHA256 = len(r.Body), hex.EncodeToString(sum[:])
	}
	return c
}
