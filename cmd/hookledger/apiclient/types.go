package apiclient

import (
	"encoding/json"
	"strconv"
	"time"
)

// The resources' fields that commands print or decide on; an Item keeps the rest.

type Tenant struct {
	Name     string `json:"name"`
	Revision int64  `json:"revision"`
	Settings struct {
		AcceptUnknownTypes bool    `json:"accept_unknown_types"`
		TextSearch         bool    `json:"text_search"`
		IngestRate         float64 `json:"ingest_rate"`
		MaxEndpoints       int     `json:"max_endpoints"`
		MaxInFlightPerHost int     `json:"max_in_flight_per_host"`
	} `json:"settings"`
}

type Key struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Tenant    string     `json:"tenant"`
	Prefix    string     `json:"prefix"`
	Role      string     `json:"role"`
	Status    string     `json:"status"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
	RevokedAt *time.Time `json:"revoked_at"`
	Key       string     `json:"key"` // shown once, by the answer that made it
}

type Endpoint struct {
	ID             string            `json:"id"`
	Kind           string            `json:"kind"`
	Telegram       *TelegramTarget   `json:"telegram"`
	Email          *EmailTarget      `json:"email"`
	URL            string            `json:"url"`
	EventTypes     []string          `json:"event_types"`
	Description    string            `json:"description"`
	Metadata       map[string]string `json:"metadata"`
	RetrySchedule  []string          `json:"retry_schedule"`
	Timeout        string            `json:"timeout"`
	RateLimit      float64           `json:"rate_limit"`
	MaxInFlight    int               `json:"max_in_flight"`
	Ordered        bool              `json:"ordered"`
	OnExhausted    string            `json:"on_exhausted"`
	DisableAfter   string            `json:"disable_after"`
	Channel        string            `json:"channel"`
	Status         string            `json:"status"`
	DisabledReason string            `json:"disabled_reason"`
	Revision       int64             `json:"revision"`
	CreatedAt      time.Time         `json:"created_at"`
	UpdatedAt      time.Time         `json:"updated_at"`
	Warnings       []string          `json:"warnings"`
	Secret         string            `json:"secret"` // shown once, by the answer that made it
	Signing        Signing           `json:"signing"`
	Headers        map[string]string `json:"headers"`
	Auth           *struct {
		Type string `json:"type"`
	} `json:"auth"`
	ClientCert *struct {
		Subject  string    `json:"subject"`
		NotAfter time.Time `json:"not_after"`
		Expired  bool      `json:"expired"`
	} `json:"client_cert"`
	Legacy *struct {
		Header string `json:"header"`
		Prefix string `json:"prefix"`
	} `json:"legacy_signature"`
}

// Signing is how an endpoint's requests are signed.
type Signing struct {
	Scheme    string `json:"scheme"`
	KeyID     string `json:"key_id"`
	PublicKey string `json:"public_key"`
	Previous  []struct {
		KeyID      string    `json:"key_id"`
		Scheme     string    `json:"scheme"`
		ValidUntil time.Time `json:"valid_until"`
	} `json:"previous"`
}

// SigningKey is a key that signs an endpoint's requests.
type SigningKey struct {
	KeyID       string    `json:"key_id"`
	Scheme      string    `json:"scheme"`
	Status      string    `json:"status"`
	Fingerprint string    `json:"fingerprint"`
	PublicKey   string    `json:"public_key"`
	ValidUntil  time.Time `json:"valid_until"`
}

type Event struct {
	ID            string          `json:"id"`
	Event         string          `json:"event"`
	Timestamp     time.Time       `json:"timestamp"`
	CreatedAt     time.Time       `json:"created_at"`
	Subject       string          `json:"subject"`
	Source        string          `json:"source"`
	Size          int             `json:"size"`
	Erased        bool            `json:"erased"`
	Body          json.RawMessage `json:"body"`
	DeliveryCount int             `json:"delivery_count"` // in lists
	Deliveries    []Reference     `json:"deliveries"`
	LeftOut       []struct {
		EndpointID string `json:"endpoint_id"`
		Reason     string `json:"reason"`
	} `json:"left_out"`
}

// Reference names a delivery.
type Reference struct {
	ID         string `json:"id"`
	EndpointID string `json:"endpoint_id"`
}

// Receipt is the answer to a posted event.
type Receipt struct {
	ID         string      `json:"id"`
	Event      string      `json:"event"`
	Timestamp  time.Time   `json:"timestamp"`
	Duplicate  bool        `json:"duplicate"`
	Position   uint64      `json:"position"`
	Deliveries []Reference `json:"deliveries"`
}

// Result is the answer to one event of a batch: a receipt, or the problem that it was refused with.
type Result struct {
	Receipt
	N      int      `json:"-"` // its number in the input, from 1
	Status int      `json:"status"`
	Error  *Problem `json:"error"`
}

type Delivery struct {
	ID           string          `json:"id"`
	EventID      string          `json:"event_id"`
	Event        string          `json:"event"`
	EndpointID   string          `json:"endpoint_id"`
	Status       string          `json:"status"`
	ReplayID     string          `json:"replay_id"` // that scheduled it; empty: it was routed
	AttemptCount int             `json:"attempt_count"`
	Code         int             `json:"code"`
	ErrorCode    string          `json:"error_code"`
	CreatedAt    time.Time       `json:"created_at"`
	Held         *Held           `json:"held"`
	Waits        *Waits          `json:"waits"`
	NextAt       *time.Time      `json:"next_attempt_at"`
	CompletedAt  *time.Time      `json:"completed_at"`
	Attempts     []Item[Attempt] `json:"attempts"`
	Retry        *struct {
		Says string `json:"says"`
	} `json:"retry"` // in the answer to one
	Cancelled *struct {
		Reason string `json:"reason"`
		Note   string `json:"note"`
	} `json:"cancelled"`
}

// WhyCancelled is why it was cancelled, empty where it was not.
func (d Delivery) WhyCancelled() string {
	if d.Cancelled == nil {
		return ""
	}
	if d.Cancelled.Note == "" {
		return d.Cancelled.Reason
	}
	return d.Cancelled.Reason + ": " + d.Cancelled.Note
}

// Held is why a delivery is held.
type Held struct {
	Reason string     `json:"reason"`
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"-"` // as the endpoint's health says: when it ends by itself
}

// Waits is what it waits for, where it is neither held nor in flight.
type Waits struct {
	For    string     `json:"for"`
	Until  *time.Time `json:"until"`
	Limit  float64    `json:"limit"`
	Ahead  *int       `json:"ahead"`
	Behind string     `json:"behind"`
}

// LastResult is the last attempt's HTTP status, or why it got none.
func (d Delivery) LastResult() string { return result(d.Code, d.ErrorCode) }

type Attempt struct {
	ID         string     `json:"id"`
	DeliveryID string     `json:"delivery_id"`
	EventID    string     `json:"event_id"`
	EndpointID string     `json:"endpoint_id"`
	N          int        `json:"n"`
	Trigger    string     `json:"trigger"`
	Status     string     `json:"status"`
	Code       int        `json:"code"`
	ErrorCode  string     `json:"error_code"`
	StartedAt  time.Time  `json:"started_at"`
	DurationMS float64    `json:"duration_ms"`
	RemoteAddr string     `json:"remote_addr"`
	Request    *Request   `json:"request"`
	Signature  *Signature `json:"signature"`
	Response   *Response  `json:"response"`
	Failure    *Failure   `json:"failure"`
	Erased     bool       `json:"erased"`
}

// Request is what was sent; Headers are all, the signature's three included.
type Request struct {
	Kind    string   `json:"kind"` // the endpoint's
	Method  string   `json:"method"`
	URL     string   `json:"url"`
	Headers []Header `json:"headers"`
	Body    string   `json:"body"`
}

// Failure is why no usable answer came.
type Failure struct {
	Phase   string `json:"phase"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Sent    string `json:"sent"`
}

// Signature is how it was signed.
type Signature struct {
	Scheme     string `json:"scheme"`
	ID         string `json:"webhook_id"`
	Timestamp  int64  `json:"webhook_timestamp"`
	Signatures string `json:"signatures"`
}

// Response is what came back.
type Response struct {
	Status    int      `json:"status"`
	Headers   []Header `json:"headers"`
	Body      string   `json:"body"`
	Truncated bool     `json:"truncated"`
}

// Header is one header.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Result is the HTTP status of the answer, or why there is none.
func (a Attempt) Result() string { return result(a.Code, a.ErrorCode) }

func result(code int, errorCode string) string {
	if code != 0 {
		return strconv.Itoa(code)
	}
	return errorCode
}

type EventType struct {
	Type        string          `json:"type"`
	Version     int             `json:"version"`
	Description string          `json:"description"`
	BuiltIn     bool            `json:"built_in"`
	Schema      json.RawMessage `json:"schema"`
	Example     json.RawMessage `json:"example"`
}

// Source is where something comes in from.
type Source struct {
	ID          string            `json:"id"`
	Kind        string            `json:"kind"`
	Description string            `json:"description"`
	TZ          string            `json:"tz"`
	Path        string            `json:"path"`
	Fields      map[string]string `json:"fields"`
	Statuses    map[string]string `json:"statuses"`
	AgenFleet   struct {
		URL            string  `json:"url"`
		Auth           string  `json:"auth"`
		Every          string  `json:"every"`
		CostsEvery     string  `json:"costs_every"`
		RateLimit      int     `json:"rate_limit"`
		Currency       string  `json:"currency"`
		CostPeriod     string  `json:"cost_period"`
		AlertThreshold float64 `json:"alert_threshold"`
	} `json:"agenfleet"`
	Cron struct {
		Job    string `json:"job"`
		Window string `json:"window"`
		Prefix string `json:"token_prefix"`
	} `json:"cron"`
	Status struct {
		State       string     `json:"state"`
		Agents      int        `json:"agents"`
		ReadAt      *time.Time `json:"read_at"`
		CostsAt     *time.Time `json:"costs_at"`
		GapSince    *time.Time `json:"gap_since"`
		FailedPolls int        `json:"failed_polls"`
		Code        string     `json:"code"`
		Message     string     `json:"message"`
	} `json:"status"`
	Events struct {
		Count  int        `json:"count"`
		LastAt *time.Time `json:"last_at"`
	} `json:"events"`
	Revision  int64     `json:"revision"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// SourceTest is what trying a source out brought.
type SourceTest struct {
	OK       bool           `json:"ok"`
	Agents   int            `json:"agents"`
	Statuses map[string]int `json:"statuses"`
	Budgets  int            `json:"budgets"`
	Costs    int            `json:"costs"`
	Event    struct {
		ID    string          `json:"id"`
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
	} `json:"event"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

type Projection struct {
	Name     string  `json:"name"`
	Position uint64  `json:"position"`
	Head     uint64  `json:"head"`
	LagMS    float64 `json:"lag_ms"`
	Error    string  `json:"error"`
}

// TelegramTarget is the chat of an endpoint.
type TelegramTarget struct {
	ChatID string `json:"chat_id"`
}

// EmailTarget is the mailbox of an endpoint.
type EmailTarget struct {
	Server   string `json:"server"`
	From     string `json:"from"`
	To       string `json:"to"`
	Username string `json:"username"`
}
