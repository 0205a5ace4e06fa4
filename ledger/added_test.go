package ledger

import (
	"time"

	"hookledger/domain"
)

// addedField is a record with optional fields that were added to a version which ledgers held already. The version's
// first golden file stays as it is, and says that a record without them loads; what names this one's is TYPE.vN.NAME.
type addedField struct {
	name string
	fact domain.Fact
}

func addedFields() []addedField {
	return []addedField{
		{"text_search", &domain.TenantRegistered{Name: "default", Settings: domain.TenantSettings{TextSearch: true}}},
		{"text_search", &domain.TenantReconfigured{Settings: domain.TenantSettings{TextSearch: true}}},
		{"ordered", &domain.EndpointReconfigured{Config: orderedSample()}},
		{"limits", &domain.TenantReconfigured{Settings: limitsSample()}},
		{"limits", &domain.TenantRegistered{Name: "acme", Settings: limitsSample()}},
		{"schedule", &domain.RetryRequested{N: 3, InPlaceOf: noon.Add(5 * time.Minute), NextStep: 3,
			NextWait: domain.Duration(30 * time.Minute)}},
		{"content", &domain.DeliveryCancelled{Reason: domain.CancelRequested, Content: sealedSample(90)}},
	}
}

func orderedSample() domain.EndpointConfig {
	c := configSample()
	c.Ordered, c.OnExhausted = true, domain.OnExhaustedWait
	return c
}

func limitsSample() domain.TenantSettings {
	return domain.TenantSettings{IngestRate: 250.5, MaxEndpoints: 100, MaxInFlightPerHost: 64}
}
