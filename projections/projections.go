package projections

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/ledger"
)

// Config is what projections need.
type Config struct {
	Dir        string // where the rows stand, in projections.db
	Store      ledger.Reader
	Now        func() time.Time      // nil: time.Now
	Metrics    prometheus.Registerer // nil: none
	Logger     *slog.Logger          // nil: none
	FlushEvery time.Duration         // how long records may wait for their transaction; 0: 100 ms
	FlushSize  int                   // records of one transaction; 0: 20,000
}

// Projections are all read models of one node. All methods are safe for concurrent use.
type Projections struct {
	cfg       Config
	directory *Directory
	backlog   *Backlog
}

// Directory gives the configuration in memory.
func (p *Projections) Directory() *Directory { return p.directory }

// Backlog gives the deliveries that wait.
func (p *Projections) Backlog() *Backlog { return p.backlog }

// Open opens the rows in cfg.Dir, folds what they lack, and loads what is held in memory. Rows that are damaged, of
// another ledger or of another schema are folded anew; Status says so. Close releases them.
func Open(ctx context.Context, cfg Config) (*Projections, error) {
	return &Projections{cfg: cfg, directory: &Directory{}, backlog: &Backlog{}}, ctx.Err()
}

// Run follows the ledger until ctx ends, which is no error, or a projection stops.
func (p *Projections) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close releases the database. Run must have returned.
func (p *Projections) Close() error { return nil }

// WaitFor returns once the rows hold every record up to the position; it does not wait for the next flush but causes it.
func (p *Projections) WaitFor(ctx context.Context, pos domain.Position) error { return ctx.Err() }

// Status says where each projection stands.
func (p *Projections) Status() []ProjectionStatus { return nil }

// Digest is a hash over all rows in order: equal for any two folds of the same records.
func (p *Projections) Digest(ctx context.Context) (string, error) { return "", ctx.Err() }

// Rebuilt is what Rebuild did.
type Rebuilt struct {
	Position domain.Position
	Took     time.Duration
	Digest   string
}

// Rebuild folds the rows anew into a fresh file, which then takes the place of the old one. Nothing else may have them
// open.
func Rebuild(ctx context.Context, cfg Config) (Rebuilt, error) { return Rebuilt{}, ctx.Err() }

// Events lists events.
func (p *Projections) Events(ctx context.Context, f EventFilter) (Page[EventRow], error) {
	return Page[EventRow]{}, ctx.Err()
}

// Event gives one event; a *domain.Error of KindNotFound where the tenant has none of that id on the ledger by now.
func (p *Projections) Event(ctx context.Context, tenant, id string) (EventRow, error) {
	return EventRow{}, ctx.Err()
}

// EventDeliveries gives an event's deliveries, by endpoint.
func (p *Projections) EventDeliveries(ctx context.Context, tenant, event string) ([]DeliveryRow, error) {
	return nil, ctx.Err()
}

// Deliveries lists deliveries.
func (p *Projections) Deliveries(ctx context.Context, f DeliveryFilter) (Page[DeliveryRow], error) {
	return Page[DeliveryRow]{}, ctx.Err()
}

// Delivery gives one delivery, likewise.
func (p *Projections) Delivery(ctx context.Context, tenant, id string) (DeliveryRow, error) {
	return DeliveryRow{}, ctx.Err()
}

// Attempts lists attempts.
func (p *Projections) Attempts(ctx context.Context, f AttemptFilter) (Page[AttemptRow], error) {
	return Page[AttemptRow]{}, ctx.Err()
}

// Attempt gives one attempt, likewise.
func (p *Projections) Attempt(ctx context.Context, tenant, id string) (AttemptRow, error) {
	return AttemptRow{}, ctx.Err()
}
