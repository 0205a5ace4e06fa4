package httpapi

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"hookledger/domain"
)

// sofar asks that a list hold everything that is on the ledger.
func (s *stack) sofar() string {
	return "&min_position=" + strconv.FormatUint(uint64(s.store.Head()), 10)
}

// TestListsTakeTheSameConditions: whatever a condition is about, each of the three lists answers with what belongs to
// the one event that fits.
func TestListsTakeTheSameConditions(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	first, second := s.endpoint(key, map[string]any{}), s.endpoint(key, map[string]any{"event_types": []string{"cron.*"}})
	post := func(id, subject string) Receipt {
		body := example(id)
		body["subject"] = subject
		return into[Receipt](s.call(key, "POST", "/v1/events", body).want(202, ""))
	}
	post("other_1", "person_1")
	receipt := post("wanted", "person_2")
	post("other_2", "person_1")
	delivery := receipt.Deliveries[0].ID
	attempt := into[Attempt](s.call(key, "GET", "/v1/attempts/"+s.attempt("default", "wanted", first.ID, delivery), nil).
		want(200, ""))
	rows := s.sofar()
	for name, query := range map[string]string{
		"subject": "subject=person_2", "subject, small pages": "subject=person_2&limit=1",
		"event id": "event_id=wanted", "delivery id": "delivery_id=" + delivery,
		"code": "code=200", "code class": "code_class=2xx", "any code": "attempts_at_least=1&any_code=200",
		"any code class": "attempts_at_least=1&any_code_class=2xx", "trigger": "trigger=initial",
		"attempts at least": "attempts_at_least=1", "remote address": "remote_addr=" + url.QueryEscape(attempt.RemoteAddr),
		"latency at least": "latency_at_least=1us", "attempted": "attempted_after=2020-01-01T00:00:00Z",
		"endpoint": "attempts_at_least=1&endpoint_id=" + first.ID,
	} {
		for list, want := range map[string]string{"events": "wanted", "deliveries": delivery, "attempts": attempt.ID} {
			query := "/v1/" + list + "?" + query + rows
			got := into[List[map[string]any]](s.call(key, "GET", query, nil).want(200, ""))
			if len(got.Data) != 1 || got.Data[0]["id"] != want {
				t.Errorf("%s: %s gave %v", name, query, got.Data)
			}
		}
	}
	for _, query := range []string{"error_code=timeout", "code_class=5xx", "any_code=503",
		"any_code_class=4xx", "trigger=replay", "latency_at_least=1h",
		"attempts_at_least=2", "remote_addr=203.0.113.200", "subject=nobody", "endpoint_id=" + second.ID,
		"occurred_before=2020-01-01T00:00:00Z", "received_before=2020-01-01T00:00:00Z",
		"attempted_before=2020-01-01T00:00:00Z"} {
		for _, list := range []string{"events", "deliveries", "attempts"} {
			got := into[List[map[string]any]](s.call(key, "GET", "/v1/"+list+"?"+query+rows, nil).want(200, ""))
			if len(got.Data) != 0 || got.HasMore {
				t.Errorf("%s?%s gave %v", list, query, got.Data)
			}
		}
	}
	got := into[List[EventSummary]](s.call(key, "GET", "/v1/events?total=true&limit=1"+rows, nil).want(200, ""))
	if got.Total == nil || *got.Total != (Total{Count: 3}) {
		t.Errorf("total %+v", got.Total)
	}
}

func TestEventsByTheirOwnTime(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	for id, at := range map[string]string{"late": "2024-01-03T00:00:00Z", "early": "2024-01-01T00:00:00Z",
		"between": "2024-01-02T00:00:00Z"} {
		body := example(id)
		body["timestamp"] = at
		s.call(key, "POST", "/v1/events", body).want(202, "")
	}
	rows := s.sofar()
	for query, want := range map[string]string{"order=asc": "early between late", "order=desc": "late between early",
		"order=asc&limit=1": "early", "occurred_after=2024-01-01T12:00:00Z&occurred_before=2024-01-02T12:00:00Z": "between",
	} {
		var ids []string
		page := into[List[EventSummary]](s.call(key, "GET", "/v1/events?sort=occurred&"+query+rows, nil).want(200, ""))
		for _, e := range page.Data {
			ids = append(ids, e.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestFiltersThatSelectNothingForSureAreRefused(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAuditor)
	for query, code := range map[string]string{
		"received_after=2024-01-02T00:00:00Z&received_before=2024-01-01T00:00:00Z": "invalid_range",
		"latency_at_least=soon": "invalid_duration", "subject=x&total=true": "no_total",
		"endpoint_id=dlv_1": "invalid_id", "endpoint_id=ep_1%20": "invalid_id", "delivery_id=evt_1": "invalid_id",
		"event_id=a/b": "invalid_id", "replay_id=1": "invalid_id", "event=agent.": "invalid_event_type",
		"event=*.x": "invalid_event_type", "remote_addr=example.com": "invalid_address",
		"code_class=9xx": "invalid_request", "trigger=none": "invalid_request",
	} {
		for _, list := range []string{"events", "deliveries", "attempts"} {
			p := into[Problem](s.call(key, "GET", "/v1/"+list+"?"+query, nil).want(400, code))
			if p.Fix == "" && code != "invalid_request" || !strings.HasSuffix(p.Detail, p.Fix) {
				t.Errorf("%s names no fix: %+v", query, p)
			}
		}
	}
}
