package httpapi

import (
	"fmt"
	"strings"
)

// descriptions of members that have no room in a struct's tag, by type and name.
var descriptions = map[string]string{
	"AttemptSummary.duration_ms": "In milliseconds; absent while it is in flight, and where nobody knows.",
	"AttemptSummary.remote_addr": "Address and port that were dialled.",
	"Attempt.erased":             "The event's content was erased: body, response and error text are gone for good.",
	"Attempt.duration_ms":        "In milliseconds; absent while it is in flight, and where nobody knows.",
	"Attempt.remote_addr":        "Address and port that were dialled.",
	"AttemptRequest.url":         "Whole for the roles admin and operator; others see scheme and host.",
	"AttemptRequest.headers":     "All of them, the signature's three included, in order.",
	"EndpointConfig.url": "Where the events go: http or https, no credentials, no fragment. Of the kind telegram " +
		"the Bot API's base, if it is another than Telegram's; not of the kind email.",
	"EndpointConfig.kind": "Of the endpoint; it can't be changed. webhook: the event itself, signed; slack, telegram, email: " +
		"a message for people, not signed.",
	"TelegramTarget.chat_id":     "Digits, or the @name of a channel.",
	"EmailTarget.server":         "Host and port; it must offer STARTTLS. Without a port: 587.",
	"EndpointConfig.event_types": "Types or patterns: agent.* takes all types below agent, * takes all.",
	"EndpointConfig.retry_schedule": "The wait before each retry; empty: no retry; absent: the default, which " +
		"ends after about 3 days.",
	"EndpointConfig.timeout":       "Of one attempt, 100ms to 60s; absent: 20s.",
	"EndpointConfig.rate_limit":    "Requests a second at most; 0: no limit, or the kind's own (slack, telegram: 1).",
	"EndpointConfig.max_in_flight": "Requests at once at most; 0: the server's default, or the kind's own (email: 2).",
	"EndpointConfig.secret": "At creation only: the signing secret that the receiver has already, whsec_… or whsk_…; " +
		"absent: a new one is made.",
	"EndpointConfig.scheme": "At creation only: v1 (HMAC-SHA256, a shared secret) is the default; v1a is ed25519, whose " +
		"public key verifies.",
	"EndpointConfig.headers": "Headers of your own, by name, at most 20 of 4,096 bytes. Values go into the vault, and are " +
		"shown as {vault:…}; that reference keeps a value, null takes a header away.",
	"Endpoint.secret":      "The signing secret (whsec_…). It is shown this once.",
	"Endpoint.url":         "Whole for the roles admin and operator; others see scheme and host.",
	"Event.schema_version": "Of the schema that data was checked against; 0: an unknown type, not checked.",
	"Event.erased":         "Its content was erased: subject and body are gone for good.",
	"Event.routed_as_of":   "The newest configuration record that the routing was decided on.",
	"Event.left_out":       "Who subscribes to it and does not get it, and why.",
	"Projection.lag_ms":    "How long ago the oldest record that is not folded yet was recorded, in milliseconds.",
	"Projection.record_id": "The record that it could not fold; shown to platform keys.",
	"PostedEvent.id":       "Yours, accepted once for ever; absent: one is made.",
	"PostedEvent.subject":  "Whom it is about: what can be erased as one. It is sealed, and not delivered.",
	"TenantSettings.accept_unknown_types": "Take events of types that nobody registered; they are marked, and " +
		"not checked.",
	"TenantSettings.text_search": "Keep an index of what the tenant's events say, in plain text beside the ledger, so " +
		"that text finds them; without it the index is deleted.",
	"TenantSettings.ingest_rate": "Events a second that are taken, and as many in a burst (at least 10); what is over " +
		"is answered 429. 0: no limit.",
	"TenantSettings.max_endpoints": "Endpoints at most, 1 to 1000; 0: 1000.",
	"TenantSettings.max_in_flight_per_host": "Attempts at once, of all endpoints together, to one host and port; 0: " +
		"512.",
	"EndpointConfig.ordered": "One delivery after the other, in the order in which the events were received: the next " +
		"begins when the one before has ended.",
	"EndpointConfig.channel": "\"url\" marks a webhook as a channel of cron outputs: what becomes of a cron.completed on " +
		"its way there is said by cron.delivered or cron.failed. Endpoints of the kinds slack, telegram and email are " +
		"channels by themselves.",
	"EndpointConfig.disable_after": "After so long of nothing but failures the endpoint is disabled; 0s: never; absent: " +
		"the server's default, 120h unless it sets another.",
	"Waits.for": "As this node knows at this moment. schedule: its time has not come. order: behind must end first. " +
		"endpoint_rate, endpoint_in_flight, host_in_flight: the limit of its endpoint, or of its tenant's attempts at one " +
		"host. slowed_down: what is left of these while the endpoint has too much to do. window: the node's attempts at " +
		"once, or the part of them that one endpoint may have; timed_out_share, late_share, replay_share: the part that " +
		"is shared by endpoints whose last attempt timed out, by late deliveries, by replays. turn: those before it. " +
		"attempt: it was taken, and its attempt is about to be recorded. returned: it was taken, no attempt could be " +
		"recorded, and it is taken again at until. ledger: it can't be written, or has no room.",
	"EndpointHealth.places": "At most so many attempts at once, for it said that it has too much to do, or was down; " +
		"absent: no bound but its own. A half-open breaker has one.",
	"EndpointHealth.pending": "Deliveries that wait, as of a moment ago; absent with as_of: open-deliveries lists " +
		"them.",
	"EndpointHealth.consecutive_failures": "Failures since the last success.",
	"HealthWindow.p50_ms":                 "Of whole attempts, failed ones too, in milliseconds; exact to half of itself.",
	"EndpointConfig.on_exhausted": "What those behind an exhausted delivery of an ordered endpoint do: go on, or wait " +
		"until it is retried with success or cancelled.",
}

// addDescriptions writes them into the document's schemas.
func (a *api) addDescriptions() error {
	schemas := a.huma.OpenAPI().Components.Schemas.Map()
	for at, text := range descriptions {
		name, member, _ := strings.Cut(at, ".")
		schema := schemas[name]
		if schema == nil || schema.Properties[member] == nil {
			return fmt.Errorf("httpapi: a description is left over: %s", at)
		}
		schema.Properties[member].Description = text
	}
	return nil
}
