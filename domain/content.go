package domain

import (
	"encoding/json"
	"time"
)

// EventContent is what EventReceived seals. Body is the whole envelope, byte for byte as it is delivered.
type EventContent struct {
	Subject string          `json:"subject,omitempty"`
	SHA256  string          `json:"sha256"` // of Body, hex
	Body    json.RawMessage `json:"body"`
}

// ResponseContent is what ResponseReceived seals.
type ResponseContent struct {
	Headers []Header `json:"headers"`
	Body    []byte   `json:"body"` // at most MaxResponseContent bytes
}

// FailureContent is what AttemptFailed seals: an error text quotes addresses and names.
type FailureContent struct {
	Message string `json:"message"`
}

// CancelContent is what DeliveryCancelled seals: why, in the words of who asked for it.
type CancelContent struct {
	Note string `json:"note"`
}

// MaxCancelNote bounds those words, in bytes.
const MaxCancelNote = 1024

// Limits of content, in bytes.
const (
	MaxBody            = 512 << 10 // of a posted event
	MaxResponseContent = 64 << 10  // of a response, body and headers, that is kept
	MaxAppend          = 1 << 20   // of one append, encoded
)

// MaxEndpoints is the number of endpoints a tenant can have.
const MaxEndpoints = 1000

// EventBody is an event's opened content with what an attempt needs of its record.
type EventBody struct {
	Body     []byte // the envelope, as delivered
	Subject  string
	KeyID    string // the data key: what quotes the event is sealed under it too
	Received *EventReceived
	At       time.Time // recorded
}
