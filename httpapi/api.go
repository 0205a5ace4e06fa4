package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"hookledger/audit/reconcile"
	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
	"hookledger/projections"
	"hookledger/vault"
)

// Directory is the configuration of all tenants in memory; *projections.Directory is one.
type Directory interface {
	Routing(tenant string) (*domain.Routing, bool)
	Endpoint(tenant, id string) (*domain.Endpoint, bool)
	Tenants() []*domain.Tenant
	Key(hash [32]byte) (*domain.APIKey, bool)
	Keys(tenant string) []*domain.APIKey
	Source(tenant, id string) (*domain.Source, bool)
	Sources(tenant string) []*domain.Source
	CronSource(hash [32]byte) (*domain.Source, bool)
	// WaitFor returns once the directory holds every record up to the position.
	WaitFor(ctx context.Context, pos domain.Position) error
}

// History answers for what happened; *projections.Projections is one.
type History interface {
	Events(ctx context.Context, f projections.EventFilter) (projections.Page[projections.EventRow], error)
	Deliveries(ctx context.Context, f projections.DeliveryFilter) (projections.Page[projections.DeliveryRow], error)
	Delivery(ctx context.Context, tenant, id string) (projections.DeliveryRow, error)
	EventDeliveries(ctx context.Context, tenant, event string) ([]projections.DeliveryRow, error)
	Attempts(ctx context.Context, f projections.AttemptFilter) (projections.Page[projections.AttemptRow], error)
	Attempt(ctx context.Context, tenant, id string) (projections.AttemptRow, error)
	Replays(ctx context.Context, f projections.ReplayFilter) (projections.Page[domain.Replay], error)
	Replay(ctx context.Context, tenant, id string) (domain.Replay, error)
	ReplayProgress(ctx context.Context, tenant, id string) (domain.ReplayProgress, error)
	ServiceLevels(ctx context.Context, f projections.ServiceLevelFilter) (projections.ServiceLevels, error)
	// SourceEvents gives what came from a tenant's sources, of those from which anything did.
	SourceEvents(ctx context.Context, tenant string) (map[string]projections.SourceEvents, error)
	Refusals(ctx context.Context, f projections.RefusalFilter) (projections.Page[domain.Refusal], error)
	Reconciliations(ctx context.Context, l projections.List) (projections.Page[domain.Reconciliation], error)
	Reconciliation(ctx context.Context, tenant, id string) (domain.Reconciliation, error)
	// ReconciliationsOf gives the runs of a period that stand at or before the position, the first one first.
	ReconciliationsOf(ctx context.Context, tenant string, rules *domain.ReconciliationRules,
		upTo domain.Position) ([]domain.Reconciliation, error)
	// AsOf is the tenant's last record that the rows hold.
	AsOf(ctx context.Context, tenant string) (domain.Position, domain.RecordRef, error)
	EndpointAt(ctx context.Context, tenant, id string, cut projections.Cut) (*domain.Endpoint, bool, error)
	RoutingAt(ctx context.Context, tenant string, cut projections.Cut) (*domain.Routing, bool, error)
	EndpointHealth(ctx context.Context, tenant, id string) (projections.HealthView, error)
	HealthAt(ctx context.Context, tenant, id string, cut projections.Cut) (projections.HealthView, error)
	OpenAt(ctx context.Context, f projections.OpenFilter) (projections.Page[projections.DeliveryRow], error)
	Status() []projections.ProjectionStatus
	// WaitFor returns once the rows hold every record up to the position.
	WaitFor(ctx context.Context, pos domain.Position) error
}

// Ingest takes events; *ingest.Ingest is one.
type Ingest interface {
	Post(ctx context.Context, p ingest.Post) (*ingest.Receipt, error)
	PostBatch(ctx context.Context, posts []ingest.Post) []ingest.Result
}

// Vault seals and opens content; *vault.Vault is one.
type Vault interface {
	DataKey(ctx context.Context, s vault.Scope) (keyID string, err error)
	Seal(ctx context.Context, keyID string, p vault.Place, plaintext []byte) (*domain.Sealed, error)
	Open(ctx context.Context, p vault.Place, s *domain.Sealed) ([]byte, error)
	NewSigningSecret(ctx context.Context, tenant string) (domain.Signing, domain.Secret, error)
	NewSigningPair(ctx context.Context, tenant string) (domain.Signing, error)
	PutSigningSecret(ctx context.Context, tenant string, secret domain.Secret) (domain.Signing, error)
	PutSecret(ctx context.Context, tenant string, secret domain.Secret) (domain.VaultRef, error)
	Secret(ctx context.Context, keyID string) (domain.Secret, error)
	Destroy(ctx context.Context, keyID string) error
}

var (
	_ Directory   = (*projections.Directory)(nil)
	_ Projections = (*projections.Projections)(nil)
	_ Ingest      = (*ingest.Ingest)(nil)
	_ Vault       = (*vault.Vault)(nil)
)

// Projections are the read models; *projections.Projections are.
type Projections interface {
	History
	reconcile.Rows
	Directory() *projections.Directory
}

// Config is what the API needs. Store, Vault, Ingest, Projections, Replays, Now and NewID are required.
type Config struct {
	Store       ledger.Store
	Vault       Vault
	Ingest      Ingest
	Projections Projections
	Replays     Replays
	Now         func() time.Time
	NewID       func() ulid.ULID // ids of records and resources

	// Texts find events by what they say; nil: this node has no index.
	Texts Texts
	// Refusals count the posts that are refused; nil: only the metrics of ingest do.
	Refusals Refusals
	// Polls are this node's pollers of sources; nil: it polls none.
	Polls Polls
	// Dispatch decides on this node what is sent next; nil: nothing is, and nothing is said of what waits.
	Dispatch Dispatch
	// Egress says where endpoints may be: one whose address is a literal denied one is refused.
	Egress delivery.EgressConfig
	Room   func() error // refuses writes when the disk is nearly full; nil: there is always room
	// Space is what the disk has free and what must be, in bytes; nil: that is not known.
	Space   func() (free, low uint64, known bool)
	Ready   func() error // says why the node can't serve; nil: it can
	Version string       // of the binary
	// FollowUps says how what follows from deliveries is doing, for /readyz; nil: nothing is said.
	FollowUps func() string
	// LedgerID is shown by /readyz, so that an operator sees which ledger answers.
	LedgerID string
	Logger   *slog.Logger // internal errors; nil: slog.Default
	// Registry gets the API's counters, and is what /metrics shows; nil: one of its own.
	Registry *prometheus.Registry
	// HideMetrics leaves /metrics out: NewAdmin serves it on an address of its own.
	HideMetrics bool
	Patience    time.Duration // how long a read waits for what was written before it; 0: DefaultPatience
}

// DefaultPatience is how long a read waits for the read models at most.
const DefaultPatience = 5 * time.Second

func (c *Config) validate() error {
	switch {
	case c.Store == nil, c.Vault == nil, c.Ingest == nil, c.Projections == nil, c.Replays == nil:
		return errors.New("httpapi: the config lacks the store, the vault, ingest, the projections or the replays")
	case c.Now == nil, c.NewID == nil:
		return errors.New("httpapi: the config lacks a clock or a source of ids")
	}
	if c.Room == nil {
		c.Room = func() error { return nil }
	}
	if c.Space == nil {
		c.Space = func() (uint64, uint64, bool) { return 0, 0, false }
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Patience <= 0 {
		c.Patience = DefaultPatience
	}
	if c.Version == "" {
		c.Version = "0.0.0-dev"
	}
	return nil
}

type api struct {
	Config
	Directory Directory
	History   History
	mux       *guardedMux
	huma      huma.API
	creating  tenantLocks // held while an endpoint is created
	later     []func()    // what is documented once all schemas are described
	// openapi is the document. It is written when somebody asks for it: that takes longer than all else of a start.
	openapi func() ([]byte, error)
}

// New makes the API's handler. It starts nothing; a request's context ends the streams of records, so a server that
// shuts down ends its base context first.
func New(cfg Config) (http.Handler, error) {
	a, err := build(cfg)
	if err != nil {
		return nil, err
	}
	return a.mux, nil
}

// stamp is a decision's time, actor and first record id.
func (a *api) stamp(c *caller) domain.Stamp {
	return domain.Stamp{At: a.Now().UTC(), Base: a.NewID(), Actor: c.actor()}
}

// patient bounds how long a request waits for a read model.
func (a *api) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, a.Patience, errBehind)
}

var errBehind = newProblem(http.StatusServiceUnavailable, "read_model_behind",
	"the read models have not caught up with the ledger yet: repeat the request")

// rowsAt waits until the rows hold everything up to the position.
func (a *api) rowsAt(ctx context.Context, pos domain.Position) error {
	return a.wait(ctx, pos, a.History.WaitFor)
}

// configAt waits until this node's tables hold everything up to the position: what was changed there decides from then
// on.
func (a *api) configAt(ctx context.Context, pos domain.Position) error {
	return a.wait(ctx, pos, a.Directory.WaitFor)
}

// checkPosition refuses a position behind the end: it is no ledger's, or another one's.
func (a *api) checkPosition(pos domain.Position) error {
	if head := a.Store.Head(); pos > head {
		return newProblem(http.StatusBadRequest, "invalid_position",
			"the ledger ends at "+strconv.FormatUint(uint64(head), 10)+", before the position that is asked for: "+
				"use a position that an answer of this ledger named")
	}
	return nil
}

func (a *api) wait(ctx context.Context, pos domain.Position,
	waitFor func(context.Context, domain.Position) error) error {
	if pos == 0 {
		return nil
	}
	if err := a.checkPosition(pos); err != nil {
		return err
	}
	bounded, cancel := a.patient(ctx)
	defer cancel()
	err := waitFor(bounded, pos)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(bounded), errBehind) {
		return errBehind
	}
	return err
}

// lookAgain asks a read model, and where it says "not found" asks once more when it holds what is on the ledger now:
// what an answer has named is never missing afterwards.
func lookAgain[T any](ctx context.Context, a *api, wait func(context.Context, domain.Position) error,
	ask func() (T, error)) (T, error) {
	got, err := ask()
	var refusal *domain.Error
	if err == nil || !errors.As(err, &refusal) || refusal.Kind != domain.KindNotFound {
		return got, err
	}
	if err := wait(ctx, a.Store.Head()); err != nil {
		return got, err
	}
	return ask()
}
