package apiclient

import "time"

// Health is how an endpoint does.
type Health struct {
	EndpointID string                  `json:"endpoint_id"`
	State      string                  `json:"state"`
	Since      *time.Time              `json:"since"`
	Reason     string                  `json:"reason"`
	Because    []string                `json:"because"`
	Causes     []HealthCause           `json:"causes"`
	Breaker    string                  `json:"breaker"`
	Hold       *HealthHold             `json:"hold"`
	Places     int                     `json:"places"`
	InFlight   int                     `json:"in_flight"`
	Windows    map[string]HealthWindow `json:"windows"` // "5m", "1h", "24h"
	Failures   int                     `json:"consecutive_failures"`
	LastCode   string                  `json:"last_failure_code"`
	LastOK     *time.Time              `json:"last_success_at"`
	LastFailed *time.Time              `json:"last_failure_at"`
	Pending    *int                    `json:"pending"` // nil of a moment of the past
	Oldest     *time.Time              `json:"oldest_pending_at"`
	Changes    []HealthChange          `json:"changes"`
	At         time.Time               `json:"as_of"`
}

// HealthCause is a record that led to something, and the stream that it stands in.
type HealthCause struct {
	RecordID string `json:"record_id"`
	Stream   string `json:"stream"`
}

// HealthHold is why nothing is sent for now.
type HealthHold struct {
	Reason   string     `json:"reason"`
	Since    time.Time  `json:"since"`
	Until    *time.Time `json:"until"` // nil: it does not end by itself
	RecordID string     `json:"record_id"`
	Says     string     `json:"says"`
}

// HealthWindow is what the attempts of a time came to.
type HealthWindow struct {
	Attempts    int            `json:"attempts"`
	SuccessRate float64        `json:"success_rate"`
	P50         float64        `json:"p50_ms"`
	P95         float64        `json:"p95_ms"`
	P99         float64        `json:"p99_ms"`
	Errors      map[string]int `json:"errors"`
}

// HealthChange is a change of a state or a breaker.
type HealthChange struct {
	At      time.Time `json:"at"`
	State   string    `json:"state"`
	Breaker string    `json:"breaker"`
	Reason  string    `json:"reason"`
	Because []string  `json:"because"`
}

// Readiness is what a server says of itself to anybody.
type Readiness struct {
	Status    string `json:"status"`
	Disk      string `json:"disk"`
	FollowUps string `json:"follow_ups"`
}

// Node is what it says to those with a key; Space is for platform keys.
type Node struct {
	Space *Space `json:"disk_space"`
}

// Space is what its disk has free, and what must be, in bytes.
type Space struct {
	Free     uint64 `json:"free_bytes"`
	LowWater uint64 `json:"low_water_bytes"`
}
