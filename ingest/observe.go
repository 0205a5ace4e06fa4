package ingest

import "time"

// Seen is an event that was accepted, as an Observer is told of it. Nothing in it is secret.
type Seen struct {
	Tenant       string
	Event        string // its id
	Type         string
	Begun, Ended time.Time
	Deliveries   int
	Duplicate    bool
}

// Observer is told of each event that is accepted, once it is durable. It is called by many goroutines at once and must
// not block.
type Observer interface {
	Event(s *Seen)
}

// begin is when a post began, where somebody wants to know.
func (in *Ingest) begin() time.Time {
	if in.seen == nil {
		return time.Time{}
	}
	return in.now()
}

func (in *Ingest) observe(p *Post, begun time.Time, r *Receipt) {
	if in.seen == nil || r == nil {
		return
	}
	in.seen.Event(&Seen{Tenant: p.Tenant, Event: r.ID, Type: p.Event, Begun: begun, Ended: in.now(),
		Deliveries: len(r.Deliveries), Duplicate: r.Duplicate})
}
