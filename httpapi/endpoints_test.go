package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

func TestEndpointLife(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	auditor := s.key("default", domain.RoleAuditor)

	// Created: the secret is there, and works; nothing else ever shows it again.
	e := s.endpoint(admin, map[string]any{"metadata": map[string]string{"team": "ops", "env": "prod"},
		"retry_schedule": []string{"1s", "1h30m"}})
	if !strings.HasPrefix(e.Secret, domain.SecretPrefix) || domain.NewSecret(e.Secret).Fingerprint() == "" {
		t.Fatalf("no secret: %+v", e)
	}
	if e.Timeout != domain.Duration(domain.DefaultTimeout) || e.Status != "enabled" || e.Revision != 0 {
		t.Errorf("not the defaults: %+v", e)
	}
	path := "/v1/endpoints/" + e.ID
	got := s.call(admin, "GET", path, nil).want(200, "")
	if strings.Contains(string(got.body), "whsec_") || got.header.Get("ETag") != `"0"` {
		t.Errorf("the secret is shown again, or no ETag: %v %s", got.header, got.body)
	}
	if shown := into[Endpoint](got); shown.URL != "https://example.com/hook?token=capability" {
		t.Errorf("admin sees %s", shown.URL)
	}
	if got := s.call(auditor, "GET", path, nil).want(200, ""); strings.Contains(string(got.body), "capability") ||
		into[Endpoint](got).URL != "https://example.com/…" {
		t.Errorf("auditor sees %s", got.body)
	}

	// Patched: members merge, null puts the default back, what is not named stays.
	got = s.call(admin, "PATCH", path, `{"metadata":{"env":null,"tier":"1"},"retry_schedule":null,"timeout":"3s"}`,
		"Content-Type", "application/merge-patch+json", "If-Match", `"0"`).want(200, "")
	p := into[Endpoint](got)
	if len(p.Metadata) != 2 || p.Metadata["team"] != "ops" || p.Metadata["tier"] != "1" || p.Timeout.String() != "3s" ||
		len(p.RetrySchedule) != len(domain.DefaultRetrySchedule()) || p.Revision != 1 ||
		p.URL != "https://example.com/hook?token=capability" {
		t.Errorf("patched: %s", got.body)
	}
	head := s.store.Head()
	s.call(admin, "PATCH", path, `{"timeout":"3s"}`).want(200, "")
	if s.store.Head() != head {
		t.Error("a patch that changes nothing was recorded")
	}
	s.call(admin, "PATCH", path, `{"timeout":"4s"}`, "If-Match", `"0"`).want(412, "revision_conflict")
	n := into[Endpoint](s.call(admin, "PATCH", path, `{"retry_schedule":[]}`).want(200, ""))
	if len(n.RetrySchedule) != 0 {
		t.Errorf("an empty schedule became %v", n.RetrySchedule)
	}
	moved := into[Endpoint](s.call(admin, "PATCH", path, `{"url":"http://example.org:8080/new"}`).want(200, ""))
	if moved.URL != "http://example.org:8080/new" {
		t.Errorf("moved to %s", moved.URL)
	}

	// Disabled and enabled: each once, and routing follows at once.
	for _, step := range []struct{ verb, status string }{{"disable", "disabled"}, {"disable", "disabled"},
		{"enable", "enabled"}} {
		e := into[Endpoint](s.call(admin, "POST", path+"/"+step.verb, nil).want(200, ""))
		receipt := into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
		if e.Status != step.status || (len(receipt.Deliveries) == 1) != (step.status == "enabled") {
			t.Errorf("%s: %+v %+v", step.verb, e, receipt)
		}
	}

	// Deleted: it is gone, and gets nothing any more.
	s.call(admin, "DELETE", path, nil).want(204, "")
	s.call(admin, "DELETE", path, nil).want(404, "endpoint_not_found")
	s.call(admin, "GET", path, nil).want(404, "endpoint_not_found")
	s.call(admin, "POST", path+"/enable", nil).want(404, "endpoint_not_found")
	if r := into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, "")); len(r.Deliveries) != 0 {
		t.Errorf("a deleted endpoint got an event: %+v", r)
	}
	// Nothing of its path or its secret stands on the ledger in the clear, nor in the log.
	for r, err := range s.store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(r.Fact)
		if strings.Contains(string(raw), "capability") ||
			strings.Contains(string(raw), strings.TrimPrefix(e.Secret, "whsec_")) {
			t.Errorf("a secret stands on the ledger: %s", raw)
		}
	}
	if log := s.log.String(); strings.Contains(log, `"ERROR"`) || strings.Contains(log, e.Secret) ||
		strings.Contains(log, "capability") {
		t.Errorf("logged: %s", log)
	}
}

func TestEndpointLimit(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleOperator)
	for i := range domain.MaxEndpoints {
		s.append(domain.EndpointStream("default", "ep_"+strconv.Itoa(i)), "default",
			&domain.EndpointRegistered{Config: domain.EndpointConfig{EventTypes: []string{"none.such"}}})
	}
	body := map[string]any{"url": "https://example.com/", "event_types": []string{"*"}}
	s.call(key, "POST", "/v1/endpoints", body).want(http.StatusConflict, "endpoint_limit")
	s.call(key, "DELETE", "/v1/endpoints/ep_7", nil).want(204, "")
	s.call(key, "POST", "/v1/endpoints", body).want(http.StatusCreated, "")
	s.call(key, "POST", "/v1/endpoints", body).want(http.StatusConflict, "endpoint_limit")
}

// TestListsPage walks a list held in memory and one of rows, both ways, page by page.
func TestListsPage(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	var want []string
	for range 7 {
		want = append(want, s.endpoint(key, map[string]any{"event_types": []string{"none.such"}}).ID)
	}
	walk := func(path string) []string {
		var ids []string
		cursor := ""
		for {
			page := into[List[map[string]any]](s.call(key, "GET", path+"&limit=3&cursor="+cursor, nil).want(200, ""))
			for _, row := range page.Data {
				ids = append(ids, row["id"].(string))
			}
			if page.AsOfPosition == 0 || page.AsOf == nil || page.HasMore != (page.NextCursor != "") || len(page.Data) > 3 {
				t.Fatalf("page: %+v", page)
			}
			if !page.HasMore {
				return ids
			}
			cursor = page.NextCursor
		}
	}
	equal := func(got []string, want []string, reversed bool) {
		t.Helper()
		for i := range want {
			j := i
			if reversed {
				j = len(want) - 1 - i
			}
			if len(got) != len(want) || got[i] != want[j] {
				t.Fatalf("got %v, want %v (reversed: %v)", got, want, reversed)
			}
		}
	}
	equal(walk("/v1/endpoints?order=asc"), want, false)
	equal(walk("/v1/endpoints?order=desc"), want, true)
	want = nil
	var last Receipt
	for range 7 {
		last = into[Receipt](s.call(key, "POST", "/v1/events", example("")).want(202, ""))
		want = append(want, last.ID)
	}
	at := "&min_position=" + strconv.FormatUint(uint64(last.Position), 10)
	equal(walk("/v1/events?order=asc&event=agent.*"+at), want, false)
	equal(walk("/v1/events?order=desc"+at), want, true)
	page := into[List[EventSummary]](s.call(key, "GET", "/v1/events?event=cron.*"+at, nil).want(200, ""))
	if len(page.Data) != 0 {
		t.Errorf("cron.* gave %+v", page)
	}
}

// TestMinPositionAheadOfTheLedger: what the ledger does not hold is not waited for.
func TestMinPositionAheadOfTheLedger(t *testing.T) {
	t.Parallel()
	s := newStack(t, func(c *Config) { c.Patience = 24 * time.Hour })
	key := s.key("default", domain.RoleAdmin)
	for _, path := range []string{"/v1/events", "/v1/deliveries", "/v1/attempts", "/v1/endpoints", "/v1/event-types",
		"/v1/api-keys"} {
		head := uint64(s.store.Head())
		for _, pos := range []uint64{head + 1, math.MaxUint64} {
			s.call(key, "GET", path+"?min_position="+strconv.FormatUint(pos, 10), nil).want(400, "invalid_position")
		}
		s.call(key, "GET", path+"?min_position="+strconv.FormatUint(head, 10), nil).want(200, "")
	}
}

// stuck read models never get any further.
type stuck struct{ Projections }

func (stuck) WaitFor(ctx context.Context, _ domain.Position) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestReadModelsBehindAreNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	s := newStack(t, func(c *Config) { c.Patience, c.Projections = 1, stuck{c.Projections} })
	key := s.key("default", domain.RoleAdmin)
	got := s.call(key, "GET", "/v1/events?min_position=1", nil).want(503, "read_model_behind")
	if got.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

// TestEndpointsAreCreatedATenantAtATime: one tenant's wait is not another's, and who gave up waits no more.
func TestEndpointsAreCreatedATenantAtATime(t *testing.T) {
	t.Parallel()
	var l tenantLocks
	release, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(gone, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a lock that is held: %v", err)
	}
	release()
	if release, err = l.lock(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	release()
}
