package projections

import (
	"time"

	"hookledger/domain"
)

// Total is how many rows a filter selects, of those from the cursor on.
type Total struct {
	Rows    int
	AtLeast bool // there are more: counting was given up
}

// Page is a part of a list. Rows are never nil. Where a filter selects few rows of many, a page ends after so many rows
// that it looked at: it may then hold fewer rows than the limit, even none, and still have more behind it. AsOf and
// AsOfPosition say up to which record of the ledger it was folded; AsOf is that record's time, zero on an empty ledger.
type Page[T any] struct {
	Rows         []T
	NextCursor   string // for the page behind this one; empty where there is none
	HasMore      bool
	AsOfPosition domain.Position
	AsOf         time.Time
	Total        *Total // where it was asked for
}

// List is what all lists have in common. A list is in order of creation; its times are of whole microseconds.
type List struct {
	Tenant        string    // required
	CreatedAfter  time.Time // exclusive; zero: from the beginning
	CreatedBefore time.Time // exclusive; zero: to the end
	Limit         int       // of rows; 0: 50, at most 250
	Ascending     bool      // oldest first; else the newest first
	Cursor        string    // Page.NextCursor of the page before, with the same filter
	Walk          int       // rows that a page may look at, see Page; 0: 20,000
	Count         bool      // fill Page.Total
}

// EventFilter selects events.
type EventFilter struct {
	List
	ID          string
	Type        string // a type or a pattern such as "agent.*"; empty: all
	ByTimestamp bool   // in the order of the events' own timestamps, and not of their receipt
	Where       Where
}

// DeliveryFilter selects deliveries; empty fields select all.
type DeliveryFilter struct {
	List
	EndpointID string
	EventID    string
	EventType  string // a type or a pattern
	Status     domain.DeliveryStatus
	Code       int // of the last response
	Replay     string
	Where      Where // its own conditions on deliveries count too
}

// AttemptFilter selects attempts; empty fields select all.
type AttemptFilter struct {
	List
	EndpointID string
	EventID    string
	DeliveryID string
	Status     AttemptStatus
	Code       int // of the response
	ErrorCode  domain.ErrorCode
	Where      Where // its own conditions on attempts count too
}

// EventRow is an event without its content.
type EventRow struct {
	Tenant        string
	ID            string
	Event         string // the type
	SchemaVersion int    // 0: unknown type, not checked
	Timestamp     time.Time
	Source        string
	Sequence      *uint64
	Size          int // of the body, in bytes
	Deliveries    int // that it was routed to
	CreatedAt     time.Time
	Position      domain.Position // of EventReceived
}

// DeliveryRow is a delivery as it stands.
type DeliveryRow struct {
	Tenant      string
	ID          string
	EventID     string
	EventType   string
	EndpointID  string
	Status      domain.DeliveryStatus
	Attempts    int       // started so far
	DueAt       time.Time // of the next attempt; zero once it has ended
	CreatedAt   time.Time
	UpdatedAt   time.Time
	CompletedAt time.Time // zero while it has not ended
	SucceededAt time.Time // for the first time; zero: it has not
	LastCode    int       // status of the last response; 0 where the last attempt got none
	LastError   domain.ErrorCode
	Revision    domain.Revision // of its stream; NoStream: never tried
	Replay      string          // that scheduled it; empty: it was routed
	Held        string          // why it is held: HeldDisabled or domain.Hold…; empty: it is not
	HeldSince   time.Time
	HeldBehind  string          // with HeldBehind, the exhausted delivery that it waits for
	Routed      domain.Position // of the record that did so
	InLine      bool            // its endpoint is ordered: it waits, or it is exhausted and others wait behind it
}

// AttemptStatus is how an attempt ended.
type AttemptStatus string

// The statuses of an attempt.
const (
	AttemptInFlight    AttemptStatus = "in_flight"
	AttemptSucceeded   AttemptStatus = "succeeded"
	AttemptFailed      AttemptStatus = "failed"
	AttemptInterrupted AttemptStatus = "interrupted" // nobody knows whether it was sent
)

// AttemptRow is an attempt without what was sent and received; those stand in the delivery's stream.
type AttemptRow struct {
	Tenant     string
	ID         string
	DeliveryID string
	EventID    string
	EndpointID string
	N          int // from 1
	Trigger    domain.Trigger
	Forced     bool
	Status     AttemptStatus
	Code       int              // of the response; 0: none came
	ErrorCode  domain.ErrorCode // empty for one that succeeded or is in flight
	StartedAt  time.Time
	Duration   time.Duration // 0 while it is in flight, and where nobody knows
	RemoteAddr string
	Late       bool // its outcome came when it was no longer the open attempt
}

// ProjectionStatus is where a projection stands.
type ProjectionStatus struct {
	Name     string // "live": what is in memory; "history": the rows
	Position domain.Position
	Head     domain.Position // of the ledger
	// Behind is how long ago the oldest record that is not folded yet was recorded; 0 when none is known.
	Behind time.Duration
	// Err stopped the projection for good; Record is the id of the record that it could not fold.
	Err    error
	Record string
	// Rebuilt says why the rows were folded anew when the projection was opened, empty where they were not.
	Rebuilt string
}
