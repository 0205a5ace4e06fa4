package apiclient

import "time"

// Refusal is what one key posted in a minute and was refused for one reason.
type Refusal struct {
	ID      string        `json:"id"`
	Reason  string        `json:"reason"`
	Count   int           `json:"count"`
	KeyID   string        `json:"key_id"`
	FirstAt time.Time     `json:"first_at"`
	LastAt  time.Time     `json:"last_at"`
	Erased  bool          `json:"erased"`
	First   *RefusedEvent `json:"first"`
}

// RefusedEvent is the first of the posts.
type RefusedEvent struct {
	Detail string `json:"detail"`
	Event  string `json:"event"`
	ID     string `json:"id"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}
