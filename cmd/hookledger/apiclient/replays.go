package apiclient

import "time"

// Replay is events sent again.
type Replay struct {
	ID          string         `json:"id"`
	Status      string         `json:"status"`
	Because     string         `json:"because"`
	Planned     int            `json:"planned"`
	Bytes       int64          `json:"bytes"`
	Scheduled   int            `json:"scheduled"`
	Pending     int            `json:"pending"`
	Delivered   int            `json:"delivered"`
	Failed      int            `json:"failed"`
	Skipped     map[string]int `json:"skipped"`
	Digest      string         `json:"digest"`
	AsOf        string         `json:"as_of"`
	EndpointID  string         `json:"endpoint_id"`
	Select      map[string]any `json:"select"`
	Match       string         `json:"match"`
	Rate        float64        `json:"rate"`
	GapFactor   float64        `json:"gap_factor"`
	Ordered     bool           `json:"ordered"`
	Reason      string         `json:"reason"`
	First       ReplayEvent    `json:"first"` // in the answer that made or planned it
	Last        ReplayEvent    `json:"last"`
	Sample      []ReplayEvent  `json:"sample"`
	CreatedBy   string         `json:"created_by"`
	CreatedAt   time.Time      `json:"created_at"`
	CompletedAt *time.Time     `json:"completed_at"`
}

// ReplayEvent is one pair of a plan.
type ReplayEvent struct {
	EventID    string    `json:"event_id"`
	Event      string    `json:"event"`
	EndpointID string    `json:"endpoint_id"`
	CreatedAt  time.Time `json:"created_at"`
}

// Ended is the number of deliveries that came to their end.
func (r *Replay) Ended() int { return r.Scheduled - r.Pending }
