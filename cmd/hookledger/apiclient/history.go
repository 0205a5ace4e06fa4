package apiclient

import (
	"encoding/json"
	"time"
)

// EndpointChange is one change of an endpoint.
type EndpointChange struct {
	Revision   int64     `json:"revision"`
	Position   int64     `json:"position"`
	RecordID   string    `json:"record_id"`
	RecordedAt time.Time `json:"recorded_at"`
	Type       string    `json:"type"`
	Actor      struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
	} `json:"actor"`
	Changes []struct {
		Field  string          `json:"field"`
		Before json.RawMessage `json:"before"`
		After  json.RawMessage `json:"after"`
	} `json:"changes"`
}

// Routing is who gets events of a type.
type Routing struct {
	Event      string `json:"event"`
	RoutedAsOf string `json:"routed_as_of"`
	Matches    []struct {
		EndpointID string `json:"endpoint_id"`
		Revision   int64  `json:"endpoint_revision"`
	} `json:"matches"`
	LeftOut []struct {
		EndpointID string `json:"endpoint_id"`
		Reason     string `json:"reason"`
	} `json:"left_out"`
}
