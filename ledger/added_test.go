package ledger

import (
	"time"

	"hookledger/domain"
)

// lenientSample is an endpoint with a patience of its own.
func lenientSample() domain.EndpointConfig {
	c := configSample()
	never := domain.Duration(0)
	c.DisableAfter = &never
	return c
}

// addedField is a record with optional fields that were added to a version which ledgers held already. The version's
// first golden file stays as it is, and says that a record without them loads; what names this one's is TYPE.vN.NAME.
type addedField struct {
	name string
	fact domain.Fact
}

func addedFields() []addedField {
	return []addedField{
		{"receiver", &domain.EndpointRegistered{Config: receiverSample()}},
		{"receiver", &domain.EndpointReconfigured{Config: receiverSample()}},
		{"text_search", &domain.TenantRegistered{Name: "default", Settings: domain.TenantSettings{TextSearch: true}}},
		{"text_search", &domain.TenantReconfigured{Settings: domain.TenantSettings{TextSearch: true}}},
		{"channel", &domain.EndpointReconfigured{Config: channelSample()}},
		{"ordered", &domain.EndpointReconfigured{Config: orderedSample()}},
		{"limits", &domain.TenantReconfigured{Settings: limitsSample()}},
		{"limits", &domain.TenantRegistered{Name: "acme", Settings: limitsSample()}},
		{"endpoint", &domain.AttemptStarted{Attempt: attemptID, N: 2, EndpointRevision: 3, Trigger: domain.TriggerAutomatic,
			Method: "POST", Host: "hooks.example.com:8443", Headers: []domain.Header{{Name: "content-length", Value: "350"}},
			Timeout: domain.Duration(20 * time.Second), StartedAt: noon, Node: "node-01JPHK00000000000000000000",
			Endpoint: endpointID}},
		{"disable_after", &domain.EndpointReconfigured{Config: lenientSample()}},
		{"schedule", &domain.RetryRequested{N: 3, InPlaceOf: noon.Add(5 * time.Minute), NextStep: 3,
			NextWait: domain.Duration(30 * time.Minute)}},
		{"row", &domain.EndpointDisabled{Reason: domain.DisabledFailing, Evidence: causeID, First: recordID,
			Since: noon.AddDate(0, 0, -5), Failures: 61}},
		{"message", &domain.AttemptStarted{Attempt: attemptID, N: 1, EndpointRevision: 3, Trigger: domain.TriggerInitial,
			Method: "MAIL", Host: "smtp.example.com:587", Headers: []domain.Header{{Name: "Message-ID",
				Value: "<evt_01JPHK9Q0BX6V3T4ZJ8N2M5RWC.0e26f370b562@example.com>"}},
			Timeout: domain.Duration(20 * time.Second), StartedAt: noon, Node: "node-01JPHK00000000000000000000",
			Endpoint: endpointID, Content: sealedSample(120)}},
		{"unconfirmed", &domain.ResponseReceived{Attempt: attemptID, Status: 200, Content: sealedSample(60),
			RemoteAddr: "203.0.113.7:443", Timings: domain.Timings{Total: 1234}, Unconfirmed: true}},
		{"credential", &domain.EndpointRegistered{Config: messageSample()}},
		{"credential", &domain.EndpointReconfigured{Config: messageSample()}},
		{"confirmed", &domain.DeliveryExhausted{Attempts: 2, Last: attemptID, Reason: "schedule", Confirmed: true}},
		{"content", &domain.DeliveryCancelled{Reason: domain.CancelRequested, Content: sealedSample(90)}},
	}
}

// messageSample is an endpoint that messages go to, and that has nothing to sign with.
func messageSample() domain.EndpointConfig {
	c := configSample()
	c.Kind, c.Host, c.Signing = domain.EndpointTelegram, "api.telegram.org", domain.Signing{}
	c.Credential = &domain.VaultRef{KeyID: "cr_01JPHK9Q0BX6V3T4ZJ8N2M5RWC"}
	return c
}

func orderedSample() domain.EndpointConfig {
	c := configSample()
	c.Ordered, c.OnExhausted = true, domain.OnExhaustedWait
	return c
}

func channelSample() domain.EndpointConfig {
	c := configSample()
	c.Channel = domain.ChannelURL
	return c
}

func limitsSample() domain.TenantSettings {
	return domain.TenantSettings{IngestRate: 250.5, MaxEndpoints: 100, MaxInFlightPerHost: 64}
}
