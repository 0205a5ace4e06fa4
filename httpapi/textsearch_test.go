package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/projections"
)

// newTexted is a stack whose node keeps indexes of texts.
func newTexted(t *testing.T) *stack {
	t.Helper()
	var texts *projections.TextSearch
	dir := t.TempDir()
	s := newStack(t, func(c *Config) {
		texts = projections.NewTextSearch(projections.TextConfig{Dir: dir, Store: c.Store,
			Directory: c.Projections.Directory(), Vault: c.Vault.(projections.TextVault), Every: time.Millisecond})
		c.Texts = texts
		c.Patience = time.Minute
	})
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- texts.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return s
}

// TestText finds events, deliveries and attempts by what the events say; off by default, and never another tenant's.
func TestText(t *testing.T) {
	t.Parallel()
	s := newTexted(t)
	key := s.key("default", domain.RoleAdmin)
	s.endpoint(key, map[string]any{})
	post := func(id, from string) {
		t.Helper()
		s.call(key, "POST", "/v1/events", fmt.Sprintf(`{"id":%q,"event":"agent.status_changed","subject":"person-4",`+
			`"data":{"agentId":%q,"from":"online","to":"offline"}}`, id, from)).want(202, "")
	}
	post("before", "atlas, the disk is full")
	for _, list := range []string{"events", "deliveries", "attempts"} {
		a := s.call(key, "GET", "/v1/"+list+"?text=disk", nil).want(http.StatusBadRequest, "text_search_off")
		if !strings.Contains(string(a.body), "hookledger tenant update default --text-search") {
			t.Errorf("it names no fix: %s", a.body)
		}
	}
	s.call(key, "PATCH", "/v1/tenants/default", `{"settings":{"text_search":true}}`).want(200, "")
	post("after", "nova, disk space")
	ids := func(query string) string {
		t.Helper()
		list := into[List[EventSummary]](s.call(key, "GET", "/v1/events?"+query, nil).want(200, ""))
		var out []string
		for _, e := range list.Data {
			out = append(out, e.ID)
		}
		return strings.Join(out, " ")
	}
	for query, want := range map[string]string{"text=disk": "after before", "text=disk+full": "before",
		"text=%22disk+space%22": "after", "text=atlas&event=agent.*&subject=person-4": "before", "text=zeppelin": "",
		"text=disk&event_id=after": "after", "text=disk&received_after=2100-01-01T00:00:00Z": "",
		"text=disk&order=asc&limit=1": "before"} {
		if got := ids(query); got != want {
			t.Errorf("%s finds %q, want %q", query, got, want)
		}
	}
	deliveries := into[List[Delivery]](s.call(key, "GET", "/v1/deliveries?text=atlas&total=true", nil).want(200, ""))
	if len(deliveries.Data) != 1 || deliveries.Data[0].EventID != "before" || deliveries.Total.Count != 1 {
		t.Errorf("%+v", deliveries)
	}
	into[List[AttemptSummary]](s.call(key, "GET", "/v1/attempts?text=atlas", nil).want(200, ""))
	s.call(key, "GET", "/v1/events?text=--", nil).want(400, "invalid_text")

	s.tenant("acme")
	theirs := s.key("acme", domain.RoleAdmin)
	s.call(theirs, "GET", "/v1/events?text=disk", nil).want(http.StatusBadRequest, "text_search_off")
	s.call(theirs, "PATCH", "/v1/tenants/acme", `{"settings":{"text_search":true}}`).want(200, "")
	list := into[List[EventSummary]](s.call(theirs, "GET", "/v1/events?text=disk", nil).want(200, ""))
	if len(list.Data) != 0 {
		t.Errorf("another tenant finds %+v", list.Data)
	}
	status := into[List[Projection]](s.call(key, "GET", "/v1/projections", nil).want(200, ""))
	if n := len(status.Data); status.Data[n-1].Name != "text-search/default" {
		t.Errorf("%+v", status.Data)
	}
}

// TestErasedText: with the key of whom it is about, no search finds it any more.
func TestErasedText(t *testing.T) {
	t.Parallel()
	s := newTexted(t)
	key := s.key("default", domain.RoleAdmin)
	s.call(key, "PATCH", "/v1/tenants/default", `{"settings":{"text_search":true}}`).want(200, "")
	post := example("gone")
	post["subject"] = "person-4"
	s.call(key, "POST", "/v1/events", post).want(202, "")
	find := func(n int) {
		t.Helper()
		list := into[List[EventSummary]](s.call(key, "GET", "/v1/events?text=agent_atlas", nil).want(200, ""))
		if len(list.Data) != n {
			t.Errorf("%+v are found, want %d", list.Data, n)
		}
	}
	find(1)
	first, err := s.api.readEvent(t.Context(), "default", "gone")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.vault.Destroy(t.Context(), first.received.Content.KeyID); err != nil {
		t.Fatal(err)
	}
	find(0)
}
