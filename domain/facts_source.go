package domain

import (
	"encoding/json"
	"time"

	"github.com/oklog/ulid/v2"
)

// Kinds of sources.
const (
	SourceAgenFleet = "agenfleet" // AgenFleet's API, polled
	SourceCron      = "cron"      // posts of a cron system, taken as they come
)

// SourceConfig is a whole configuration; each change of a source carries the whole new one.
type SourceConfig struct {
	Kind        string `json:"kind"`
	Description string `json:"description,omitempty"`
	TimeZone    string `json:"tz"` // IANA name: in which days and months of budgets begin
	// Fields are JSON Pointers (RFC 6901) by the name of what is read there; what is not named has its default.
	Fields map[string]string `json:"fields,omitempty"`
	// Statuses are the source's own words, by ours: {"paused": "offline"}.
	Statuses map[string]string `json:"statuses,omitempty"`
	Poll     *PollConfig       `json:"poll,omitempty"` // of SourceAgenFleet
	Cron     *CronConfig       `json:"cron,omitempty"` // of SourceCron
}

// PollConfig says what is polled, how often, and as whom.
type PollConfig struct {
	// URL is the API's base with its path, "https://api.agenfleet.ai/api". It has no query and no credentials.
	URL         string   `json:"url"`
	Auth        string   `json:"auth"` // AuthLogin or AuthKey
	Credentials VaultRef `json:"credentials"`
	Every       Duration `json:"every"`
	CostsEvery  Duration `json:"costs_every,omitempty"` // 0: costs are not read
	RateLimit   int      `json:"rate_limit"`            // requests a minute
	Currency    string   `json:"currency,omitempty"`    // of costs, which the API does not say; ISO 4217
	CostPeriod  string   `json:"cost_period,omitempty"` // of costs and their budget: "daily" or "monthly"
	// AlertThreshold holds where an agent has none: a decimal from 0 to 1; empty: no alert then.
	AlertThreshold string `json:"alert_threshold,omitempty"`
}

// How a polled API knows us.
const (
	AuthLogin = "login"   // a JWT, got with an email address and a password
	AuthKey   = "api_key" // a key, sent as it is
)

// CronConfig says how the posts of a cron system are known and read.
type CronConfig struct {
	TokenPrefix string `json:"token_prefix"` // to recognise the token by
	TokenHash   []byte `json:"token_hash"`   // the SHA-256 of its 256 random bits
	Job         string `json:"job,omitempty"`
	// Window is how long an equal post that names no run is a repeat of the first, and no second run.
	Window Duration `json:"window"`
}

// VaultRef names a secret that stands in the vault. It has no fingerprint: of a password, that would confirm a guess.
type VaultRef struct {
	KeyID string `json:"key_id"`
}

type SourceAdded struct {
	Config SourceConfig `json:"config"`
}

// SourceChanged carries the whole new configuration.
type SourceChanged struct {
	Config SourceConfig `json:"config"`
}

// SourceRemoved ends a source: nothing is polled or taken for it any more.
type SourceRemoved struct{}

// What a poll reads, and how it ended.
const (
	PollAgents = "agents"
	PollLimits = "limits" // of single agents, where the listing has none
	PollCosts  = "costs"

	PollOK     = "ok"
	PollFailed = "failed"
)

// SourcePolled is what polling a source brought: a reading with what is new in it, or a gap. A failed poll says nothing
// about what would have been read. Polls that bring nothing new have no record of their own: the next one counts them.
type SourcePolled struct {
	What    string    `json:"what"`
	Outcome string    `json:"outcome"`
	Begun   time.Time `json:"begun"` // the reading was taken between these two
	Ended   time.Time `json:"ended"`
	Config  ulid.ULID `json:"config"`         // the configuration record that it was read by
	Rows    int       `json:"rows,omitempty"` // of the whole reading
	Polls   int       `json:"polls"`          // this one, and those before it that brought the same
	// Code says why a poll failed; the text stands in Content.
	Code string `json:"code,omitempty"`
	// Gap is there while polls fail, and, with its end, in the first reading afterwards.
	Gap     *PollGap       `json:"gap,omitempty"`
	Derived []DerivedEvent `json:"derived,omitempty"` // what follows from this reading
	Refused []RefusedEvent `json:"refused,omitempty"` // what followed from the one before, and was not taken
	Content *Sealed        `json:"content"`           // PollContent
}

// PollGap is a time of which nothing is known.
type PollGap struct {
	Since time.Time `json:"since,omitzero"` // the last good reading; zero: there was none
	Until time.Time `json:"until,omitzero"` // zero: it lasts
	Polls int       `json:"polls"`          // that failed
}

// DerivedEvent names an event that a reading gave; its id is the same whoever derives it.
type DerivedEvent struct {
	ID    string `json:"id"`
	Event string `json:"event"`
}

// RefusedEvent is a derived event that was refused, and why: the error's code.
type RefusedEvent struct {
	ID   string `json:"id"`
	Code string `json:"code"`
}

// PollContent is what SourcePolled seals.
type PollContent struct {
	Agents  []AgentReading   `json:"agents,omitempty"` // that differ from the reading before
	Gone    []string         `json:"gone,omitempty"`   // agents that are not listed any more
	Costs   []CostReading    `json:"costs,omitempty"`  // all of them
	Derived []DerivedContent `json:"derived,omitempty"`
	Message string           `json:"message,omitempty"` // of a poll that failed
}

// AgentReading is one agent as it was read.
type AgentReading struct {
	ID     string       `json:"id"`
	ReadAt time.Time    `json:"read_at"`
	Status string       `json:"status"`
	Input  uint64       `json:"tokens_today_input"`
	Output uint64       `json:"tokens_today_output"`
	Limits *AgentLimits `json:"limits,omitempty"` // nil: not read
}

// AgentLimits is an agent's token budget. Amounts are exact: tokens are whole numbers, the threshold is a decimal.
type AgentLimits struct {
	Daily     uint64      `json:"daily_token_budget,omitempty"` // 0: none
	Monthly   uint64      `json:"monthly_token_budget,omitempty"`
	Threshold json.Number `json:"alert_threshold,omitempty"`
}

// CostReading is one agent's cost as it was read, in the currency of the source's configuration.
type CostReading struct {
	ID     string      `json:"id"`
	Cost   json.Number `json:"cost"`
	Budget json.Number `json:"budget,omitempty"`
}

// DerivedContent is a derived event as it is posted, byte for byte the same by whoever posts it.
type DerivedContent struct {
	ID        string          `json:"id"`
	Event     string          `json:"event"`
	Timestamp time.Time       `json:"timestamp"`
	Subject   string          `json:"subject"`
	Data      json.RawMessage `json:"data"`
}

func (*SourceAdded) RecordType() string   { return "SourceAdded" }
func (*SourceChanged) RecordType() string { return "SourceChanged" }
func (*SourceRemoved) RecordType() string { return "SourceRemoved" }
func (*SourcePolled) RecordType() string  { return "SourcePolled" }

func (*SourceAdded) RecordVersion() int   { return 1 }
func (*SourceChanged) RecordVersion() int { return 1 }
func (*SourceRemoved) RecordVersion() int { return 1 }
func (*SourcePolled) RecordVersion() int  { return 1 }

func (*SourceAdded) fact()   {}
func (*SourceChanged) fact() {}
func (*SourceRemoved) fact() {}
func (*SourcePolled) fact()  {}
