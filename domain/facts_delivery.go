package domain

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// EventReceived is an event as it was posted. What the producer said stands in Content, sealed.
type EventReceived struct {
	ID            string    `json:"id"`
	Event         string    `json:"event"`          // the type
	SchemaVersion int       `json:"schema_version"` // that the data was checked against; 0: unknown type, not checked
	Timestamp     time.Time `json:"timestamp"`      // when it happened
	// TimestampGiven says that the producer stated Timestamp; else it is the time of receipt.
	TimestampGiven bool    `json:"timestamp_given"`
	Source         string  `json:"source,omitempty"`
	Sequence       *uint64 `json:"sequence,omitempty"` // the producer's own number within Source
	ContentType    string  `json:"content_type"`
	Content        *Sealed `json:"content"` // EventContent
	Size           int     `json:"size"`    // of the body, in bytes
}

// Match is one endpoint that an event is delivered to.
type Match struct {
	Endpoint         string   `json:"endpoint"`
	Delivery         string   `json:"delivery"`
	EndpointRevision Revision `json:"endpoint_revision"`
}

// LeftOut is an endpoint that subscribes to the event and does not get it.
type LeftOut struct {
	Endpoint string `json:"endpoint"`
	Reason   string `json:"reason"` // "disabled"
}

// EventRouted is the whole decision on who gets an event. RoutedAsOf is the newest configuration record that it was
// decided on, so that "why not" has an exact answer for every endpoint that is not named here.
type EventRouted struct {
	RoutedAsOf ulid.ULID `json:"routed_as_of"`
	Matches    []Match   `json:"matches"`
	LeftOut    []LeftOut `json:"left_out,omitempty"`
}

// RetryPolicy is the schedule that a delivery keeps from its first attempt to its end: the wait before each retry.
type RetryPolicy struct {
	Schedule []Duration `json:"schedule"`
	Jitter   float64    `json:"jitter"` // share of the wait by which it is moved either way, 0 to 1
}

// DeliveryScheduled opens a delivery's stream, together with its first attempt.
type DeliveryScheduled struct {
	Event    string      `json:"event"`
	Endpoint string      `json:"endpoint"`
	Cause    string      `json:"cause"` // "routed", or the id of the replay that scheduled it
	Policy   RetryPolicy `json:"policy"`
	DueAt    time.Time   `json:"due_at"`
}

// Trigger says what made an attempt due.
type Trigger string

const (
	TriggerInitial   Trigger = "initial"
	TriggerAutomatic Trigger = "automatic"
	TriggerManual    Trigger = "manual"
	TriggerReplay    Trigger = "replay" // the first attempt of a replay's delivery
)

// Header is one header of a request, as sent.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// AttemptStarted is the intent to send: it is durable before the first byte leaves.
type AttemptStarted struct {
	Attempt          string    `json:"attempt"` // AttemptID: it begins with StartedAt
	N                int       `json:"n"`       // from 1
	EndpointRevision Revision  `json:"endpoint_revision"`
	Trigger          Trigger   `json:"trigger"`
	Forced           bool      `json:"forced,omitempty"` // a retry after success; marked on the wire
	Method           string    `json:"method"`
	Host             string    `json:"host"`    // path and query stand in the endpoint's record of that revision
	Headers          []Header  `json:"headers"` // all that we set, except the signature's three
	Timeout          Duration  `json:"timeout"`
	StartedAt        time.Time `json:"started_at"`
	Node             string    `json:"node"` // the process: no two lives share a name
	// Endpoint is whose attempt it is, so that its health is folded without the delivery's first record; records of a time
	// when it was not written have none.
	Endpoint string `json:"endpoint,omitempty"`
	// Content is what goes on the wire, where the destination renders a message of its own; sealed.
	Content *Sealed `json:"content,omitempty"`
}

// RequestSigned is the signature of an attempt's request, exactly as it goes on the wire.
type RequestSigned struct {
	Attempt          string   `json:"attempt"`
	Scheme           string   `json:"scheme"`
	KeyIDs           []string `json:"key_ids"`
	WebhookID        string   `json:"webhook_id"`
	WebhookTimestamp int64    `json:"webhook_timestamp"` // unix seconds
	Signatures       string   `json:"signatures"`        // the header's value, space-separated
}

// Timings of an attempt in microseconds, each the time its phase took; zero for a phase that did not happen (a reused
// connection looks up and connects nothing).
type Timings struct {
	DNS       int64 `json:"dns_us,omitempty"`
	Connect   int64 `json:"connect_us,omitempty"`
	TLS       int64 `json:"tls_us,omitempty"`
	FirstByte int64 `json:"first_byte_us,omitempty"` // from the start to the response's first byte
	Total     int64 `json:"total_us"`
}

// TLSFacts of a connection.
type TLSFacts struct {
	Version     string    `json:"version"`
	Cipher      string    `json:"cipher"`
	ServerName  string    `json:"server_name"`
	Issuer      string    `json:"issuer"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint"` // SHA-256 of the leaf certificate, hex
}

// ResponseReceived is what came back.
type ResponseReceived struct {
	Attempt    string    `json:"attempt"`
	Status     int       `json:"status"`
	Content    *Sealed   `json:"content"` // ResponseContent
	Truncated  bool      `json:"truncated,omitempty"`
	RemoteAddr string    `json:"remote_addr"` // IP and port that were dialled
	TLS        *TLSFacts `json:"tls,omitempty"`
	Timings    Timings   `json:"timings"`
	RetryAfter Duration  `json:"retry_after,omitempty"` // that the receiver asked for
	Late       bool      `json:"late,omitempty"`        // came when the attempt was no longer the open one
	// Unconfirmed says that the answer, for all its 2xx, is not what the service confirms with.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// Taken says that the receiver confirmed to have the event.
func (f *ResponseReceived) Taken() bool { return f.Status >= 200 && f.Status < 300 && !f.Unconfirmed }

// ErrorCode says why an attempt failed without a usable answer.
type ErrorCode string

const (
	CodeTimeout          ErrorCode = "timeout"
	CodeDNS              ErrorCode = "dns_lookup_failed"
	CodeRefused          ErrorCode = "connection_refused"
	CodeReset            ErrorCode = "connection_reset"
	CodeTLSExpired       ErrorCode = "tls_cert_expired"
	CodeTLSUnknownCA     ErrorCode = "tls_unknown_ca"
	CodeTLSName          ErrorCode = "tls_name_mismatch"
	CodeTLS              ErrorCode = "tls_failed"
	CodeTLSClientCert    ErrorCode = "tls_client_cert" // of ours: asked for, or refused
	CodeUnreachable      ErrorCode = "unreachable"
	CodeRedirect         ErrorCode = "redirect"
	CodeBadResponse      ErrorCode = "bad_response"
	CodeBlocked          ErrorCode = "blocked_address"
	CodeResponseTooLarge ErrorCode = "response_too_large"
	CodeHTTPStatus       ErrorCode = "http_status"
	CodeInterrupted      ErrorCode = "interrupted"
	CodeInternal         ErrorCode = "internal"
)

// Whether a failed attempt's request can have reached the receiver.
const (
	SentNo    = "no"
	SentMaybe = "maybe"
)

// AttemptFailed is an attempt that got no usable answer.
type AttemptFailed struct {
	Attempt    string    `json:"attempt"`
	Phase      string    `json:"phase"` // "prepare", "dns", "connect", "tls", "request", "response"
	Code       ErrorCode `json:"code"`
	Content    *Sealed   `json:"content,omitempty"` // FailureContent
	Sent       string    `json:"sent"`
	RemoteAddr string    `json:"remote_addr,omitempty"`
	Timings    Timings   `json:"timings"`
	Late       bool      `json:"late,omitempty"`
}

// Reasons of AttemptInterrupted.
const (
	InterruptCrash    = "crash"
	InterruptShutdown = "shutdown"
	InterruptExpired  = "expired" // the intent was durable too late to send with its timestamp
)

// AttemptInterrupted closes an attempt of which nobody knows whether it was sent.
type AttemptInterrupted struct {
	Attempt string `json:"attempt"`
	Reason  string `json:"reason"`
}

// RetryScheduled is the decision to try again.
type RetryScheduled struct {
	N               int       `json:"n"` // of the attempt to come
	DueAt           time.Time `json:"due_at"`
	Backoff         Duration  `json:"backoff"`
	RetryAfterTaken bool      `json:"retry_after_taken,omitempty"` // the receiver's Retry-After was longer and is honoured
}

type DeliverySucceeded struct {
	Attempt  string `json:"attempt"`
	Attempts int    `json:"attempts"`
}

type DeliveryExhausted struct {
	Attempts int    `json:"attempts"`
	Last     string `json:"last"`   // the last attempt
	Reason   string `json:"reason"` // "schedule", "interruptions", "rejected"
	// Confirmed: the receiver had confirmed it before, and what failed is a repeat that somebody forced. Nobody waits
	// behind it.
	Confirmed bool `json:"confirmed,omitempty"`
}

// Reasons of DeliveryCancelled.
const (
	CancelEndpointRemoved = "endpoint_removed"
	CancelErased          = "erased"
	CancelReplay          = "replay_cancelled"
	CancelRequested       = "requested" // somebody asked for it: the record's actor
)

type DeliveryCancelled struct {
	Reason  string  `json:"reason"`
	Content *Sealed `json:"content,omitempty"` // CancelContent, where who asked for it said why
}

// RetryRequested is a person's or an API's retry; it makes the delivery due at once. All but Force says what it does to
// the schedule; a record without N is of a time when that was not written.
type RetryRequested struct {
	Force bool `json:"force,omitempty"` // asked for although the delivery had succeeded
	N     int  `json:"n,omitempty"`     // of the attempt to come
	// InPlaceOf is when the attempt was due whose place this one takes; zero: the delivery had ended, and is reopened.
	InPlaceOf time.Time `json:"in_place_of,omitzero"`
	// NextStep of the schedule, from 1, is what a failure takes, and NextWait its wait before jitter; 0: a failure
	// exhausts the delivery.
	NextStep int      `json:"next_step,omitempty"`
	NextWait Duration `json:"next_wait,omitempty"`
}

func (*EventReceived) RecordType() string      { return "EventReceived" }
func (*EventRouted) RecordType() string        { return "EventRouted" }
func (*DeliveryScheduled) RecordType() string  { return "DeliveryScheduled" }
func (*AttemptStarted) RecordType() string     { return "AttemptStarted" }
func (*RequestSigned) RecordType() string      { return "RequestSigned" }
func (*ResponseReceived) RecordType() string   { return "ResponseReceived" }
func (*AttemptFailed) RecordType() string      { return "AttemptFailed" }
func (*AttemptInterrupted) RecordType() string { return "AttemptInterrupted" }
func (*RetryScheduled) RecordType() string     { return "RetryScheduled" }
func (*DeliverySucceeded) RecordType() string  { return "DeliverySucceeded" }
func (*DeliveryExhausted) RecordType() string  { return "DeliveryExhausted" }
func (*DeliveryCancelled) RecordType() string  { return "DeliveryCancelled" }
func (*RetryRequested) RecordType() string     { return "RetryRequested" }

func (*EventReceived) RecordVersion() int      { return 1 }
func (*EventRouted) RecordVersion() int        { return 1 }
func (*DeliveryScheduled) RecordVersion() int  { return 1 }
func (*AttemptStarted) RecordVersion() int     { return 1 }
func (*RequestSigned) RecordVersion() int      { return 1 }
func (*ResponseReceived) RecordVersion() int   { return 1 }
func (*AttemptFailed) RecordVersion() int      { return 1 }
func (*AttemptInterrupted) RecordVersion() int { return 1 }
func (*RetryScheduled) RecordVersion() int     { return 1 }
func (*DeliverySucceeded) RecordVersion() int  { return 1 }
func (*DeliveryExhausted) RecordVersion() int  { return 1 }
func (*DeliveryCancelled) RecordVersion() int  { return 1 }
func (*RetryRequested) RecordVersion() int     { return 1 }

func (*EventReceived) fact()      {}
func (*EventRouted) fact()        {}
func (*DeliveryScheduled) fact()  {}
func (*AttemptStarted) fact()     {}
func (*RequestSigned) fact()      {}
func (*ResponseReceived) fact()   {}
func (*AttemptFailed) fact()      {}
func (*AttemptInterrupted) fact() {}
func (*RetryScheduled) fact()     {}
func (*DeliverySucceeded) fact()  {}
func (*DeliveryExhausted) fact()  {}
func (*DeliveryCancelled) fact()  {}
func (*RetryRequested) fact()     {}
