package domain

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// Why an endpoint's health holds its deliveries back.
const (
	HoldBreakerOpen = "breaker_open" // nothing but failures: nothing starts before a probe may
	HoldSlowedDown  = "slowed_down"  // the receiver said 429, 502, 503 or 504 with a Retry-After
)

// Gate is what an endpoint's health lets through at a time. The zero Gate lets everything through.
type Gate struct {
	State   HealthState // of the endpoint then, for metrics; it decides nothing here
	Hold    string      // empty, HoldBreakerOpen or HoldSlowedDown: nothing starts
	Since   time.Time   // of the hold
	Until   time.Time   // when the hold ends by itself at the latest
	Places  int         // at most so many attempts in flight; 0: no bound. Of a half-open breaker 1, the probe
	Because ulid.ULID   // the record that caused it
}

// Kinds of what follows from an endpoint's records in another stream.
const (
	FollowDisableGone    = "disable_gone"    // the receiver said 410: the endpoint is to be disabled
	FollowDisableFailing = "disable_failing" // nothing but failures for disable_after: likewise
	FollowFailing        = "endpoint.failing"
	FollowRecovered      = "endpoint.recovered"
	FollowDisabled       = "endpoint.disabled"
	FollowExhausted      = "delivery.exhausted"
	FollowChannelEnded   = "channel_ended" // a delivery to a channel succeeded or is exhausted
)

// FollowUp is something that follows from a record in another stream. It stays pending until it was done; whoever does
// it derives the ids of its records from the Evidence, so that a repeat is a duplicate.
type FollowUp struct {
	Kind     string // one of Follow…
	Tenant   string
	Endpoint string    // empty where only the Delivery says it: a late 2xx ended it
	Delivery string    // the delivery that the Evidence is about; empty for FollowDisabled
	Event    string    // and its event
	Evidence ulid.ULID // the record that it follows from
	Position Position  // of the Evidence
	At       time.Time // when the Evidence was recorded

	First    ulid.ULID // of an unbroken row of failures: the record that began it
	Since    time.Time // when that was recorded
	Failures int       // in the row
	Code     string    // what the last failure was: "timeout", "503"; or why the endpoint was disabled
}

// ID is the same each time that the same follow-up is found. What is done about it is recorded under ids derived from
// it: an event's is NewID(PrefixEvent, f.ID()). So a follow-up that is found again, after a crash or when everything is
// folded anew, is a duplicate; and once that event, or the EndpointDisabled that cites the Evidence, is on the ledger,
// the fold itself knows that it was done.
func (f *FollowUp) ID() ulid.ULID {
	return DerivedID(f.At, "follow_up", f.Kind, f.Tenant, f.Evidence.String())
}

// Decides says that the follow-up disables its endpoint, and so is no event.
func (f *FollowUp) Decides() bool {
	return f.Kind == FollowDisableGone || f.Kind == FollowDisableFailing
}

// HealthConfig are the thresholds of health. They are part of what a state is computed from: with others, the same
// records give other states.
type HealthConfig struct {
	// BreakAfter is the number of failures in a row that opens the breaker; 0: it never opens.
	BreakAfter int
	// BreakFor is how long the breaker first stays open; it doubles with each probe that fails, up to BreakAtMost.
	BreakFor, BreakAtMost time.Duration
	// DisableAfter of nothing but failures the endpoint is to be disabled; 0: never. An endpoint's own setting wins.
	DisableAfter time.Duration
	// Places is how many attempts an endpoint has in flight at most that sets no max_in_flight.
	Places int
}

// DefaultHealthConfig gives what a server uses that is told nothing else.
func DefaultHealthConfig() HealthConfig {
	return HealthConfig{BreakAfter: 10, BreakFor: 30 * time.Second, BreakAtMost: 5 * time.Minute,
		DisableAfter: 5 * 24 * time.Hour, Places: 512}
}

// IsChannel says that what the endpoint gets is reported as a channel's: cron.delivered and cron.failed.
func (c *EndpointConfig) IsChannel() bool { return c.ChannelName() != "" }

// MaxDisableAfter bounds an endpoint's own disable_after.
const MaxDisableAfter = 365 * 24 * time.Hour
