package domain_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"hookledger/domain"
)

func TestMatchType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, eventType string
		want               bool
	}{
		{"*", "agent.status_changed", true},
		{"*", "endpoint.failing", false},
		{"*", "endpoint.recovered", false},
		{"*", "endpoint.disabled", false},
		{"*", "delivery.exhausted", false},
		{"*", "endpoint.moved", true},
		{"endpoint.*", "endpoint.failing", true},
		{"delivery.*", "delivery.exhausted", true},
		{"endpoint.failing", "endpoint.failing", true},
		{"endpoint.failing", "endpoint.disabled", false},
		{"agent.status_changed", "agent.status_changed", true},
		{"agent.status_changed", "agent.status_changed.v2", false},
		{"agent.*", "agent.status_changed", true},
		{"agent.*", "agent.budget.alert", true},
		{"agent.*", "agent", false},
		{"agent.*", "agent.", false},
		{"agent.*", "agents.status_changed", false},
		{"agent.budget*", "agent.budget_alert", false},
		{"agent", "agent.status_changed", false},
		{"", "agent", false},
		{"*.failed", "cron.failed", false},
	} {
		if got := domain.MatchType(c.pattern, c.eventType); got != c.want {
			t.Errorf("%q takes %q: %v", c.pattern, c.eventType, got)
		}
	}
	if !domain.MatchAny([]string{"cron.failed", "agent.*"}, "agent.x") || domain.MatchAny(nil, "agent.x") {
		t.Error("any of the patterns is enough, and none takes nothing")
	}
}

func TestValidNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 129)
	for name, c := range map[string]struct {
		valid func(string) bool
		yes   []string
		no    []string
	}{
		"event type": {domain.ValidEventType, []string{"a", "order.paid", "agent.budget_alert", "v2.x.1", long[:128]},
			[]string{"", ".", "a.", ".a", "a..b", "A.b", "a-b", "a b", "a.*", "*", "ä", long}},
		"pattern": {domain.ValidPattern, []string{"*", "a.*", "order.paid", "a.b.*"},
			[]string{"", ".*", "*.*", "a*", "a.*.b", "a.*.*", "**", "*.a"}},
		"event id": {domain.ValidEventID, []string{"a", "evt_01-AZ", long[:128]},
			[]string{"", "a.b", "a b", "ä", "a/b", "a\n", "a:b", long}},
		"tenant": {domain.ValidTenant, []string{"default", "a-b_c9", long[:63]},
			[]string{"", "system", "*", "A", "a.b", "a b", long[:64]}},
	} {
		for _, s := range c.yes {
			if !c.valid(s) {
				t.Errorf("%s %q is refused", name, s)
			}
		}
		for _, s := range c.no {
			if c.valid(s) {
				t.Errorf("%s %q is taken", name, s)
			}
		}
	}
}

// A valid tenant and id always give a stream that can be taken apart again.
func TestStream_Parts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tenant := rapid.StringMatching(`[a-z0-9_-]{1,63}`).Filter(domain.ValidTenant).Draw(t, "tenant")
		id := rapid.StringMatching(`[A-Za-z0-9_-]{1,128}`).Draw(t, "id")
		s := domain.EventStream(tenant, id)
		if s.Category() != domain.CategoryEvent || s.Tenant() != tenant || s.ID() != id || !s.Valid() {
			t.Fatalf("%s: %q %q %q", s, s.Category(), s.Tenant(), s.ID())
		}
	})
	if s := domain.KeyStream(domain.AnyTenant, "key_1"); s != "access-system.key_1" {
		t.Errorf("the platform's own stand under %s", s)
	}
	for _, s := range []domain.Stream{"", "event", "event-", "event-t", "event-t.", "-t.id", "event-.id"} {
		if s.Valid() {
			t.Errorf("%q is taken as a stream", s)
		}
	}
}

func endpointAt(id string, revision domain.Revision, disabled, removed bool, patterns ...string) *domain.Endpoint {
	return &domain.Endpoint{ID: id, Tenant: "t", Revision: revision, Disabled: disabled, Removed: removed,
		Config: domain.EndpointConfig{EventTypes: patterns}}
}

// TestSemantics_EventRoutedNamesWhoGetsItAndWhoIsLeftOut: matched, disabled with the reason, and as of which record; an
// endpoint that is not named did not subscribe or did not exist as of that record.
func TestSemantics_EventRoutedNamesWhoGetsItAndWhoIsLeftOut(t *testing.T) {
	t.Parallel()
	asOf := ulid.MustParse("01JPHK9Q0BX6V3T4ZJ8N2M5RWC")
	r := domain.NewRouting(&domain.Tenant{Name: "t"}, asOf, []*domain.Endpoint{
		endpointAt("ep_c", 4, false, false, "cron.failed", "agent.*"),
		endpointAt("ep_b", 2, true, false, "*"),
		endpointAt("ep_a", 0, false, false, "*"),
		endpointAt("ep_d", 0, false, true, "*"),
		endpointAt("ep_e", 0, false, false, "cron.*"),
		endpointAt("ep_f", 0, true, false, "cron.*"),
	})
	got := r.Route("evt_1", "agent.status_changed", start)
	want := &domain.EventRouted{RoutedAsOf: asOf,
		Matches: []domain.Match{
			{Endpoint: "ep_a", Delivery: domain.DeliveryID(start, "t", "evt_1", "ep_a", "routed"), EndpointRevision: 0},
			{Endpoint: "ep_c", Delivery: domain.DeliveryID(start, "t", "evt_1", "ep_c", "routed"), EndpointRevision: 4}},
		LeftOut: []domain.LeftOut{{Endpoint: "ep_b", Reason: "disabled"}}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("routed\n%+v\nwant\n%+v", got, want)
	}
}

// TestSemantics_DeliveryIDsDeriveAndSortByTime: the same event, endpoint and cause give the same id, any other part
// gives another one, and ids sort by the time of receipt in milliseconds.
func TestSemantics_DeliveryIDsDeriveAndSortByTime(t *testing.T) {
	t.Parallel()
	id := domain.DeliveryID(start, "t", "evt_1", "ep_1", "routed")
	if id != domain.DeliveryID(start, "t", "evt_1", "ep_1", "routed") || !strings.HasPrefix(id, "dlv_") || len(id) != 30 {
		t.Fatalf("derived %s", id)
	}
	u := ulid.MustParseStrict(strings.TrimPrefix(id, "dlv_"))
	if int64(u.Time()) != start.UnixMilli() {
		t.Errorf("its time is %d", u.Time())
	}
	for _, other := range []string{
		domain.DeliveryID(start, "u", "evt_1", "ep_1", "routed"), domain.DeliveryID(start, "t", "evt_2", "ep_1", "routed"),
		domain.DeliveryID(start, "t", "evt_1", "ep_2", "routed"), domain.DeliveryID(start, "t", "evt_1", "ep_1", "rpl_1"),
		domain.DeliveryID(start, "t", "evt_1e", "p_1", "routed"),
		domain.DeliveryID(start.Add(1e6), "t", "evt_1", "ep_1", "routed"),
	} {
		if other == id {
			t.Error("another delivery has the same id")
		}
	}
	if later := domain.DeliveryID(start.Add(1e6), "t", "evt_0", "ep_0", "routed"); later <= id {
		t.Errorf("%s is later than %s and sorts before it", later, id)
	}
}

func TestIDAt_CountsThroughAllBits(t *testing.T) {
	t.Parallel()
	var u ulid.ULID
	for i := 7; i < 16; i++ {
		u[i] = 0xff
	}
	next := domain.IDAt(u, 1)
	if next[6] != 1 || next[7] != 0 || next[15] != 0 || domain.IDAt(u, 0) != u || next.Compare(u) <= 0 {
		t.Fatalf("%x after %x", next[:], u[:])
	}
}

// TestSemantics_StampGivesIDsThatContentCanBeSealedFor: the id of the i-th record is known before it is decided, and
// each record is caused by the one before it.
func TestSemantics_StampGivesIDsThatContentCanBeSealedFor(t *testing.T) {
	t.Parallel()
	cause := ulid.MustParse("01JPHK9Q0BX6V3T4ZJ8N2M5RWC")
	s := domain.Stamp{At: start, Base: ulid.MustParse("01JPHK9Q0CX6V3T4ZJ8N2M5RWZ"), Actor: domain.System("test")}
	records := s.Records("event-t.e", "t", "e", cause, &domain.KeyRevoked{}, &domain.KeyRevoked{})
	for i, r := range records {
		if r.ID != domain.IDAt(s.Base, i) || r.Causation != cause || r.Actor != s.Actor || r.RecordedAt != start ||
			r.Tenant != "t" || r.Correlation != "e" || r.Stream != "event-t.e" {
			t.Errorf("record %d: %+v", i, r)
		}
		cause = r.ID
	}
}
