package httpapi

import (
	"fmt"
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
		for name, list := range s.api.mux.queries[rt.pattern()] {
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
