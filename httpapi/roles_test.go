package httpapi

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// things are ids of one tenant's things, for the paths of routes.
type things struct {
	tenant, key, event, endpoint, delivery, attempt, eventType, source, replay, reconciliation string
}

var absent = things{"nobody", "key_00000000000000000000000000", "evt_00000000000000000000000000",
	"ep_00000000000000000000000000", "dlv_00000000000000000000000000", "att_00000000000000000000000000", "no.such_type",
	"src_00000000000000000000000000", "rpl_00000000000000000000000000", "rcn_00000000000000000000000000"}

// id is the thing that a route's path names.
func (th *things) id(rt *route) string {
	switch {
	case strings.Contains(rt.path, "{name}"):
		return th.tenant
	case strings.Contains(rt.path, "{type}"):
		return th.eventType
	case strings.HasPrefix(rt.path, "/v1/api-keys"):
		return th.key
	case strings.HasPrefix(rt.path, "/v1/endpoints"):
		return th.endpoint
	case strings.HasPrefix(rt.path, "/v1/sources"):
		return th.source
	case strings.HasPrefix(rt.path, "/v1/replays"):
		return th.replay
	case strings.HasPrefix(rt.path, "/v1/reconciliations"):
		return th.reconciliation
	case strings.HasPrefix(rt.path, "/v1/deliveries"):
		return th.delivery
	case strings.HasPrefix(rt.path, "/v1/attempts"):
		return th.attempt
	}
	return th.event
}

// path puts it there.
func (th *things) path(rt *route) string {
	id := th.id(rt)
	if rt.id == "get-routing" {
		return rt.path + "?event=" + th.eventType
	}
	return strings.NewReplacer("{id}", id, "{name}", id, "{type}", id).Replace(rt.path)
}

// bodyOf is a body that the route takes.
func bodyOf(rt *route) any {
	switch rt.id {
	case "create-tenant":
		return map[string]any{"name": "made-by-test"}
	case "create-api-key":
		return map[string]any{"role": "auditor"}
	case "post-event":
		return example("")
	case "post-events":
		return []any{example("")}
	case "create-endpoint":
		return map[string]any{"url": "https://example.com/", "event_types": []string{"none.such"}}
	case "create-event-type":
		return map[string]any{"type": "made.by_test"}
	case "update-tenant":
		return map[string]any{"settings": map[string]any{}}
	case "retry-delivery":
		return map[string]any{"force": true}
	case "create-replay":
		return map[string]any{"select": map[string]any{"event_types": []string{"*"}}}
	case "create-reconciliation":
		return map[string]any{"period": "2026-03"}
	case "create-source":
		return map[string]any{"kind": "cron"}
	case "test-source":
		return map[string]any{"body": "done", "job": "j"}
	case "update-endpoint", "update-event-type", "update-source":
		return map[string]any{"description": "changed"}
	}
	return nil
}

// thingsOf makes one of each in a tenant.
func (s *stack) thingsOf(tenant string) things {
	admin := s.key(tenant, domain.RoleAdmin)
	th := things{tenant: tenant, eventType: "own.t" + strings.ToLower(ulid.Make().String())}
	th.key = into[APIKey](s.call(admin, "POST", "/v1/api-keys", map[string]any{"role": "auditor"}).want(201, "")).ID
	s.call(admin, "POST", "/v1/event-types", map[string]any{"type": th.eventType}).want(201, "")
	th.source = into[Source](s.call(admin, "POST", "/v1/sources", map[string]any{"kind": "cron"}).want(201, "")).ID
	th.endpoint = s.endpoint(admin, map[string]any{}).ID
	receipt := into[Receipt](s.call(admin, "POST", "/v1/events", example("")).want(202, ""))
	th.event, th.delivery = receipt.ID, receipt.Deliveries[0].ID
	th.attempt = s.attempt(tenant, th.event, th.endpoint, th.delivery)
	th.replay = s.failedReplay(admin, tenant, th.event)
	th.reconciliation = into[Reconciliation](s.call(admin, "POST", "/v1/reconciliations",
		map[string]any{"period": "2026-03"}).want(201, "")).ID
	return th
}

// TestRoutesTimesRolesTimesIDs walks the table that the middleware uses: every route with every role, on a tenant's own
// things, on another tenant's, and on things that are not there. Another tenant's is answered as one that is not there.
func TestRoutesTimesRolesTimesIDs(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.tenant("acme")
	foreign := s.thingsOf("default")
	for i := range routes {
		rt := &routes[i]
		if rt.scope == scopeToken {
			continue // its path is the key: TestCronPosts
		}
		if rt.scope == scopePublic {
			t.Run(rt.id, func(t *testing.T) {
				if got := s.on(t).call("", rt.method, rt.path, nil); got.status >= 400 {
					t.Fatalf("status %d without a key: %s", got.status, got.body)
				}
			})
			continue
		}
		t.Run(rt.id, func(t *testing.T) {
			s := s.on(t)
			for _, role := range domain.Roles() {
				s.walk(t, rt, role, &foreign)
			}
			s.call("", rt.method, absent.path(rt), bodyOf(rt)).want(401, "unauthenticated")
			s.call("hl_wrong", rt.method, absent.path(rt), bodyOf(rt)).want(401, "invalid_api_key")
		})
	}
}

func (s *stack) walk(t *testing.T, rt *route, role domain.Role, foreign *things) {
	t.Helper()
	own := s.thingsOf("acme") // fresh ones: some routes end them
	if rt.id == "cancel-delivery" {
		receipt := into[Receipt](s.call(s.key("acme", domain.RoleAdmin), "POST", "/v1/events", example("")).want(202, ""))
		own.delivery = receipt.Deliveries[0].ID // one that waits
	}
	key := s.key("acme", role)
	call := func(th *things) *answer { return s.call(key, rt.method, th.path(rt), bodyOf(rt)) }
	if rt.scope == scopePlatform {
		call(&own).want(http.StatusForbidden, "platform_key_needed")
		got := s.call(s.key(platform, role), rt.method, own.path(rt), bodyOf(rt))
		if allowed := got.status < 300 || got.status == http.StatusConflict; allowed != rt.allows(role) {
			t.Errorf("platform key of role %s: status %d", role, got.status)
		}
		return
	}
	if !rt.allows(role) {
		for _, th := range []*things{&own, foreign, &absent} {
			call(th).want(http.StatusForbidden, "role_not_allowed")
		}
		return
	}
	if got := call(&own); got.status >= 300 && !(got.status == 409 && strings.Contains(rt.id, "event-type")) {
		t.Errorf("role %s, own: status %d: %s", role, got.status, got.body)
	}
	if !strings.Contains(rt.path, "{") {
		return
	}
	f, a := call(foreign), call(&absent)
	if f.status != http.StatusNotFound || a.status != http.StatusNotFound {
		t.Errorf("role %s: foreign %d, absent %d, want 404: %s %s", role, f.status, a.status, f.body, a.body)
	}
	if got := bytes.ReplaceAll(f.body, []byte(foreign.id(rt)), []byte(absent.id(rt))); !bytes.Equal(got, a.body) {
		t.Errorf("role %s: a foreign id is told from an absent one:\n%s\n%s", role, f.body, a.body)
	}
	platformKey := s.key(platform, role)
	if rt.scope != scopeNode {
		s.call(platformKey, rt.method, own.path(rt), bodyOf(rt)).want(http.StatusBadRequest, "tenant_required")
		s.call(platformKey, rt.method, own.path(rt), bodyOf(rt), HeaderTenant, "nobody").want(404, "tenant_not_found")
		s.call(key, rt.method, own.path(rt), bodyOf(rt), HeaderTenant, "default").want(403, "wrong_tenant")
		s.call(platformKey, rt.method, absent.path(rt), bodyOf(rt), HeaderTenant, "default").want(404, codeOf(a))
	}
}

func codeOf(a *answer) string { return into[Problem](a).Code }
