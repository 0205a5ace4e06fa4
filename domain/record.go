package domain

import (
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Fact is one thing that happened, named in the past tense. The set is closed: every fact that a binary knows is
// declared in this package, and Unknown stands for what only a newer one knows. Facts are immutable once appended and
// are always handled by pointer.
type Fact interface {
	// RecordType is the fact's name on the ledger, such as "EventReceived".
	RecordType() string
	// RecordVersion is the version of the shape that this binary writes; versions start at 1.
	RecordVersion() int
	fact()
}

// Unknown is a fact that this binary can't read: its type or version is newer. It is carried whole, so that a store can
// hand it on; a projection that meets one stops.
type Unknown struct {
	Type    string
	Version int
	Data    []byte
}

func (u *Unknown) RecordType() string { return u.Type }
func (u *Unknown) RecordVersion() int { return u.Version }
func (*Unknown) fact()                {}

// Record is a fact with its envelope. Records are immutable: whoever holds one, shares it.
type Record struct {
	ID         ulid.ULID // unique over all ledgers; the idempotency key of an append
	Stream     Stream
	Revision   Revision // place in the stream, from 0; set by the store
	Position   Position // place on the ledger; set by the store
	RecordedAt time.Time
	Tenant     string
	Actor      Actor
	// Correlation is the id of the event that all this is about, empty where there is none.
	Correlation string
	// Causation is the record that caused this one, zero where there is none.
	Causation ulid.ULID
	Fact      Fact
}

// Actor is who did it: kind "key" with an API key's id, or "system" with the name of the part that decided.
type Actor struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// ActorKey is the kind of the actors that API keys are.
const ActorKey = "key"

// ActorSource is the kind of the actors that sources are: what comes in from elsewhere by itself.
const ActorSource = "source"

// System is the actor of what the named part of hookledger does on its own.
func System(part string) Actor { return Actor{Kind: "system", ID: part} }

// Revision is a record's place in its stream, from 0. As an expectation it names the last record that the writer saw.
type Revision int64

// NoStream is the expectation that the stream has no record yet.
const NoStream Revision = -1

// Position is a record's place on the ledger: opaque and ordered, not dense. Zero stands before the first record.
type Position uint64

// Stream names a sequence of records that is written atomically: <category>-<tenant>.<id>.
type Stream string

// Categories of streams.
const (
	CategoryLedger   = "ledger"
	CategoryTenant   = "tenant"
	CategoryEndpoint = "endpoint"
	CategoryEvent    = "event"
	CategoryDelivery = "delivery"
	CategoryAccess   = "access"
	CategorySource   = "source"
	CategoryPoll     = "poll"
	CategoryReplay   = "replay"

	CategoryReconciliation = "reconciliation"
	CategoryRefusal        = "refusal"
)

// Categories are all of them: what a ledger's streams begin with.
func Categories() []string {
	return []string{CategoryLedger, CategoryTenant, CategoryEndpoint, CategoryEvent, CategoryDelivery, CategoryAccess,
		CategorySource, CategoryPoll, CategoryReplay, CategoryReconciliation, CategoryRefusal}
}

// LedgerStream holds LedgerCreated, the first record of every ledger.
const LedgerStream Stream = "ledger-system.0"

// NewStream names the stream of one thing of a tenant. The platform's own ("*") stand under "system".
func NewStream(category, tenant, id string) Stream {
	if tenant == AnyTenant {
		tenant = SystemTenant
	}
	return Stream(category + "-" + tenant + "." + id)
}

func EventStream(tenant, id string) Stream    { return NewStream(CategoryEvent, tenant, id) }
func DeliveryStream(tenant, id string) Stream { return NewStream(CategoryDelivery, tenant, id) }
func EndpointStream(tenant, id string) Stream { return NewStream(CategoryEndpoint, tenant, id) }
func TenantStream(tenant string) Stream       { return NewStream(CategoryTenant, tenant, "0") }
func KeyStream(tenant, id string) Stream      { return NewStream(CategoryAccess, tenant, id) }
func SourceStream(tenant, id string) Stream   { return NewStream(CategorySource, tenant, id) }
func PollStream(tenant, id string) Stream     { return NewStream(CategoryPoll, tenant, id) }
func ReplayStream(tenant, id string) Stream   { return NewStream(CategoryReplay, tenant, id) }

func ReconciliationStream(tenant, id string) Stream {
	return NewStream(CategoryReconciliation, tenant, id)
}

// Category is the part before the first dash.
func (s Stream) Category() string {
	c, _, _ := strings.Cut(string(s), "-")
	return c
}

// Tenant is the part between the first dash and the first dot.
func (s Stream) Tenant() string {
	_, rest, _ := strings.Cut(string(s), "-")
	t, _, _ := strings.Cut(rest, ".")
	return t
}

// ID is the part behind the first dot.
func (s Stream) ID() string {
	_, id, _ := strings.Cut(string(s), ".")
	return id
}

// Valid says whether the name has all three parts.
func (s Stream) Valid() bool { return s.Category() != "" && s.Tenant() != "" && s.ID() != "" }

// Sealed is content encrypted with AES-256-GCM under the data key that KeyID names. Destroying that key erases the
// content while the record and every hash over it stay.
type Sealed struct {
	KeyID      string `json:"key_id"`
	Nonce      []byte `json:"nonce"`
	Ciphertext []byte `json:"ciphertext"`
}

// Empty says that nothing was sealed.
func (s *Sealed) Empty() bool { return s == nil || s.KeyID == "" }

// Stamp is what a decision needs of the world: the time, who acts, and the id of the first record that comes of it. The
// id of record i is Base plus i, so that content can be sealed for a record before it is decided.
type Stamp struct {
	At    time.Time
	Base  ulid.ULID
	Actor Actor
}

// Records puts facts into envelopes: one tenant and stream, ids from Base upwards, each caused by the one before it,
// and the first by cause.
func (s Stamp) Records(stream Stream, tenant, correlation string, cause ulid.ULID, facts ...Fact) []Record {
	out := make([]Record, len(facts))
	for i, f := range facts {
		out[i] = Record{ID: IDAt(s.Base, i), Stream: stream, RecordedAt: s.At, Tenant: tenant, Actor: s.Actor,
			Correlation: correlation, Causation: cause, Fact: f}
		cause = out[i].ID
	}
	return out
}
