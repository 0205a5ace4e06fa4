package ledger

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

var (
	noon     = time.Date(2026, 3, 17, 12, 0, 44, 123456789, time.UTC)
	recordID = ulid.MustParse("01JPHK9Q0BX6V3T4ZJ8N2M5RWC")
	causeID  = ulid.MustParse("01JPHK9Q00000000000000000A")
)

const (
	eventID    = "evt_01JPHK9Q0BX6V3T4ZJ8N2M5RWC"
	deliveryID = "dlv_01JPHK9Q0BC7E2S9A1F4K6M8PQ"
	attemptID  = "att_01JPHK9Q1D0G5H7J9K2M4N6PQR"
	endpointID = "ep_01JPHK8Z00T1V3X5Y7Z9A2C4E6"
	dataKeyID  = "dk_01JPHK7A00B2D4F6H8J0K2M4N6"
)

func sealedSample(size int) *domain.Sealed {
	return &domain.Sealed{KeyID: dataKeyID, Nonce: []byte("12-byte-none"),
		Ciphertext: bytes.Repeat([]byte{0xa7, 0x3c}, size/2)}
}

func configSample() domain.EndpointConfig {
	return domain.EndpointConfig{Kind: "webhook", Scheme: "https", Host: "hooks.example.com:8443",
		Content: sealedSample(48), Description: "Größe & <Preis>",
		Metadata:   map[string]string{"team": "billing", "env": "prod"},
		EventTypes: []string{"agent.*", "cron.failed"}, RetrySchedule: domain.DefaultRetrySchedule(),
		Timeout: domain.Duration(20 * time.Second), RateLimit: 12.5, MaxInFlight: 64,
		Signing: domain.Signing{Scheme: "v1", KeyID: "sk_01JPHK7B00B2D4F6H8J0K2M4N6", Fingerprint: "9f86d081884c7d65"}}
}

// signingSample signs by both schemes: a secret was replaced by a key pair.
func signingSample() domain.Signing {
	old := configSample().Signing
	return domain.Signing{Scheme: "v1a", KeyID: "sk_01JPHK9P00B2D4F6H8J0K2M4N6", Fingerprint: "60303ae22b998861",
		PublicKey: "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", Previous: []domain.PreviousKey{{Scheme: old.Scheme,
			KeyID: old.KeyID, Fingerprint: old.Fingerprint, ValidUntil: noon.Add(24 * time.Hour)}}}
}

// receiverSample has all that a receiver can ask of its sender.
func receiverSample() domain.EndpointConfig {
	c := configSample()
	ref := func(last string) domain.VaultRef { return domain.VaultRef{KeyID: "cr_01JPHK7B00B2D4F6H8J0K2M4" + last} }
	c.Signing = signingSample()
	c.Headers = []domain.SecretHeader{{Name: "X-Api-Key", Value: ref("N7")}}
	c.Auth = &domain.ReceiverAuth{Type: domain.AuthBearer, Value: ref("N8")}
	c.ClientCert = &domain.ClientCert{Pair: ref("N9"), Subject: "CN=hookledger", NotAfter: noon.AddDate(1, 0, 0),
		Fingerprint: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
	c.Legacy = &domain.LegacySigning{Header: "X-Hub-Signature-256", Prefix: "sha256=", Secret: ref("NA")}
	return c
}

func pollSample() domain.SourceConfig {
	return domain.SourceConfig{Kind: domain.SourceAgenFleet, Description: "the fleet", TimeZone: "Europe/Berlin",
		Fields: map[string]string{"id": "/id", "status": "/state"}, Statuses: map[string]string{"paused": "offline"},
		Poll: &domain.PollConfig{URL: "https://api.agenfleet.ai/api", Auth: domain.AuthLogin,
			Credentials: domain.VaultRef{KeyID: "cr_01JPHK7B00B2D4F6H8J0K2M4N6"},
			Every:       domain.Duration(time.Minute), CostsEvery: domain.Duration(time.Hour), RateLimit: 50, Currency: "USD",
			CostPeriod: "monthly", AlertThreshold: "0.8"}}
}

func cronSample() domain.SourceConfig {
	return domain.SourceConfig{Kind: domain.SourceCron, TimeZone: "UTC", Cron: &domain.CronConfig{TokenPrefix: "hlc_Zx81",
		TokenHash: bytes.Repeat([]byte{7}, 32), Job: "job_daily_report", Window: domain.Duration(domain.DefaultCronWindow)}}
}

// samples has a full example of every type: all optional fields are set.
func samples() []domain.Fact {
	sequence := uint64(41)
	config := configSample()
	return []domain.Fact{
		&domain.LedgerCreated{LedgerID: recordID.String(), Format: 1},
		&domain.TenantRegistered{Name: "default", Settings: domain.TenantSettings{AcceptUnknownTypes: true}},
		&domain.TenantReconfigured{Settings: domain.TenantSettings{AcceptUnknownTypes: true}},
		&domain.EventTypeRegistered{Type: "order.paid", Version: 2, Description: "An order was paid.",
			Schema:  json.RawMessage(`{"type":"object","required":["orderId"]}`),
			Example: json.RawMessage(`{"orderId":"o_1","amount":19.90}`)},
		&domain.EndpointRegistered{Config: config},
		&domain.EndpointReconfigured{Config: config},
		&domain.EndpointDisabled{Reason: "manual", Evidence: causeID},
		&domain.EndpointEnabled{},
		&domain.EndpointRemoved{},
		&domain.EndpointSecretRotated{Signing: signingSample()},
		&domain.EndpointSecretRetired{Keys: []string{"sk_01JPHK7B00B2D4F6H8J0K2M4N6"}, Reason: domain.RetiredRotated},
		&domain.KeyIssued{Name: "ci", Prefix: "hl_Zx81", Hash: bytes.Repeat([]byte{7}, 32), Role: domain.RoleProducer,
			ExpiresAt: noon.AddDate(1, 0, 0)},
		&domain.KeyRevoked{},
		&domain.EventReceived{ID: eventID, Event: "agent.budget_alert", SchemaVersion: 1, Timestamp: noon.Add(-time.Second),
			TimestampGiven: true, Source: "agenfleet", Sequence: &sequence, ContentType: "application/json",
			Content: sealedSample(420), Size: 350},
		&domain.EventRouted{RoutedAsOf: causeID,
			Matches: []domain.Match{{Endpoint: endpointID, Delivery: deliveryID, EndpointRevision: 3}},
			LeftOut: []domain.LeftOut{{Endpoint: "ep_01JPHK8Z00T1V3X5Y7Z9A2C4E7", Reason: "disabled"}}},
		&domain.DeliveryScheduled{Event: eventID, Endpoint: endpointID, Cause: domain.CauseRouted,
			Policy: domain.RetryPolicy{Schedule: domain.DefaultRetrySchedule(), Jitter: domain.DefaultJitter}, DueAt: noon},
		&domain.AttemptStarted{Attempt: attemptID, N: 2, EndpointRevision: 3, Trigger: domain.TriggerManual, Forced: true,
			Method: "POST", Host: "hooks.example.com:8443", Headers: []domain.Header{
				{Name: "content-type", Value: "application/json"}, {Name: "user-agent", Value: "hookledger/0.1.0"},
				{Name: "content-length", Value: "350"}},
			Timeout: domain.Duration(20 * time.Second), StartedAt: noon, Node: "node-01JPHK00000000000000000000"},
		&domain.RequestSigned{Attempt: attemptID, Scheme: "v1", KeyIDs: []string{"sk_01JPHK7B00B2D4F6H8J0K2M4N6"},
			WebhookID: eventID, WebhookTimestamp: noon.Unix(), Signatures: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		&domain.ResponseReceived{Attempt: attemptID, Status: 503, Content: sealedSample(260), Truncated: true,
			RemoteAddr: "[2001:db8::1]:8443", TLS: &domain.TLSFacts{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256",
				ServerName: "hooks.example.com", Issuer: "CN=Prüfstelle,O=Example", NotAfter: noon.AddDate(0, 3, 0),
				Fingerprint: strings.Repeat("0f", 32)},
			Timings:    domain.Timings{DNS: 800, Connect: 1200, TLS: 2100, FirstByte: 5200, Total: 5300},
			RetryAfter: domain.Duration(90 * time.Second), Late: true},
		&domain.AttemptFailed{Attempt: attemptID, Phase: "connect", Code: domain.CodeRefused, Content: sealedSample(90),
			Sent: domain.SentNo, RemoteAddr: "192.0.2.7:443", Timings: domain.Timings{DNS: 800, Total: 990}, Late: true},
		&domain.AttemptInterrupted{Attempt: attemptID, Reason: domain.InterruptCrash},
		&domain.RetryScheduled{N: 2, DueAt: noon.Add(5 * time.Second), Backoff: domain.Duration(5321 * time.Millisecond),
			RetryAfterTaken: true},
		&domain.DeliverySucceeded{Attempt: attemptID, Attempts: 2},
		&domain.DeliveryExhausted{Attempts: 10, Last: attemptID, Reason: "schedule"},
		&domain.DeliveryCancelled{Reason: "endpoint_removed"},
		&domain.RetryRequested{Force: true},
		&domain.SourceAdded{Config: pollSample()},
		&domain.SourceChanged{Config: cronSample()},
		&domain.SourceRemoved{},
		&domain.SourcePolled{What: domain.PollAgents, Outcome: domain.PollFailed, Begun: noon, Ended: noon.Add(time.Second),
			Config: causeID, Rows: 142, Polls: 15, Code: "rate_limited",
			Gap:     &domain.PollGap{Since: noon.Add(-15 * time.Minute), Until: noon.Add(time.Second), Polls: 14},
			Derived: []domain.DerivedEvent{{ID: eventID, Event: "agent.status_changed"}},
			Refused: []domain.RefusedEvent{{ID: "evt_01JPHK9Q00000000000000000B", Code: "schema_mismatch"}},
			Content: sealedSample(240)},
		&domain.ReplayRequested{Endpoint: endpointID, Match: domain.MatchThen, Rate: 50, GapFactor: 0.1, Ordered: true,
			Content: sealedSample(180)},
		&domain.ReplayPlanned{AsOf: domain.RecordRef{Record: causeID, Stream: domain.EventStream("default", eventID),
			Revision: 1}, Count: 1200, Bytes: 420_000, Skipped: map[string]int{"endpoint_removed": 3},
			Digest: strings.Repeat("3c", 32)},
		&domain.ReplayPageScheduled{Page: 2, First: 1000, LastAt: noon, Digest: strings.Repeat("3c", 32),
			Pairs: []domain.ReplayPair{{Event: eventID, Endpoint: endpointID, Delivery: deliveryID}}},
		&domain.ReplayPaused{Reason: "manual"},
		&domain.ReplayResumed{},
		&domain.ReplayCancelled{Reason: "endpoint_removed"},
		&domain.ReplayCompleted{Delivered: 1190, Failed: 8, Skipped: map[string]int{"erased": 2, "endpoint_removed": 3}},
		&domain.ReconciliationRun{Rules: domain.ReconciliationRules{From: noon.AddDate(0, -1, 0), To: noon,
			By: domain.ByEvent, TimeZone: "Europe/Berlin", LateAfter: domain.Duration(5 * time.Minute), Tolerance: "0.01",
			EventTypes: []string{"agent.budget_alert", "agent.budget_exhausted"}, Endpoints: []string{endpointID},
			Against: domain.AgainstAgenFleet, Source: "src_01JPHK8Z00T1V3X5Y7Z9A2C4E6",
			Numbered: &domain.NumberRange{Source: "billing-core", From: 100, To: 200}},
			AsOf: domain.RecordRef{Record: causeID, Stream: domain.EventStream("default", eventID), Revision: 1},
			Totals: domain.ReconciliationTotals{Events: 120, Erased: 1, Deliveries: 240, Delivered: 237, Late: 2, Failed: 2,
				Pending: 1, Duplicates: 1, Findings: map[string]int{"late": 2, "missing": 3}, Adjustments: 4},
			Closed: "rcn_01JPHK8Z00T1V3X5Y7Z9A2C4E6", Content: sealedSample(300)},
		&domain.EventRefused{Reason: "schema_mismatch", Count: 1200, Key: "key_01JPHK8Z00T1V3X5Y7Z9A2C4E6",
			FirstAt: noon.Add(-50 * time.Second), LastAt: noon, Content: sealedSample(280)},
	}
}

func sampleRecord(f domain.Fact) *domain.Record {
	return &domain.Record{ID: recordID, Stream: domain.DeliveryStream("default", deliveryID), Revision: 4,
		RecordedAt: noon, Tenant: "default", Actor: domain.System("delivery"), Correlation: eventID, Causation: causeID,
		Fact: f}
}

// deliverySamples are the five records of a delivery that succeeds at once, over plain HTTP.
func deliverySamples() []*domain.Record {
	var out []*domain.Record
	for _, f := range samples() {
		switch f := f.(type) {
		case *domain.AttemptStarted:
			f.N, f.Trigger, f.Forced = 1, domain.TriggerInitial, false
		case *domain.ResponseReceived:
			f.Status, f.TLS, f.Truncated, f.RetryAfter, f.Late = 200, nil, false, 0, false
			f.Timings, f.RemoteAddr = domain.Timings{FirstByte: 310, Total: 330}, "127.0.0.1:3000"
		case *domain.DeliveryScheduled, *domain.RequestSigned, *domain.DeliverySucceeded:
		default:
			continue
		}
		out = append(out, sampleRecord(f))
	}
	return out
}
