package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/vault"
)

// TestWhatA202NamedIsThere: right after the answer, everything that it names is found, and never a 404.
func TestWhatA202NamedIsThere(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	for i := range 30 {
		e := s.endpoint(key, map[string]any{"event_types": []string{"agent.*"}})
		s.call(key, "GET", "/v1/endpoints/"+e.ID, nil).want(200, "")
		r := into[Receipt](s.call(key, "POST", "/v1/events", example("")).want(202, ""))
		if len(r.Deliveries) != i+1 {
			t.Fatalf("%d deliveries, want %d", len(r.Deliveries), i+1)
		}
		s.call(key, "GET", "/v1/deliveries/"+r.Deliveries[i].ID, nil).want(200, "")
		s.call(key, "GET", "/v1/events/"+r.ID, nil).want(200, "")
		list := into[List[Delivery]](s.call(key, "GET", "/v1/events/"+r.ID+"/deliveries", nil).want(200, ""))
		if len(list.Data) != i+1 || list.AsOfPosition < r.Position {
			t.Fatalf("%d deliveries listed as of %d", len(list.Data), list.AsOfPosition)
		}
		attempt := s.attempt("default", r.ID, r.Deliveries[i].EndpointID, r.Deliveries[i].ID)
		s.call(key, "GET", "/v1/attempts/"+attempt, nil).want(200, "")
	}
}

func TestEventShowsWhatWasPosted(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	on := s.endpoint(admin, map[string]any{"event_types": []string{"agent.*"}})
	off := s.endpoint(admin, map[string]any{"event_types": []string{"*"}})
	s.call(admin, "POST", "/v1/endpoints/"+off.ID+"/disable", nil).want(200, "")
	post := `{"id":"mine_1","event":"agent.budget_alert","timestamp":"2026-03-17T08:00:44.5Z","subject":"user:1",` +
		`"source":"crons","sequence":7,"data":{"agentId":"a", "budget":300000.10, "spent":1e5,"threshold":0.80,` +
		`"period":"daily","unit":"tokens"}}`
	r := into[Receipt](s.call(admin, "POST", "/v1/events", post).want(202, ""))
	if r.ID != "mine_1" || r.Duplicate || len(r.Deliveries) != 1 || r.Deliveries[0].EndpointID != on.ID {
		t.Fatalf("receipt %+v", r)
	}
	again := into[Receipt](s.call(admin, "POST", "/v1/events", post).want(202, ""))
	if !again.Duplicate || again.Position != r.Position || again.Deliveries[0] != r.Deliveries[0] {
		t.Errorf("repeat %+v", again)
	}
	e := into[Event](s.call(s.key("default", domain.RoleProducer), "GET", "/v1/events/mine_1", nil).want(200, ""))
	if e.Subject != "user:1" || e.Source != "crons" || *e.Sequence != 7 || len(e.LeftOut) != 1 ||
		e.LeftOut[0] != (LeftOut{off.ID, "disabled"}) || !strings.Contains(string(e.Body), `"budget":300000.10`) ||
		!e.Timestamp.Equal(time.Date(2026, 3, 17, 8, 0, 44, 5e8, time.UTC)) {
		t.Errorf("event %+v %s", e, e.Body)
	}
	page := into[List[Record]](s.call(admin, "GET", "/v1/events/mine_1/records", nil).want(200, ""))
	if len(page.Data) != 2 || page.Data[0].Type != "EventReceived" || page.Data[1].CausationID != page.Data[0].ID ||
		page.Data[0].CorrelationID != "mine_1" || strings.Contains(string(page.Data[0].Data), "user:1") {
		t.Errorf("records %+v", page)
	}
	// Erased: what is left says so.
	sealed := func() string {
		e, err := s.api.readEvent(t.Context(), "default", "mine_1")
		if err != nil {
			t.Fatal(err)
		}
		return e.received.Content.KeyID
	}()
	if err := s.vault.Destroy(context.Background(), sealed); err != nil {
		t.Fatal(err)
	}
	e = into[Event](s.call(admin, "GET", "/v1/events/mine_1", nil).want(200, ""))
	if !e.Erased || e.Body != nil || e.Subject != "" || e.Event != "agent.budget_alert" {
		t.Errorf("erased %+v", e)
	}
	if r := into[Receipt](s.call(admin, "POST", "/v1/events", post).want(202, "")); !r.Duplicate || !r.Erased {
		t.Errorf("repeat of an erased one %+v", r)
	}
}

func TestBatchHasOneResultPerEvent(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleProducer)
	one := func(id string) string {
		return `{"id":"` + id + `","event":"agent.status_changed","data":{"agentId":"a","from":"online","to":"offline"}}`
	}
	bodies := map[string][]string{
		"application/json": {"[" + one("b1") + `,
			{"id":"b2","event":"no.such","data":{"s":"],[{\""}}, 7 ,` + one("b1") + " ]"},
		"application/x-ndjson": {one("b3") + "\r\n\n{\"event\":\"no.such\",\"data\":{}}\n7\n" + one("b3") + "\n"},
	}
	for contentType, body := range bodies {
		got := into[BatchAnswer](s.call(key, "POST", "/v1/events/batch", body[0], "Content-Type", contentType).want(200, ""))
		if got.Accepted != 2 || got.Refused != 2 || len(got.Data) != 4 {
			t.Fatalf("%s: %+v", contentType, got)
		}
		if got.Data[0].Status != 202 || got.Data[0].Duplicate || got.Data[1].Error.Code != "unknown_event_type" ||
			got.Data[2].Status != 400 || got.Data[3].Status != 202 || !got.Data[3].Duplicate {
			t.Errorf("%s: %+v", contentType, got)
		}
		if !strings.Contains(got.Data[1].Error.Detail, "hookledger event-type create no.such") {
			t.Errorf("the refusal does not name the fix: %s", got.Data[1].Error.Detail)
		}
	}
	// A key for the batch is a key for each place in it.
	body := `[{"event":"agent.status_changed","data":{"agentId":"a","from":"online","to":"offline"}},` +
		`{"event":"agent.status_changed","data":{"agentId":"a","from":"online","to":"offline"}}]`
	first := into[BatchAnswer](s.call(key, "POST", "/v1/events/batch", body, "Idempotency-Key", "k").want(200, ""))
	again := into[BatchAnswer](s.call(key, "POST", "/v1/events/batch", body, "Idempotency-Key", "k").want(200, ""))
	for i := range first.Data {
		if first.Data[i].ID != again.Data[i].ID || first.Data[i].Duplicate || !again.Data[i].Duplicate {
			t.Errorf("repeat: %+v then %+v", first.Data[i], again.Data[i])
		}
	}
	if first.Data[0].ID == first.Data[1].ID {
		t.Error("two places of a batch became one event")
	}
}

func TestAttemptShowsTheExactRequest(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	th := s.thingsOf("default")
	// The endpoint changes after the attempt: the attempt shows what it was sent to.
	s.call(admin, "PATCH", "/v1/endpoints/"+th.endpoint, `{"url":"https://example.net/moved"}`).want(200, "")
	got := s.call(admin, "GET", "/v1/attempts/"+th.attempt, nil).want(200, "")
	a := into[Attempt](got)
	event := into[Event](s.call(admin, "GET", "/v1/events/"+th.event, nil).want(200, ""))
	if a.Request.URL != "https://example.com/hook?token=capability" || len(a.Request.Headers) != 4 ||
		a.Request.Headers[3].Value != a.Signature.Signatures || a.Request.Method != "POST" ||
		a.Response == nil || a.Response.Status != 200 || a.Response.Body != "thanks" ||
		a.Response.Headers[0].Name != "Server" ||
		a.Timings.Total != 1.5 || a.Status != "succeeded" || a.RemoteAddr != "203.0.113.7:443" || a.Erased {
		t.Errorf("attempt %s", got.body)
	}
	if !json.Valid([]byte(a.Request.Body)) || a.Request.Body != string(event.Body) {
		t.Errorf("body %s, want %s", a.Request.Body, event.Body)
	}
	for _, role := range []domain.Role{domain.RoleProducer, domain.RoleAuditor} {
		got := s.call(s.key("default", role), "GET", "/v1/attempts/"+th.attempt, nil).want(200, "")
		if strings.Contains(string(got.body), "capability") || into[Attempt](got).Request.URL != "https://example.com/…" {
			t.Errorf("%s sees the URL: %s", role, got.body)
		}
	}
	d := into[Delivery](s.call(admin, "GET", "/v1/deliveries/"+th.delivery, nil).want(200, ""))
	if len(d.Attempts) != 1 || d.Attempts[0].ID != th.attempt || d.Status != "succeeded" || d.Code != 200 {
		t.Errorf("delivery %+v", d)
	}
	s.call(admin, "POST", "/v1/deliveries/"+th.delivery+"/retry", nil).want(409, "already_succeeded")
	d = into[Delivery](s.call(admin, "POST", "/v1/deliveries/"+th.delivery+"/retry", `{"force":true}`).want(202, ""))
	if d.Status != "retrying" || d.NextAttemptAt == nil {
		t.Errorf("retried %+v", d)
	}
	s.call(admin, "DELETE", "/v1/endpoints/"+th.endpoint, nil).want(204, "")
	s.call(admin, "POST", "/v1/deliveries/"+th.delivery+"/retry", `{"force":true}`).want(409, "endpoint_removed")
}

func TestHeldWhileItsEndpointIsDisabled(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	e := s.endpoint(admin, map[string]any{})
	r := into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
	status := func() string {
		return into[Delivery](s.call(admin, "GET", "/v1/deliveries/"+r.Deliveries[0].ID, nil).want(200, "")).Status
	}
	if got := status(); got != "pending" {
		t.Errorf("status %s", got)
	}
	s.call(admin, "POST", "/v1/endpoints/"+e.ID+"/disable", nil).want(200, "")
	if got := status(); got != "held" {
		t.Errorf("status %s", got)
	}
	at := fmt.Sprintf("&min_position=%d", s.store.Head())
	for filter, want := range map[string]int{"held": 1, "pending": 0, "succeeded": 0} {
		page := into[List[Delivery]](s.call(admin, "GET", "/v1/deliveries?status="+filter+at, nil).want(200, ""))
		if len(page.Data) != want {
			t.Errorf("status=%s lists %d", filter, len(page.Data))
		}
	}
}

// TestProblems: each kind of error has one answer.
func TestProblems(t *testing.T) {
	t.Parallel()
	for kind, status := range map[domain.Kind]int{domain.KindInvalid: 400, domain.KindNotFound: 404,
		domain.KindConflict: 409, domain.KindForbidden: 403, domain.KindTooLarge: 413, domain.KindNoRoom: 507,
		domain.KindUnavailable: 503, domain.KindErased: 410} {
		p := problemOf(fmt.Errorf("wrapped: %w", domain.Refuse(kind, "some_code", "what is wrong", "what to do")))
		if p.Status != status || p.Code != "some_code" || p.Detail != "what is wrong: what to do" {
			t.Errorf("kind %d: %+v", kind, p)
		}
		h := http.Header{}
		p.headers(h.Set)
		if (h.Get("Retry-After") != "") != (status == 503) {
			t.Errorf("kind %d: %v", kind, h)
		}
	}
	p := problemOf(errors.Join(errors.New("disk on fire at /secret/path"), vault.ErrTampered))
	if p.Status != 500 || p.Detail != "" {
		t.Errorf("an internal error is shown: %+v", p)
	}
}

// announced is a body of which less comes than was announced.
type announced struct {
	io.Reader
	asked int // the largest read
}

func (b *announced) Read(p []byte) (int, error) {
	b.asked = max(b.asked, len(p))
	return b.Reader.Read(p)
}

// TestMemoryIsForWhatArrives: to announce a large body gets no memory for it.
func TestMemoryIsForWhatArrives(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, trustedBody, trustedBody + 1, 512 << 10} {
		body := bytes.Repeat([]byte("x"), n)
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", bytes.NewReader(body))
		got, err := readBody(httptest.NewRecorder(), r, 512<<10)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes: %d, %v", n, len(got), err)
		}
		short := &announced{Reader: strings.NewReader("few")}
		r = httptest.NewRequestWithContext(t.Context(), "POST", "/", short)
		r.ContentLength = 16 << 20
		var p *Problem
		if _, err = readBody(httptest.NewRecorder(), r, 16<<20); !errors.As(err, &p) || p.Code != "incomplete_body" {
			t.Errorf("a body that is short: %v", err)
		}
		if short.asked > trustedBody {
			t.Errorf("%d bytes were there for a body of 3", short.asked)
		}
	}
}
