package ingest

import (
	"context"
	"encoding/json"
	"errors"
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

// Config of an Ingest. Store, Vault and Directory are needed.
type Config struct {
	Store     ledger.Store
	Vault     Vault
	Directory Directory
	Room      func() error          // refuses when the disk is nearly full; nil: there is always room
	Now       func() time.Time      // nil: time.Now
	NewID     func() ulid.ULID      // nil: random ones of the present
	Bodies    *Bodies               // gets the content of what was accepted; may be nil
	Metrics   prometheus.Registerer // may be nil
}

// Post is an event as a producer hands it over.
type Post struct {
	Tenant         string
	Actor          domain.Actor
	ID             string // the producer's own id; empty: derived from IdempotencyKey, or new
	IdempotencyKey string
	Event          string // the type
	Timestamp      *time.Time
	Subject        string
	Source         string
	Sequence       *uint64
	Data           []byte // a JSON object; delivered byte for byte
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

// Result is one post's of a batch: a receipt or an error.
type Result struct {
	Receipt *Receipt
	Err     error
}

// Ingest takes posts. It is safe for concurrent use.
type Ingest struct{}

// New makes an Ingest; it starts nothing.
func New(cfg Config) *Ingest { return &Ingest{} }

// Post accepts an event. The receipt is given once the event is durable. A refusal is a *domain.Error; nothing was
// appended then, unless its code is "outcome_unknown": repeat the post with the id that it names.
func (in *Ingest) Post(ctx context.Context, p Post) (*Receipt, error) {
	return nil, errors.ErrUnsupported
}

// MaxBatch is the number of posts that PostBatch takes.
const MaxBatch = 1000

// PostBatch accepts up to MaxBatch posts, each on its own; the results stand in the order of the posts. Of two posts
// with one id the earlier wins.
func (in *Ingest) PostBatch(ctx context.Context, posts []Post) []Result { return nil }

// ParsePost reads {id?, event, timestamp?, subject?, source?, sequence?, data} strictly.
func ParsePost(body []byte) (Post, error) { return Post{}, errors.ErrUnsupported }

// CompileSchema says whether a JSON Schema can be used for an event type; nil can.
func CompileSchema(schema json.RawMessage) error { return errors.ErrUnsupported }

// Bodies keeps the opened content of events, the most recently used, within a bound of bytes.
type Bodies struct{}

// NewBodies makes one that reads what it does not hold from the ledger.
func NewBodies(r ledger.Reader, v Vault, maxBytes int64) *Bodies { return &Bodies{} }

// Event gives an event's content. Errors: vault.ErrErased and the vault's others, and a *domain.Error of KindNotFound.
func (b *Bodies) Event(ctx context.Context, tenant, event string) (domain.EventBody, error) {
	return domain.EventBody{}, errors.ErrUnsupported
}
