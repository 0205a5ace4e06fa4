package domain

import (
	"encoding/json"
	"time"

	"github.com/oklog/ulid/v2"
)

// LedgerCreated is the first record of every ledger.
type LedgerCreated struct {
	LedgerID string `json:"ledger_id"`
	Format   int    `json:"format"` // of the records; a binary refuses a newer one
}

// TenantSettings is what a tenant can set.
type TenantSettings struct {
	// AcceptUnknownTypes takes events of types that nobody registered; they are marked, and not checked.
	AcceptUnknownTypes bool `json:"accept_unknown_types,omitempty"`
	// TextSearch keeps an index of what the tenant's events say, in plain text beside the ledger, to be searched.
	TextSearch bool `json:"text_search,omitempty"`
	// Limits of the tenant, which only a platform key changes; 0: the default, see limits.go.
	IngestRate         float64 `json:"ingest_rate,omitempty"` // events per second; 0: no limit
	MaxEndpoints       int     `json:"max_endpoints,omitempty"`
	MaxInFlightPerHost int     `json:"max_in_flight_per_host,omitempty"`
}

type TenantRegistered struct {
	Name     string         `json:"name"`
	Settings TenantSettings `json:"settings"`
}

// TenantReconfigured carries the whole new settings.
type TenantReconfigured struct {
	Settings TenantSettings `json:"settings"`
}

// EventTypeRegistered adds an event type, or a new version of it, to the tenant in whose stream it stands.
type EventTypeRegistered struct {
	Type        string          `json:"type"`
	Version     int             `json:"version"` // of the schema, from 1
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"` // JSON Schema of data; absent: any object
	Example     json.RawMessage `json:"example,omitempty"`
}

// EndpointConfig is a whole configuration; each change of an endpoint carries the whole new one. The URL's path and
// query are sealed, because some services put a capability there.
type EndpointConfig struct {
	Kind          string            `json:"kind"` // EndpointWebhook, ...
	Scheme        string            `json:"scheme"`
	Host          string            `json:"host"`    // with the port where the URL had one
	Content       *Sealed           `json:"content"` // EndpointContent
	Description   string            `json:"description,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	EventTypes    []string          `json:"event_types"` // patterns
	RetrySchedule []Duration        `json:"retry_schedule"`
	Timeout       Duration          `json:"timeout"`
	RateLimit     float64           `json:"rate_limit,omitempty"`    // requests per second; 0: no limit
	MaxInFlight   int               `json:"max_in_flight,omitempty"` // 0: the server's default
	Ordered       bool              `json:"ordered,omitempty"`       // one after the other, in the order of the ledger
	OnExhausted   string            `json:"on_exhausted,omitempty"`  // OnExhaustedContinue where it is empty
	Signing       Signing           `json:"signing"`
	Headers       []SecretHeader    `json:"headers,omitempty"` // of the endpoint's own, beside ours
	Auth          *ReceiverAuth     `json:"auth,omitempty"`
	ClientCert    *ClientCert       `json:"client_cert,omitempty"`
	Legacy        *LegacySigning    `json:"legacy_signature,omitempty"`
	Credential    *VaultRef         `json:"credential,omitempty"` // Telegram's bot token, the login of a mail server

	// DisableAfter so long of nothing but failures the endpoint is disabled. Nil: the server's default; 0: never.
	DisableAfter *Duration `json:"disable_after,omitempty"`
	// Channel "url" marks a webhook as a channel of cron outputs; see ChannelName.
	Channel string `json:"channel,omitempty"`
}

// EndpointContent is what an EndpointConfig seals: the URL's path and query, "/hook?k=v", and whom a message goes to.
type EndpointContent struct {
	Path  string        `json:"path"`
	Chat  string        `json:"chat,omitempty"`  // of EndpointTelegram
	Email *EmailContent `json:"email,omitempty"` // of EndpointEmail
}

type EndpointRegistered struct {
	Config EndpointConfig `json:"config"`
}

// EndpointReconfigured carries the whole new configuration.
type EndpointReconfigured struct {
	Config EndpointConfig `json:"config"`
}

// Reasons of EndpointDisabled.
const (
	DisabledManual  = "manual"
	DisabledGone    = "gone"    // the receiver answered 410
	DisabledFailing = "failing" // nothing but failures for disable_after
)

// EndpointDisabled holds the endpoint's deliveries back until it is enabled.
type EndpointDisabled struct {
	Reason   string    `json:"reason"`
	Evidence ulid.ULID `json:"evidence,omitzero"` // the answer or failure that led to it
	// Of the row of failures that Evidence ends: the record that began it, when that was recorded, and how many.
	First    ulid.ULID `json:"first,omitzero"`
	Since    time.Time `json:"since,omitzero"`
	Failures int       `json:"failures,omitempty"`
}

type EndpointEnabled struct{}

// EndpointRemoved ends the endpoint, and every delivery to it that has no open attempt.
type EndpointRemoved struct{}

// KeyIssued is an API key: its prefix to recognise it by, and the SHA-256 of its 256 random bits.
type KeyIssued struct {
	Name      string    `json:"name,omitempty"`
	Prefix    string    `json:"prefix"`
	Hash      []byte    `json:"hash"`
	Role      Role      `json:"role"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

type KeyRevoked struct{}

func (*LedgerCreated) RecordType() string        { return "LedgerCreated" }
func (*TenantRegistered) RecordType() string     { return "TenantRegistered" }
func (*TenantReconfigured) RecordType() string   { return "TenantReconfigured" }
func (*EventTypeRegistered) RecordType() string  { return "EventTypeRegistered" }
func (*EndpointRegistered) RecordType() string   { return "EndpointRegistered" }
func (*EndpointReconfigured) RecordType() string { return "EndpointReconfigured" }
func (*EndpointDisabled) RecordType() string     { return "EndpointDisabled" }
func (*EndpointEnabled) RecordType() string      { return "EndpointEnabled" }
func (*EndpointRemoved) RecordType() string      { return "EndpointRemoved" }
func (*KeyIssued) RecordType() string            { return "KeyIssued" }
func (*KeyRevoked) RecordType() string           { return "KeyRevoked" }

func (*LedgerCreated) RecordVersion() int        { return 1 }
func (*TenantRegistered) RecordVersion() int     { return 1 }
func (*TenantReconfigured) RecordVersion() int   { return 1 }
func (*EventTypeRegistered) RecordVersion() int  { return 1 }
func (*EndpointRegistered) RecordVersion() int   { return 1 }
func (*EndpointReconfigured) RecordVersion() int { return 1 }
func (*EndpointDisabled) RecordVersion() int     { return 1 }
func (*EndpointEnabled) RecordVersion() int      { return 1 }
func (*EndpointRemoved) RecordVersion() int      { return 1 }
func (*KeyIssued) RecordVersion() int            { return 1 }
func (*KeyRevoked) RecordVersion() int           { return 1 }

func (*LedgerCreated) fact()        {}
func (*TenantRegistered) fact()     {}
func (*TenantReconfigured) fact()   {}
func (*EventTypeRegistered) fact()  {}
func (*EndpointRegistered) fact()   {}
func (*EndpointReconfigured) fact() {}
func (*EndpointDisabled) fact()     {}
func (*EndpointEnabled) fact()      {}
func (*EndpointRemoved) fact()      {}
func (*KeyIssued) fact()            {}
func (*KeyRevoked) fact()           {}
