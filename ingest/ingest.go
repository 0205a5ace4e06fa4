package ingest

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// Directory knows the tenants' configuration as of now.
type Directory interface {
	Routing(tenant string) (*domain.Routing, bool)
}

// Vault seals and opens content; *vault.Vault is one.
type Vault interface {
	DataKey(ctx context.Context, s vault.Scope) (keyID string, err error)
	Seal(ctx context.Context, keyID string, p vault.Place, plaintext []byte) (*domain.Sealed, error)
	Open(ctx context.Context, p vault.Place, s *domain.Sealed) ([]byte, error)
	// Erasures counts destroyed keys; opened content that was kept is dropped when it changes.
	Erasures() uint64
}

var _ Vault = (*vault.Vault)(nil)

// Config of an Ingest. Store, Vault and Directory are needed.
type Config struct {
	Store     ledger.Store
	Vault     Vault
	Directory Directory
	Room      func() error          // refuses when the disk is nearly full; nil: there is always room
	Now       func() time.Time      // nil: time.Now
	NewID     func() ulid.ULID      // must leave a gap behind each id, as random ones do; nil: random ones
	Bodies    *Bodies               // gets the content of what was accepted; may be nil
	Metrics   prometheus.Registerer // may be nil
	Observer  Observer              // may be nil
	// Within is how long the ledger may take for a post, or for a batch; 0: DefaultWithin. Whoever waits longer is
	// answered that the outcome is not known, and repeats the post.
	Within time.Duration
}

// DefaultWithin is enough for a cluster to find another leader, and less than producers wait.
const DefaultWithin = 20 * time.Second

// Post is an event as a producer hands it over.
type Post struct {
	Tenant         string
	Actor          domain.Actor
	ID             string // the producer's own id; empty: derived from IdempotencyKey, or new
	IdempotencyKey string
	// IdempotencyIndex is the place in the batch that the key was given for: the id derives from both. nil: no batch.
	IdempotencyIndex *int
	Event            string     // the type
	Timestamp        *time.Time // when it happened; nil: now
	Subject          string     // whom it is about: what may have to be erased together
	Source           string
	Sequence         *uint64 // the producer's own number within Source
	Data             []byte  // a JSON object; delivered byte for byte, so it must not be changed any more
}

// Receipt is the answer to a post that was accepted, now or before.
type Receipt struct {
	ID         string
	Event      string
	Timestamp  time.Time
	Duplicate  bool // it was accepted before; the other fields are the first result's
	Erased     bool // and its content was erased since
	Position   domain.Position
	Deliveries []domain.Match
}

// Ingest takes posts. It is safe for concurrent use.
type Ingest struct {
	store   ledger.Store
	vault   Vault
	dir     Directory
	room    func() error
	now     func() time.Time
	newID   func() ulid.ULID
	bodies  *Bodies
	schemas *schemas
	posts   counts
	seen    Observer
	within  time.Duration
	rates   rates
}

// New makes an Ingest; it starts nothing.
func New(cfg Config) *Ingest {
	in := &Ingest{store: cfg.Store, vault: cfg.Vault, dir: cfg.Directory, room: cfg.Room, now: cfg.Now, newID: cfg.NewID,
		bodies: cfg.Bodies, schemas: newSchemas(), posts: newCounts(cfg.Metrics), seen: cfg.Observer}
	if in.room == nil {
		in.room = func() error { return nil }
	}
	if in.now == nil {
		in.now = time.Now
	}
	if in.newID == nil {
		in.newID = in.randomID
	}
	if in.within = cfg.Within; in.within <= 0 {
		in.within = DefaultWithin
	}
	return in
}

func (in *Ingest) randomID() ulid.ULID {
	var u ulid.ULID
	_, _ = rand.Read(u[6:]) // never fails
	_ = u.SetTime(uint64(max(in.now().UnixMilli(), 0)))
	return u
}
