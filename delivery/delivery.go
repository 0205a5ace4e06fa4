package delivery

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmmetrics "github.com/ThreeDotsLabs/watermill/components/metrics"
	"github.com/ThreeDotsLabs/watermill/message"
	lru "github.com/hashicorp/golang-lru/v2"
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
	// Take gives a due delivery of the endpoint: the earliest, and each second time one that is not late where there is
	// one. False: it has none, and is inactive until Activate names it again.
	Take(ep domain.EndpointKey, now time.Time) (domain.Due, bool)
	// TakeFresh gives a due delivery that is not late (domain.Due.Late). False: it has none, and is inactive; late says
	// that it has late ones. Activate then names it for one that is not, and Take may be asked before.
	TakeFresh(ep domain.EndpointKey, now time.Time) (d domain.Due, late, ok bool)
	// Return gives a delivery back that was not dealt with: it is due again at the given time.
	Return(d domain.Due, at time.Time)
	// Done says that the delivery was dealt with; whatever follows for it comes from the ledger.
	Done(d domain.Due)
	// Standing says where a delivery stands that waits, as its row says; false: it does not wait any more.
	Standing(ep domain.EndpointKey, delivery string) (domain.Standing, bool)
}

// Endpoints is this node's table of endpoints; what it gives is shared and immutable.
type Endpoints interface {
	Endpoint(tenant, id string) (*domain.Endpoint, bool)
}

// Gates says what an endpoint's health lets through. It is asked before each attempt, with a lock held: it is quick and
// never waits.
type Gates interface {
	Gate(tenant, endpoint string, now time.Time) domain.Gate
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
	Secret(ctx context.Context, keyID string) (domain.Secret, error)
}

// EgressConfig says where requests may go. Public addresses are always allowed, on any port unless AllowPorts is given.
type EgressConfig struct {
	AllowCIDR  []netip.Prefix // allowed on any port, although not public
	AllowPorts []uint16       // narrows public addresses to these ports
	Dev        bool           // allows loopback, on any port
	Roots      *x509.CertPool // of receivers and mail servers; nil: the system's
	Resolver   *net.Resolver  // looks names up; nil: Go's own, as the system's configuration says
}

// Defaults of Config. An attempt at a quick receiver spends nearly all its time waiting for the ledger's disk, twice:
// the window is sized for slow disks, not for the CPU.
const (
	DefaultWindow                 = 1024
	DefaultMaxInFlightPerEndpoint = 512
	DefaultShutdownGrace          = 20 * time.Second
)

// recordGrace is how long outcomes may take to be appended after the last request of a node that shuts down has ended.
const recordGrace = 10 * time.Second

// Config of a Delivery. Store, Backlog, Endpoints, Bodies, Vault, Now, NewID, Jitter and Node are needed.
type Config struct {
	Store     ledger.Store
	Backlog   Backlog
	Endpoints Endpoints
	Gates     Gates                   // nil: all are open
	HostLimit func(tenant string) int // attempts of a tenant at once to one host; nil: the default
	Bodies    Bodies
	Vault     Vault
	Room      func() error // refuses while the disk is nearly full; nil: never
	// Strained says that this node lacks CPU: replays then yield. It is asked by one goroutine at a time; nil: never.
	Strained func() bool
	Now      func() time.Time // wall clock of records and due times
	NewID    func() ulid.ULID
	Jitter   func() float64 // -1 to 1
	Node     string         // this process; no two lives share a name
	// Window bounds the attempts of all endpoints that are under way at once.
	Window int
	// MaxInFlightPerEndpoint bounds those of one endpoint which sets no bound itself.
	MaxInFlightPerEndpoint int
	// ShutdownGrace is how long attempts under way may still run when Run's context has ended.
	ShutdownGrace time.Duration
	Egress        EgressConfig
	// Dial reaches receivers in place of the guarded dialer: over a network that is simulated. nil: the guarded dialer.
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Logger   *slog.Logger          // nil: silent
	Metrics  prometheus.Registerer // nil: none
	Observer Observer              // nil: nobody
}

// Delivery runs the attempts. Make it with New, run it once.
type Delivery struct {
	cfg     Config
	log     *slog.Logger
	source  *Source
	sender  *sender
	metrics *metrics
	targets *lru.Cache[domain.EndpointKey, *target]

	// The contexts of the work and of recording it; both outlive Run's own, each by its grace.
	sending       context.Context
	stopSending   context.CancelFunc
	recording     context.Context
	stopRecording context.CancelFunc
	drain         chan struct{} // closed when Run's context has ended

	mu     sync.Mutex
	claims map[claim]struct{} // the deliveries that this node is dealing with
}

type claim struct{ tenant, delivery string }

// targetsKept bounds the opened URLs of endpoints.
const targetsKept = 10_000

// New checks the configuration, fills in its defaults and makes a Delivery that is not running yet.
func New(cfg Config) (*Delivery, error) {
	if cfg.Store == nil || cfg.Backlog == nil || cfg.Endpoints == nil || cfg.Bodies == nil || cfg.Vault == nil ||
		cfg.Now == nil || cfg.NewID == nil || cfg.Jitter == nil || cfg.Node == "" {
		return nil, errors.New("delivery: the configuration lacks a part that is needed")
	}
	cfg.Window = orDefault(cfg.Window, DefaultWindow)
	cfg.MaxInFlightPerEndpoint = orDefault(cfg.MaxInFlightPerEndpoint, DefaultMaxInFlightPerEndpoint)
	cfg.ShutdownGrace = orDefault(cfg.ShutdownGrace, DefaultShutdownGrace)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Delivery{cfg: cfg, log: cfg.Logger, source: newSource(&cfg), sender: newSender(&cfg),
		drain: make(chan struct{}), claims: map[claim]struct{}{}}
	var err error
	if d.metrics, err = newMetrics(cfg.Metrics, d.source.InUse, cfg.Window); err != nil {
		return nil, fmt.Errorf("delivery: register metrics: %w", err)
	}
	if d.targets, err = lru.NewWithEvict(targetsKept, d.forget); err != nil {
		return nil, fmt.Errorf("delivery: %w", err)
	}
	d.sending, d.stopSending = context.WithCancel(context.Background())
	d.recording, d.stopRecording = context.WithCancel(context.Background())
	return d, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Run delivers until ctx ends, and then ends in order: nothing more is taken; requests under way may finish for
// ShutdownGrace; what was not sent by then, or is not answered, is recorded as interrupted; then it returns nil. What
// could not even be recorded stays open on the ledger, for the next life to interrupt, and is an error.
func (d *Delivery) Run(ctx context.Context) error {
	defer d.sender.close()
	defer d.stopRecording()
	defer d.stopSending()
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: d.cfg.ShutdownGrace + 2*recordGrace},
		routerLog{d.log})
	if err != nil {
		return fmt.Errorf("delivery: make the router: %w", err)
	}
	if d.cfg.Metrics != nil {
		// The handler's times, as Watermill counts them; its decorator of a Subscriber would cost a goroutine a message.
		builder := wmmetrics.NewPrometheusMetricsBuilder(d.cfg.Metrics, "", "")
		router.AddMiddleware(builder.NewRouterMiddleware().Middleware)
	}
	router.AddConsumerHandler("attempt", "due", d.source, d.consume)

	ended := make(chan struct{})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		d.shutDown(ctx, ended)
	}()
	err = router.Run(ctx)
	close(ended)
	<-drained
	if err != nil {
		return fmt.Errorf("delivery: run the router: %w", err)
	}
	if ctx.Err() == nil {
		return errors.New("delivery: the router ended by itself")
	}
	if n := d.claimed(); n > 0 {
		return fmt.Errorf("delivery: %d attempts could not be recorded before the end", n)
	}
	return nil
}

// shutDown lets the work end in order when ctx has ended: first the requests, then their records.
func (d *Delivery) shutDown(ctx context.Context, ended <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-ended:
	}
	close(d.drain)
	if !waitFor(d.cfg.ShutdownGrace, ended) {
		d.stopSending()
	}
	if !waitFor(recordGrace, ended) {
		d.stopRecording()
	}
}

// waitFor says whether done came in time.
func waitFor(wait time.Duration, done <-chan struct{}) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

func (d *Delivery) draining() bool {
	select {
	case <-d.drain:
		return true
	default:
		return false
	}
}

// claim makes a delivery this message's own; false: another message of this node deals with it.
func (d *Delivery) claim(due domain.Due) bool {
	key := claim{due.Tenant, due.Delivery}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, taken := d.claims[key]; taken {
		return false
	}
	d.claims[key] = struct{}{}
	return true
}

func (d *Delivery) release(due domain.Due) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.claims, claim{due.Tenant, due.Delivery})
}

func (d *Delivery) claimed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.claims)
}

// routerLog lets only the Router's errors through: its traces would cost more than the rest of its work.
type routerLog struct{ log *slog.Logger }

func (l routerLog) Error(msg string, err error, _ watermill.LogFields) {
	l.log.Error("watermill: "+msg, "error", err)
}
func (l routerLog) Info(string, watermill.LogFields)                 {}
func (l routerLog) Debug(string, watermill.LogFields)                {}
func (l routerLog) Trace(string, watermill.LogFields)                {}
func (l routerLog) With(watermill.LogFields) watermill.LoggerAdapter { return l }
