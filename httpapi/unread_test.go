package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"hookledger/domain"
)

// TestNoQueryParameterIsPassedOver walks the table: on every route one that there is none of is refused before anything
// is done; so is one that is given twice, or without a value, where it is no list.
func TestNoQueryParameterIsPassedOver(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key, root, th := s.key("default", domain.RoleAdmin), s.key(platform, domain.RoleAdmin), s.thingsOf("default")
	head := s.store.Head()
	refused := func(rt *route, query, location string) {
		t.Helper()
		path, with := th.path(rt), key
		if rt.scope == scopePlatform {
			with = root
		}
		path, _, _ = strings.Cut(path, "?")
		p := into[Problem](s.call(with, rt.method, path+"?"+query, bodyOf(rt)).want(400, "invalid_request"))
		if len(p.Errors) != 1 || p.Errors[0].Location != location || p.Fix == "" {
			t.Errorf("%s?%s: %+v", rt.pattern(), query, p)
		}
	}
	for i := range routes {
		rt := &routes[i]
		if rt.scope == scopePublic || rt.scope == scopeToken {
			continue
		}
		refused(rt, "dry_run=true", "query.dry_run")
		for name, list := range s.api.mux.takes[rt.pattern()].query {
			if name != "cursor" {
				refused(rt, name+"=", "query."+name)
			}
			if !list {
				refused(rt, name+"=1&"+name+"=2", "query."+name)
			}
		}
	}
	s.call(key, "GET", "/v1/events?created_after=%zz", nil).want(400, "invalid_request")
	if s.store.Head() != head {
		t.Error("something was done")
	}
	types := map[string]bool{}
	for _, r := range lines(s.call(key, "GET", "/v1/records?type=EventReceived&type=EventRouted,KeyIssued", nil)) {
		types[r.Type] = true
	}
	if len(types) != 3 {
		t.Errorf("a list that is given twice gave %v", types)
	}
	rows := into[ServiceLevels](s.call(key, "GET", "/v1/service-levels?by=endpoint&by=event", nil).want(200, ""))
	if len(rows.Data) == 0 || rows.Data[0].EndpointID == "" || rows.Data[0].Event == "" {
		t.Errorf("by endpoint and event: %+v", rows.Data)
	}
}

// TestAnEventRefusedForItsQueryIsCounted, as one whose body is wrong is.
func TestAnEventRefusedForItsQueryIsCounted(t *testing.T) {
	t.Parallel()
	s, flush := newRefusing(t)
	key := s.key("default", domain.RoleProducer)
	s.call(key, "POST", "/v1/events?dry_run=true", example("")).want(400, "invalid_request")
	s.call(key, "POST", "/v1/events/batch?foo=1", []any{example("")}).want(400, "invalid_request")
	flush()
	auditor := s.key("default", domain.RoleAuditor)
	list := into[List[Refusal]](s.call(auditor, "GET", fmt.Sprintf("/v1/refusals?min_position=%d", s.store.Head()), nil).
		want(200, ""))
	if len(list.Data) != 1 || list.Data[0].Count != 2 || list.Data[0].Reason != "invalid_request" {
		t.Errorf("%+v", list.Data)
	}
}

// TestNoBodyAndNoPreconditionIsPassedOver walks the table: a route without a body refuses one that says something, and
// one that has no revision refuses If-Match, before anything is done.
func TestNoBodyAndNoPreconditionIsPassedOver(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key, th := s.key("default", domain.RoleAdmin), s.thingsOf("default")
	head := s.store.Head()
	for i := range routes {
		rt := &routes[i]
		takes := s.api.mux.takes[rt.pattern()]
		if takes == nil || rt.method == http.MethodGet || rt.scope == scopePlatform {
			continue
		}
		if !takes.body {
			p := into[Problem](s.call(key, rt.method, th.path(rt), `{"reason":"canary"}`).want(400, "invalid_request"))
			if len(p.Errors) != 1 || p.Errors[0].Location != "body.reason" || strings.Contains(p.Detail, "canary") {
				t.Errorf("%s: %+v", rt.pattern(), p)
			}
			s.call(key, rt.method, th.path(rt), `because`).want(400, "invalid_request")
		}
		if takes.ifMatch {
			s.call(key, rt.method, th.path(rt), bodyOf(rt), headerIfMatch, `"99"`).want(412, "revision_conflict")
		} else {
			s.call(key, rt.method, th.path(rt), bodyOf(rt), headerIfMatch, `"99"`).want(400, "invalid_if_match")
		}
	}
	if s.store.Head() != head {
		t.Error("something was done")
	}
	s.call(key, "POST", "/v1/endpoints/"+th.endpoint+"/disable", ` {} `).want(200, "")
	s.call(key, "DELETE", "/v1/endpoints/"+th.endpoint, nil, headerIfMatch, `"1"`).want(204, "")
}
