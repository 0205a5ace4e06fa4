package domain

import "time"

// PrefixRefusal begins the id of every recorded refusal.
const PrefixRefusal = "rfs_"

// EventRefused says that posts of one producer were refused for one reason. There is at most one for each minute, key
// and reason, however many posts it counts.
type EventRefused struct {
	Reason string `json:"reason"` // the refusal's code
	Count  int    `json:"count"`  // posts, or events of batches
	// Key is the API key that posted, or the source whose token did; empty: several, beyond those that are told apart.
	Key     string    `json:"key,omitempty"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
	Content *Sealed   `json:"content"` // RefusalContent
}

// RefusalContent is what EventRefused seals, all of it about the first of the posts.
type RefusalContent struct {
	Detail string `json:"detail"` // what the producer was told; it names fields of the post
	// Event and ID are as the post gave them, where it could be read and they could be an event's.
	Event  string `json:"event,omitempty"`
	ID     string `json:"id,omitempty"`
	Size   int    `json:"size,omitempty"`   // of the body, in bytes
	SHA256 string `json:"sha256,omitempty"` // of the body, hex; empty: it was not read to its end
}

func (*EventRefused) RecordType() string { return "EventRefused" }
func (*EventRefused) RecordVersion() int { return 1 }
func (*EventRefused) fact()              {}

// RefusalStream holds one EventRefused.
func RefusalStream(tenant, id string) Stream { return NewStream(CategoryRefusal, tenant, id) }

// RefusalID derives the id of a minute's record, so that no minute gets a second one, whoever writes it.
func RefusalID(minute time.Time, tenant, key, reason string) string {
	return NewID(PrefixRefusal, DerivedID(minute, "refusal", tenant, key, reason))
}

// Refusal is a recorded refusal as a read model keeps it.
type Refusal struct {
	ID        string       `json:"id"`
	Tenant    string       `json:"tenant"`
	Refused   EventRefused `json:"refused"`
	Ref       RecordRef    `json:"ref"`
	Position  Position     `json:"position"`
	CreatedAt time.Time    `json:"created_at"`
}

// NewRefusal is what a refusal's record says.
func NewRefusal(r *Record, f *EventRefused) Refusal {
	return Refusal{ID: r.Stream.ID(), Tenant: r.Tenant, Refused: *f, Position: r.Position, CreatedAt: r.RecordedAt,
		Ref: RecordRef{Record: r.ID, Stream: r.Stream, Revision: r.Revision}}
}
