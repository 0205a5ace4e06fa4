package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/sources/agenfleet"
	"hookledger/vault"
)

// fakePolls says what a test wants it to.
type fakePolls struct{}

func (fakePolls) Status(string, string) (agenfleet.Status, bool) {
	return agenfleet.Status{Agents: 7, ReadAt: time.Unix(1773741644, 0), Code: "rate_limited", Message: "later",
		GapSince: time.Unix(1773741644, 0), FailedPolls: 2}, true
}

func (fakePolls) Test(_ context.Context, s *domain.Source) (agenfleet.Report, error) {
	if s.Config.Poll.Auth == domain.AuthKey {
		return agenfleet.Report{Code: "auth_failed", Message: "give another"}, nil
	}
	return agenfleet.Report{Agents: 3, Statuses: map[string]int{"online": 3}, Budgets: 1}, nil
}

func fleetSource(more map[string]any) map[string]any {
	settings := map[string]any{"url": "https://api.agenfleet.ai/api", "email": "me@example.com", "password": "canary"}
	for k, v := range more {
		settings[k] = v
	}
	return map[string]any{"kind": "agenfleet", "tz": "Europe/Berlin", "agenfleet": settings}
}

func TestSourcesAreAddedChangedAndRemoved(t *testing.T) {
	t.Parallel()
	s := newStack(t, func(c *Config) { c.Polls = fakePolls{} })
	admin, reader := s.key("default", domain.RoleAdmin), s.key("default", domain.RoleAuditor)
	made := s.call(admin, "POST", "/v1/sources", fleetSource(nil)).want(201, "")
	src := into[Source](made)
	if src.AgenFleet.Auth != "login" || src.AgenFleet.Every != domain.Duration(time.Minute) ||
		src.AgenFleet.RateLimit != domain.DefaultRateLimit || src.Status.State != "gap" || src.Status.Agents != 7 ||
		strings.Contains(string(made.body), "canary") || strings.Contains(string(made.body), "me@example.com") {
		t.Errorf("%s", made.body)
	}
	key := func() string {
		t.Helper()
		held, ok := s.proj.Directory().Source("default", src.ID)
		if !ok {
			t.Fatal("it is not there")
		}
		return held.Config.Poll.Credentials.KeyID
	}
	first := key()
	secret, err := s.vault.Secret(t.Context(), first)
	if err != nil || !strings.Contains(secret.Reveal(), "canary") {
		t.Fatalf("the vault: %v", err)
	}
	path := "/v1/sources/" + src.ID
	changed := into[Source](s.call(admin, "PATCH", path, `{"tz":"Asia/Tokyo","agenfleet":{"every":"30s"}}`,
		"If-Match", made.header.Get("ETag"), "Content-Type", "application/merge-patch+json").want(200, ""))
	if changed.TZ != "Asia/Tokyo" || changed.AgenFleet.Every != domain.Duration(30*time.Second) || key() != first {
		t.Errorf("%+v", changed)
	}
	s.call(admin, "PATCH", path, `{"tz":"UTC"}`, "If-Match", made.header.Get("ETag")).want(412, "revision_conflict")
	s.call(admin, "PATCH", path, `{"agenfleet":{"email":"you@example.com"}}`).want(400, "invalid_source")
	s.call(admin, "PATCH", path, `{"kind":"cron","agenfleet":null}`).want(400, "invalid_source")
	s.call(admin, "PATCH", path, `{"agenfleet":{"api_key":"k","auth":"api_key"}}`).want(200, "")
	if _, err := s.vault.Secret(t.Context(), first); !errors.Is(err, vault.ErrErased) {
		t.Errorf("the former credentials: %v", err)
	}
	if got := into[SourceTest](s.call(admin, "POST", path+"/test", `{}`).want(200, "")); got.OK ||
		got.Code != "auth_failed" || got.Message == "" {
		t.Errorf("%+v", got)
	}
	if all := into[List[Source]](s.call(reader, "GET", "/v1/sources", nil).want(200, "")); len(all.Data) != 1 {
		t.Errorf("%+v", all)
	}
	second := key()
	s.call(admin, "DELETE", path, nil).want(204, "")
	s.call(reader, "GET", path, nil).want(404, "source_not_found")
	s.call(admin, "DELETE", path, nil).want(404, "source_not_found")
	if _, err := s.vault.Secret(t.Context(), second); !errors.Is(err, vault.ErrErased) {
		t.Errorf("the removed one's credentials: %v", err)
	}
}

// TestBadSourcesAppendNothing: each error names the field and the fix, and nothing is kept.
func TestBadSourcesAppendNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	head := s.store.Head()
	for name, c := range map[string]struct {
		body any
		code string
	}{
		"kind":        {map[string]any{"kind": "rss"}, "invalid_request"},
		"no settings": {map[string]any{"kind": "agenfleet"}, "invalid_source"},
		"time zone":   {map[string]any{"kind": "cron", "tz": "Mars/Base"}, "invalid_source"},
		"field":       {map[string]any{"kind": "cron", "fields": map[string]string{"x": "/a"}}, "invalid_source"},
		"window":      {map[string]any{"kind": "cron", "cron": map[string]any{"window": "5h"}}, "invalid_source"},
		"credentials": {fleetSource(map[string]any{"password": ""}), "invalid_source"},
		"url":         {fleetSource(map[string]any{"url": "api.agenfleet.ai"}), "invalid_url"},
		"metadata":    {fleetSource(map[string]any{"url": "http://169.254.169.254/api"}), "blocked_address"},
		"loopback":    {fleetSource(map[string]any{"url": "http://localhost:8080/api"}), "blocked_address"},
		"every":       {fleetSource(map[string]any{"every": "1s"}), "invalid_source"},
		"currency":    {fleetSource(map[string]any{"costs_every": "1h"}), "invalid_source"},
		"threshold":   {fleetSource(map[string]any{"alert_threshold": 80}), "invalid_request"},
	} {
		got := s.call(admin, "POST", "/v1/sources", c.body).want(400, c.code)
		if strings.Contains(string(got.body), "canary") {
			t.Errorf("%s: it shows the password", name)
		}
	}
	if s.store.Head() != head {
		t.Error("something was appended")
	}
}

func TestAddingASourceIsRepeatable(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	idem := []string{"Idempotency-Key", "k"}
	first := into[Source](s.call(admin, "POST", "/v1/sources", `{"kind":"cron","description":"a"}`, idem...).want(201, ""))
	again := into[Source](s.call(admin, "POST", "/v1/sources", `{"kind":"cron","description":"a"}`, idem...).want(200, ""))
	if again.ID != first.ID || first.Path == "" || again.Path != "" {
		t.Errorf("%+v, then %+v", first, again)
	}
	s.call(admin, "POST", "/v1/sources", `{"kind":"cron","description":"b"}`, idem...).want(409, "idempotency_conflict")
	s.call(admin, "DELETE", "/v1/sources/"+first.ID, nil).want(204, "")
	s.call(admin, "POST", "/v1/sources", `{"kind":"cron","description":"a"}`, idem...).want(409, "source_removed")
}

// TestCronPosts: a raw post under the token becomes cron.completed, whatever its content type; a repeat is no second
// run; a removed source's token opens nothing; and the token stands in no answer and no log.
func TestCronPosts(t *testing.T) {
	t.Parallel()
	s, now := newClockedStack(t)
	s.tenant("acme")
	admin, theirs := s.key("default", domain.RoleAdmin), s.key("acme", domain.RoleAdmin)
	src := into[Source](s.call(admin, "POST", "/v1/sources", `{"kind":"cron","cron":{"window":"30s"}}`).want(201, ""))
	if !strings.HasPrefix(src.Path, "/in/cron/"+TokenPrefix) || len(src.Path) < 50 || src.Cron.Prefix == "" {
		t.Fatalf("%+v", src)
	}
	post := func(query, body string, headers ...string) CronReceipt {
		t.Helper()
		return into[CronReceipt](s.call("", "POST", src.Path+query, body, headers...).want(202, ""))
	}
	named := `{"job_id":"report","run_id":"r1","status":"failed","output":"boom"}`
	a := post("", named)
	if a.Duplicate || a.JobID != "report" || a.RunID != "r1" {
		t.Fatalf("%+v", a)
	}
	e := s.call(admin, "GET", "/v1/events/"+a.ID, nil).want(200, "")
	if text := string(e.body); !strings.Contains(text, `"cron.completed"`) || !strings.Contains(text, src.ID) {
		t.Errorf("%s", text)
	}
	s.call(theirs, "GET", "/v1/events/"+a.ID, nil).want(404, "event_not_found")
	if b := post("", named); !b.Duplicate || b.Differs || b.ID != a.ID {
		t.Errorf("a repeat: %+v", b)
	}
	if b := post("", `{"job_id":"report","run_id":"r1","status":"ok"}`); !b.Duplicate || !b.Differs || b.ID != a.ID {
		t.Errorf("the same run with another content: %+v", b)
	}
	// Without an id of its own: a repeat within the window, across its fixed bounds too, and a run after it.
	text := []string{"Content-Type", "text/plain; charset=utf-8"}
	c := post("?job=backup", "42 files", text...)
	now.Add(int64(25 * time.Second))
	if d := post("?job=backup", "42 files", text...); !d.Duplicate || d.ID != c.ID || d.RunID != c.RunID {
		t.Errorf("a repeat across the bound: %+v, first %+v", d, c)
	}
	if d := post("?job=other", "42 files", text...); d.Duplicate {
		t.Errorf("another job's: %+v", d)
	}
	now.Add(int64(20 * time.Second))
	if d := post("?job=backup", "42 files", text...); d.Duplicate || d.ID == c.ID {
		t.Errorf("after the window: %+v", d)
	}
	for body, code := range map[string]string{"": "empty_body", `{"job_id":`: "invalid_json", "no job": "missing_field",
		`{"job_id":"j","status":"asleep"}`: "unknown_status"} {
		got := s.call("", "POST", src.Path, body).want(400, code)
		if strings.Contains(string(got.body), TokenPrefix) {
			t.Errorf("it shows the token: %s", got.body)
		}
	}
	s.call("", "POST", src.Path, strings.Repeat("x", domain.MaxBody+1)).want(413, "body_too_large")
	s.call("", "POST", src.Path+"x", named).want(404, "source_not_found")
	s.call("", "GET", src.Path, nil).want(405, "method_not_allowed")
	// Four runs came in: repeats and what was refused are none.
	if err := s.proj.WaitFor(t.Context(), s.store.Head()); err != nil {
		t.Fatal(err)
	}
	one := into[Source](s.call(admin, "GET", "/v1/sources/"+src.ID, nil).want(200, ""))
	all := into[List[Source]](s.call(admin, "GET", "/v1/sources", nil).want(200, ""))
	if e := one.Events; e == nil || e.Count != 4 || e.LastAt == nil || !e.LastAt.Equal(time.Unix(0, now.Load())) ||
		len(all.Data) != 1 || all.Data[0].Events.Count != 4 || src.Events != nil {
		t.Errorf("%+v %+v", one, all)
	}
	s.full.Store(true)
	s.call("", "POST", src.Path, `{"job_id":"j","run_id":"late"}`).want(507, "no_room")
	s.full.Store(false)
	s.call(admin, "DELETE", "/v1/sources/"+src.ID, nil).want(204, "")
	s.call("", "POST", src.Path, named).want(404, "source_not_found")
	if strings.Contains(s.log.String(), TokenPrefix) {
		t.Errorf("the log shows a token: %s", s.log)
	}
}

// TestCloudEventsAreTaken: in both modes, repeated as duplicates, and with ids that two sources do not share.
func TestCloudEventsAreTaken(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleProducer)
	const data = `{"agentId":"a","from":"online","to":"offline"}`
	binary := func(source, id string) []string {
		return []string{"ce-specversion", "1.0", "ce-id", id, "ce-source", source, "ce-type", "agent.status_changed"}
	}
	a := into[Receipt](s.call(key, "POST", "/v1/events", data, binary("/fleet/1", "1")...).want(202, ""))
	b := into[Receipt](s.call(key, "POST", "/v1/events", data, binary("/fleet/1", "1")...).want(202, ""))
	c := into[Receipt](s.call(key, "POST", "/v1/events", data, binary("/fleet/2", "1")...).want(202, ""))
	if a.Duplicate || !b.Duplicate || b.ID != a.ID || c.Duplicate || c.ID == a.ID {
		t.Errorf("%+v %+v %+v", a, b, c)
	}
	whole, err := json.Marshal(map[string]any{"specversion": "1.0", "id": "1", "source": "/fleet/1",
		"type": "agent.status_changed", "data": json.RawMessage(data)})
	if err != nil {
		t.Fatal(err)
	}
	structured := []string{"Content-Type", "application/cloudevents+json"}
	if d := into[Receipt](s.call(key, "POST", "/v1/events", string(whole), structured...).want(202, "")); !d.Duplicate ||
		d.ID != a.ID {
		t.Errorf("the same in the other mode: %+v", d)
	}
	s.call(key, "POST", "/v1/events", `{"specversion":"1.0"}`, structured...).want(400, "invalid_cloudevent")
	s.call(key, "POST", "/v1/events", `[]`, "Content-Type",
		"application/cloudevents-batch+json").want(http.StatusBadRequest, "invalid_cloudevent")
	s.call(key, "POST", "/v1/events", `[1]`, binary("/fleet/1", "2")...).want(400, "wrong_type")
}
