package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// TestTheHistoryOfAnEndpoint: an endpoint is made, changed, disabled and deleted; each change names who made it and
// what it changed, and each moment in between answers as it was.
func TestTheHistoryOfAnEndpoint(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	ep := s.endpoint(key, map[string]any{"timeout": "10s", "url": "https://example.com/first"})
	path := "/v1/endpoints/" + ep.ID
	at := []string{strconv.FormatUint(uint64(s.store.Head()), 10)}
	step := func(method, path string, body any) {
		s.call(key, method, path, body)
		at = append(at, strconv.FormatUint(uint64(s.store.Head()), 10))
	}
	step("PATCH", path, map[string]any{"timeout": "20s", "url": "https://example.com/second"})
	s.call(key, "POST", "/v1/events", example("e1")).want(202, "")
	step("POST", path+"/disable", nil)
	between := time.Now().UTC().Format(time.RFC3339Nano)
	step("DELETE", path, nil)

	history := into[List[EndpointChange]](s.call(key, "GET", path+"/history?order=asc", nil).want(200, "")).Data
	var types []string
	for _, c := range history {
		types = append(types, c.Type)
		if c.Actor.Kind == "" || c.Actor.ID == "" || c.RecordedAt.IsZero() {
			t.Errorf("%+v does not say who and when", c)
		}
	}
	if want := []string{"EndpointRegistered", "EndpointReconfigured", "EndpointDisabled", "EndpointRemoved"}; !slices.
		Equal(types, want) {
		t.Fatalf("changes %v, want %v", types, want)
	}
	if got, want := history[1].Changes, []FieldChange{{"timeout", "10s", "20s"},
		{"url", "https://example.com/first", "https://example.com/second"}}; !slices.Equal(got, want) {
		t.Errorf("changed %v, want %v", got, want)
	}
	if got := history[3].Changes; !slices.Equal(got, []FieldChange{{"status", "disabled", "removed"}}) {
		t.Errorf("removal changed %v", got)
	}

	for i, want := range []string{"10s enabled", "20s enabled", "20s disabled"} {
		e := into[Endpoint](s.call(key, "GET", path+"?as_of="+at[i], nil).want(200, ""))
		if got := e.Timeout.String() + " " + e.Status; got != want {
			t.Errorf("as of %s: %s, want %s", at[i], got, want)
		}
	}
	s.call(key, "GET", path+"?as_of="+at[3], nil).want(http.StatusNotFound, "endpoint_not_found")
	if e := into[Endpoint](s.call(key, "GET", path+"?as_of="+url.QueryEscape(between), nil).want(200, "")); e.
		Status != "disabled" {
		t.Errorf("as of %s: %s", between, e.Status)
	}
	open := func(at string) []Delivery {
		return into[List[Delivery]](s.call(key, "GET", "/v1/open-deliveries?as_of="+at, nil).want(200, "")).Data
	}
	if a, b, c := open(at[1]), open(at[2]), open(at[3]); len(a)+len(c) != 0 || len(b) != 1 || b[0].Status != "held" {
		t.Errorf("open: %+v, %+v, %+v", a, b, c)
	}
	routing := func(at string) Routing {
		return into[Routing](s.call(key, "GET", "/v1/routing?event=agent.status_changed&as_of="+at, nil).want(200, ""))
	}
	if r := routing(at[1]); len(r.Matches) != 1 || r.Matches[0] != (RoutedTo{ep.ID, 1}) {
		t.Errorf("routing as of %s: %+v", at[1], r)
	}
	if r := routing(at[2]); len(r.Matches) != 0 || !slices.Equal(r.LeftOut, []LeftOut{{ep.ID, "disabled"}}) {
		t.Errorf("routing as of %s: %+v", at[2], r)
	}
	for query, code := range map[string]string{"as_of=yesterday": "invalid_moment", "as_of=0": "invalid_moment",
		"as_of=2999-01-01T00:00:00Z": "invalid_moment", "as_of=9000000000000000000": "invalid_position"} {
		s.call(key, "GET", "/v1/open-deliveries?"+query, nil).want(400, code)
		s.call(key, "GET", path+"?"+query, nil).want(400, code)
	}
}

// Semantics: all lists say the same of what is held: that of deliveries, that of what is open, and that of what was
// open at a moment, with why and since when.
func TestSemantics_AllListsSayTheSameOfWhatIsHeld(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	broken := s.endpoint(key, map[string]any{})
	for i := range 10 {
		s.attempted(broken.ID, i, 503)
	}
	line := s.endpoint(key, map[string]any{"ordered": true, "on_exhausted": "wait"})
	disabled := s.endpoint(key, map[string]any{})
	s.call(key, "POST", "/v1/events", example("e_first")).want(202, "")
	s.exhausted(key, "e_first", line.ID)
	s.call(key, "POST", "/v1/events", example("e_second")).want(202, "")
	s.call(key, "POST", "/v1/endpoints/"+disabled.ID+"/disable", nil).want(200, "")
	head := strconv.FormatUint(uint64(s.store.Head()), 10)

	want := map[string]string{}
	says := func(d *Delivery) string {
		out := d.EndpointID + " " + d.Status
		if d.Held != nil {
			out += ": " + d.Held.Reason + " since " + d.Held.Since.String()
		}
		return out
	}
	reasons := map[string]string{}
	for _, d := range into[List[Delivery]](s.call(key, "GET", "/v1/deliveries?limit=250&min_position="+head, nil).
		want(200, "")).Data {
		if d.CompletedAt == nil {
			want[d.ID] = says(&d)
		}
		if d.Held != nil {
			reasons[d.EndpointID] = d.Held.Reason
		}
	}
	if !maps.Equal(reasons, map[string]string{broken.ID: "breaker_open", disabled.ID: "disabled",
		line.ID: "behind_exhausted"}) || len(want) != 15 {
		t.Fatalf("held: %v, open: %v", reasons, want)
	}
	for _, query := range []string{"", "&as_of=" + head} {
		open := into[List[Delivery]](s.call(key, "GET", "/v1/open-deliveries?limit=250"+query, nil).want(200, "")).Data
		got := map[string]string{}
		for _, d := range open {
			got[d.ID] = says(&d)
		}
		if query != "" { // those of attempted have no event that routed them
			maps.DeleteFunc(want, func(id, said string) bool { return strings.HasSuffix(said, "retrying") })
		}
		if !maps.Equal(got, want) {
			t.Errorf("open%s: %v\nwant %v", query, got, want)
		}
	}
}

// A retry of what is held says that it can't start, and what to do; so does the health of an endpoint whose line stands
// still, of now and of then.
func TestWhatIsHeldSaysHowItGoesOn(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	line := s.endpoint(key, map[string]any{"ordered": true, "on_exhausted": "wait"})
	off := s.endpoint(key, map[string]any{})
	s.call(key, "POST", "/v1/events", example("e_first")).want(202, "")
	before := strconv.FormatUint(uint64(s.store.Head()), 10)
	first := s.exhausted(key, "e_first", line.ID)
	s.call(key, "POST", "/v1/events", example("e_second")).want(202, "")
	s.call(key, "POST", "/v1/endpoints/"+off.ID+"/disable", nil).want(200, "")
	for _, d := range s.deliveriesOf(key, "e_second") {
		got := into[Delivery](s.call(key, "POST", "/v1/deliveries/"+d.ID+"/retry", nil).want(202, ""))
		wants := []string{"attempt 1 is held (behind_exhausted)", "hookledger delivery retry " + first,
			"--on-exhausted continue"}
		if d.EndpointID == off.ID {
			wants = []string{"attempt 1 is held (disabled)", "hookledger endpoint enable " + off.ID}
		} else if got.Held == nil || got.Held.Behind != first {
			t.Errorf("%+v does not name %s", got.Held, first)
		}
		for _, want := range wants {
			if got.Retry == nil || !strings.Contains(got.Retry.Says, want) || strings.Contains(got.Retry.Says, "is due now") {
				t.Errorf("no %q in %+v", want, got.Retry)
			}
		}
	}
	health := func(query string) *Hold {
		return into[EndpointHealth](s.call(key, "GET", "/v1/endpoints/"+line.ID+"/health"+query, nil).want(200, "")).Hold
	}
	head := strconv.FormatUint(uint64(s.store.Head()), 10)
	for _, query := range []string{"", "?as_of=" + head} {
		if h := health(query); h == nil || h.Reason != "behind_exhausted" || h.DeliveryID != first || h.Since.IsZero() ||
			h.Until != nil || !strings.Contains(h.Says, "delivery retry "+first) {
			t.Errorf("health%s: %+v", query, h)
		}
	}
	if h := health("?as_of=" + before); h != nil {
		t.Errorf("before it was exhausted: %+v", h)
	}
	s.call(key, "POST", "/v1/deliveries/"+first+"/cancel", nil).want(200, "")
	if h := health(""); h != nil {
		t.Errorf("once it is cancelled: %+v", h)
	}
}

// deliveriesOf are an event's, as of all that is on the ledger.
func (s *stack) deliveriesOf(key, event string) []Delivery {
	s.t.Helper()
	return into[List[Delivery]](s.call(key, "GET", "/v1/deliveries?event_id="+event+"&min_position="+
		strconv.FormatUint(uint64(s.store.Head()), 10), nil).want(200, "")).Data
}

// exhausted lets the delivery of an event to an endpoint fail for good.
func (s *stack) exhausted(key, event, endpoint string) (delivery string) {
	s.t.Helper()
	for _, d := range s.deliveriesOf(key, event) {
		if d.EndpointID == endpoint {
			delivery = d.ID
		}
	}
	attempt := domain.NewID(domain.PrefixAttempt, ulid.Make())
	s.append(domain.DeliveryStream("default", delivery), "default",
		&domain.DeliveryScheduled{Event: event, Endpoint: endpoint, Cause: domain.CauseRouted, DueAt: time.Now()},
		&domain.AttemptStarted{Attempt: attempt, N: 1, Endpoint: endpoint, StartedAt: time.Now()},
		&domain.RequestSigned{Attempt: attempt}, &domain.ResponseReceived{Attempt: attempt, Status: 500},
		&domain.DeliveryExhausted{Attempts: 1, Last: attempt, Reason: "schedule"})
	return delivery
}
