package apiclient

// ServiceLevel is how long deliveries took from the receipt of their event to their first success.
type ServiceLevel struct {
	Month      string   `json:"month"`
	EndpointID string   `json:"endpoint_id"`
	Event      string   `json:"event"`
	Deliveries int      `json:"deliveries"`
	Succeeded  int      `json:"succeeded"`
	Exhausted  int      `json:"exhausted"`
	Cancelled  int      `json:"cancelled"`
	Open       int      `json:"open"`
	P50MS      *float64 `json:"p50_ms"`
	P95MS      *float64 `json:"p95_ms"`
	P99MS      *float64 `json:"p99_ms"`
	Within     int      `json:"within"`
	Share      *float64 `json:"share"`
}
