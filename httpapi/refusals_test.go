package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/ingest"
)

// refusals are counted by a stack from now on; flush writes them as the end of the process does.
func newRefusing(t *testing.T) (s *stack, flush func()) {
	t.Helper()
	var counted *ingest.Refusals
	s = newStack(t, func(c *Config) {
		c.Registry = prometheus.NewRegistry()
		counted = ingest.NewRefusals(ingest.RefusalsConfig{Store: c.Store, Vault: c.Vault, Metrics: c.Registry})
		c.Refusals = counted
	})
	return s, func() {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := counted.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// TestRefusedPostsAreListed: whatever way a post came, and whatever it was refused for.
func TestRefusedPostsAreListed(t *testing.T) {
	t.Parallel()
	s, flush := newRefusing(t)
	admin, producer := s.key("default", domain.RoleAdmin), s.key("default", domain.RoleProducer)
	post := func(code string, status int, body string, headers ...string) {
		t.Helper()
		s.call(producer, "POST", "/v1/events", body, headers...).want(status, code)
	}
	const unknown = `{"id":"mine","event":"no.such_type","data":{}}`
	post("unknown_event_type", 400, unknown)
	post("unknown_event_type", 400, `{"event":"no.such_type","data":{}}`)
	post("invalid_json", 400, `{`)
	post("schema_mismatch", 400, `{"event":"agent.status_changed","data":{}}`)
	post("body_too_large", 413, strings.Repeat(" ", domain.MaxBody+1))
	post("unsupported_media_type", 415, `{}`, "Content-Type", "text/plain")
	post("invalid_cloudevent", 400, `{}`, "Content-Type", "application/cloudevents+json")
	s.call(producer, "POST", "/v1/events", example("once")).want(202, "")
	post("id_conflict", 409, `{"id":"once","event":"agent.status_changed",
		"data":{"agentId":"a","from":"online","to":"degraded"}}`)
	s.call(producer, "POST", "/v1/events/batch", `[{"event":"no.such_type","data":{}},{"event":7,"data":{}}]`).
		want(200, "")
	s.call(producer, "POST", "/v1/events/batch", `[]`).want(400, "batch_empty")
	s.call("", "POST", "/v1/events", example("")).want(401, "unauthenticated") // nobody's
	s.full.Store(true)
	s.call(producer, "POST", "/v1/events", example("")).want(507, "no_room") // not the producer's to mend
	s.full.Store(false)
	made := into[Source](s.call(admin, "POST", "/v1/sources", map[string]any{"kind": "cron"}).want(201, ""))
	s.call("", "POST", made.Path, `no run`).want(400, "missing_field")
	flush()

	got := map[string]int{}
	list := into[List[Refusal]](s.call(admin, "GET", fmt.Sprintf("/v1/refusals?min_position=%d", s.store.Head()), nil).
		want(200, ""))
	var first Refusal
	for _, r := range list.Data {
		got[r.Reason] += r.Count
		if r.Reason == "unknown_event_type" {
			first = r
		}
		if r.Reason == "missing_field" && r.KeyID != made.ID {
			t.Errorf("of a source: %+v", r)
		}
	}
	want := map[string]int{"unknown_event_type": 3, "invalid_json": 1, "schema_mismatch": 1, "body_too_large": 1,
		"unsupported_media_type": 1, "invalid_cloudevent": 1, "id_conflict": 1, "wrong_type": 1,
		"batch_empty": 1, "missing_field": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	sum := sha256.Sum256([]byte(unknown))
	if f := first.First; f == nil || f.SHA256 != hex.EncodeToString(sum[:]) || f.Size != len(unknown) ||
		!strings.HasPrefix(first.KeyID, domain.PrefixKey) || f.Detail == "" || f.Event != "no.such_type" || f.ID != "mine" {
		t.Errorf("%+v %+v", first, first.First)
	}
	metrics := string(s.call("", "GET", "/metrics", nil).body)
	if !strings.Contains(metrics, `hookledger_refusals_total{reason="unknown_event_type"} 3`) {
		t.Error("the metrics do not count them")
	}
	for query, n := range map[string]int{"reason=schema_mismatch": 1, "key_id=" + made.ID: 1, "key_id=key_none": 0,
		"reason=wrong_type&key_id=" + first.KeyID: 1, "limit=2": 2} {
		list := into[List[Refusal]](s.call(producer, "GET", "/v1/refusals?"+query, nil).want(200, ""))
		if len(list.Data) != n {
			t.Errorf("%s: %+v", query, list.Data)
		}
	}
	other := s.key("default", domain.RoleAuditor)
	s.tenant("acme")
	theirs := s.key("acme", domain.RoleAdmin)
	if list := into[List[Refusal]](s.call(theirs, "GET", "/v1/refusals", nil).want(200, "")); len(list.Data) != 0 {
		t.Errorf("another tenant sees %+v", list.Data)
	}
	if list := into[List[Refusal]](s.call(other, "GET", "/v1/refusals", nil).want(200, "")); len(list.Data) == 0 {
		t.Error("an auditor sees none")
	}
}

// TestErasedRefusals: with the key of whom it is about, what it was is gone; that it was stays.
func TestErasedRefusals(t *testing.T) {
	t.Parallel()
	s, flush := newRefusing(t)
	key := s.key("default", domain.RoleAdmin)
	s.call(key, "POST", "/v1/events", `{"event":"no.such_type","subject":"person-4","data":{}}`).
		want(http.StatusBadRequest, "unknown_event_type")
	flush()
	var keys []string
	for r, err := range s.store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := r.Fact.(*domain.EventRefused); ok {
			keys = append(keys, f.Content.KeyID)
		}
	}
	if len(keys) != 1 || slices.Contains(keys, "") {
		t.Fatalf("%v", keys)
	}
	if err := s.vault.Destroy(t.Context(), keys[0]); err != nil {
		t.Fatal(err)
	}
	list := into[List[Refusal]](s.call(key, "GET", fmt.Sprintf("/v1/refusals?min_position=%d", s.store.Head()), nil).
		want(200, ""))
	if r := list.Data; len(r) != 1 || !r[0].Erased || r[0].First != nil || r[0].Count != 1 {
		t.Errorf("%+v", r)
	}
}
