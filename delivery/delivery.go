package delivery

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// Backlog holds the deliveries that wait for an attempt. It is safe for concurrent use. A delivery that was taken is
// nobody else's until it is returned or done.
type Backlog interface {
	// Changed has a signal (capacity 1) whenever Activate may give more than it last did.
	Changed() <-chan struct{}
	// Activate names the endpoints that came to hold something due and are not active; they are active from then on.
	// next is when the next one will, zero where that is unknown or never.
	Activate(now time.Time) (active []domain.EndpointKey, next time.Time)
	// Take gives the endpoint's earliest due delivery. False: it has none, and is inactive until Activate names it again.
	Take(ep domain.EndpointKey, now time.Time) (domain.Due, bool)
	// Return gives a delivery back that was not dealt with: it is due again at the given time.
	Return(d domain.Due, at time.Time)
	// Done says that the delivery was dealt with; whatever follows for it comes from the ledger.
	Done(d domain.Due)
}

// Endpoints is this node's table of endpoints; what it gives is shared and immutable.
type Endpoints interface {
	Endpoint(tenant, id string) (*domain.Endpoint, bool)
}

// Bodies opens events. An erased one gives vault.ErrErased.
type Bodies interface {
	Event(ctx context.Context, tenant, event string) (domain.EventBody, error)
}

// Vault is the part of the vault that an attempt needs.
type Vault interface {
	Open(ctx context.Context, p vault.Place, s *domain.Sealed) ([]byte, error)
	Seal(ctx context.Context, keyID string, p vault.Place, plaintext []byte) (*domain.Sealed, error)
	SigningKey(ctx context.Context, keyID string) ([]byte, error)
}

// EgressConfig says where requests may go. Public addresses are always allowed, on any port unless AllowPorts is given.
type EgressConfig struct {
	AllowCIDR  []netip.Prefix // allowed on any port, although not public
	AllowPorts []uint16       // narrows public addresses to these ports
	Dev        bool           // allows loopback, on any port
}

// Defaults of Config.
const (
	DefaultWindow                 = 256
	DefaultMaxInFlightPerEndpoint = 256
	DefaultShutdownGrace          = 20 * time.Second
)

// recordGrace is how long outcomes may take to be appended after the last request of a node that shuts down has ended.
const recordGrace = 10 * time.Second

// Config of a Delivery. Store, Backlog, Endpoints, Bodies, Vault, Now, NewID, Jitter and Node are needed.
type Config struct {
	Store     ledger.Store
	Backlog   Backlog
	Endpoints Endpoints
	Bodies    Bodies
	Vault     Vault
	Room      func() error     // refuses while the disk is nearly full; nil: never
	Now       func() time.Time // wall clock of records and due times
	NewID     func() ulid.ULID
	Jitter    func() float64 // -1 to 1
	Node      string         // this process; no two lives share a name
	// Window bounds the attempts of all endpoints that are under way at once.
	Window int
	// MaxInFlightPerEndpoint bounds those of one endpoint which sets no bound itself.
	MaxInFlightPerEndpoint int
	// ShutdownGrace is how long attempts under way may still run when Run's context has ended.
	ShutdownGrace time.Duration
	Egress        EgressConfig
	Logger        *slog.Logger          // nil: silent
	Metrics       prometheus.Registerer // nil: none
}

// Delivery runs the attempts. Make it with New, run it once.
type Delivery struct {
	cfg Config
}

// New checks the configuration and makes a Delivery that is not running yet.
func New(cfg Config) (*Delivery, error) {
	if cfg.Store == nil || cfg.Backlog == nil || cfg.Endpoints == nil || cfg.Bodies == nil || cfg.Vault == nil ||
		cfg.Now == nil || cfg.NewID == nil || cfg.Jitter == nil || cfg.Node == "" {
		return nil, errors.New("delivery: the configuration lacks a part that is needed")
	}
	return &Delivery{cfg: cfg}, nil
}

// Run delivers until ctx ends.
func (d *Delivery) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
