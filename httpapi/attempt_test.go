package httpapi

import (
	"encoding/json"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/vault"
)

// attempt writes what a delivery writes about a first attempt that succeeds, and gives the attempt's id.
func (s *stack) attempt(tenant, event, endpoint, delivery string) string {
	s.t.Helper()
	id := domain.NewID(domain.PrefixAttempt, ulid.Make())
	stream := domain.DeliveryStream(tenant, delivery)
	now := time.Now()
	stamp := domain.Stamp{At: now, Base: ulid.Make(), Actor: domain.System("delivery")}
	due := domain.Due{Tenant: tenant, Endpoint: endpoint, Delivery: delivery, Event: event, DueAt: now}
	start := domain.Start{Stamp: stamp, Due: due, Attempt: id, Method: "POST", Host: "example.com",
		Policy:  domain.RetryPolicy{Schedule: domain.DefaultRetrySchedule()},
		Headers: []domain.Header{{Name: "Content-Type", Value: "application/json"}}, Timeout: time.Second, Node: "test",
		Signed: domain.RequestSigned{Scheme: "v1", KeyIDs: []string{"key"}, WebhookID: event,
			WebhookTimestamp: now.Unix(), Signatures: "v1,c2lnbmVk"}}
	d := domain.NewDelivery()
	opened := d.Start(start)
	done, err := s.store.Append(s.t.Context(), stream, domain.NoStream, opened)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range opened {
		r := opened[i]
		r.Revision = domain.Revision(i)
		d.Evolve(&r)
	}
	stamp.Base = ulid.Make()
	sealed := s.seal(vault.Place{Tenant: tenant, Stream: stream, Record: stamp.Base, Type: "ResponseReceived"},
		domain.ResponseContent{Headers: []domain.Header{{Name: "Server", Value: "test"}}, Body: []byte("thanks")})
	closed := d.Finish(domain.Outcome{Stamp: stamp, Attempt: id, Response: &domain.ResponseReceived{Status: 200,
		Content: sealed, RemoteAddr: "203.0.113.7:443", Timings: domain.Timings{Total: 1500}}})
	if _, err := s.store.Append(s.t.Context(), stream, done.Revision, closed); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *stack) seal(p vault.Place, content any) *domain.Sealed {
	s.t.Helper()
	key, err := s.vault.DataKey(s.t.Context(), vault.Scope{Tenant: p.Tenant, Type: "test", At: time.Now()})
	if err != nil {
		s.t.Fatal(err)
	}
	plain, err := json.Marshal(content)
	if err != nil {
		s.t.Fatal(err)
	}
	sealed, err := s.vault.Seal(s.t.Context(), key, p, plain)
	if err != nil {
		s.t.Fatal(err)
	}
	return sealed
}
