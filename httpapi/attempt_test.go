package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
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
		domain.ResponseContent{Headers: []domain.Header{{Name: "Server", Value: "test"},
			{Name: "Location", Value: "https://www.example.com/hook?token=capability"},
			{Name: "Location", Value: "/login?next=hook%3Ftoken%3Dcapability"}}, Body: []byte("thanks")})
	closed := d.Finish(domain.Outcome{Stamp: stamp, Attempt: id, Response: &domain.ResponseReceived{Status: 200,
		Content: sealed, RemoteAddr: "203.0.113.7:443", Timings: domain.Timings{Total: 1500}}})
	if _, err := s.store.Append(s.t.Context(), stream, done.Revision, closed); err != nil {
		s.t.Fatal(err)
	}
	return id
}

// TestWhatAReceiverRepeatsOfItsURLIsSeenByWhoSeesTheURL: as servers do that redirect, or know no such path.
func TestWhatAReceiverRepeatsOfItsURLIsSeenByWhoSeesTheURL(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin, operator := s.key("default", domain.RoleAdmin), s.key("default", domain.RoleOperator)
	auditor := s.key("default", domain.RoleAuditor)
	e := s.endpoint(operator, map[string]any{})
	r := into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
	path := "/v1/attempts/" + s.attempt("default", r.ID, e.ID, r.Deliveries[0].ID)
	if got := s.call(operator, "GET", path, nil).want(200, ""); !strings.Contains(string(got.body),
		"https://www.example.com/hook?token=capability") {
		t.Errorf("the operator does not see what came back: %s", got.body)
	}
	got := s.call(auditor, "GET", path, nil).want(200, "")
	shown := into[Attempt](got)
	if strings.Contains(string(got.body), "capability") ||
		!slices.Contains(shown.Response.Headers, domain.Header{Name: "Location", Value: "https://www.example.com/hook?/…"}) {
		t.Errorf("the auditor sees %s", got.body)
	}
}

// TestHideURL: in each part of what came back, whole, be one of them the beginning of another.
func TestHideURL(t *testing.T) {
	t.Parallel()
	out := Attempt{hidden: []string{"/hooks/T0001/abc%20d", "/hooks/T0001/abc d", "/hooks/T0001"},
		Response: &AttemptResponse{Body: `no "POST /hooks/T0001/abc%20d"`,
			BodyBase64: base64.StdEncoding.EncodeToString([]byte("\xff /hooks/T0001/abc d")),
			Headers:    []domain.Header{{Name: "Location", Value: "https://example.com/hooks/T0001"}}},
		Failure: &AttemptFailure{Message: "malformed: /hooks/T0001/abc d"}}
	out.hideURL()
	body, err := base64.StdEncoding.DecodeString(out.Response.BodyBase64)
	if err != nil || string(body) != "\xff /…" || out.Response.Body != `no "POST /…"` ||
		out.Response.Headers[0].Value != "https://example.com/…" || out.Failure.Message != "malformed: /…" {
		t.Errorf("%q, %v: %+v, %+v", body, err, out.Response, out.Failure)
	}
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
