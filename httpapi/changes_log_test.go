package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"hookledger/domain"
)

// TestTheLogSaysWhoChangedWhat: each change by the API, with the key's id and the record's, and nothing that is secret
// or sealed. What is posted or read is no change.
func TestTheLogSaysWhoChangedWhat(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	e := s.endpoint(key, map[string]any{"url": "https://example.com/hook/CANARY", "description": "CANARY",
		"headers": map[string]string{"x-token": "CANARY"}})
	path := "/v1/endpoints/" + e.ID
	s.call(key, "PATCH", path, map[string]any{"url": "https://example.com/CANARY"}).want(200, "")
	s.call(key, "POST", path+"/disable", nil).want(200, "")
	s.call(key, "POST", path+"/enable", nil).want(200, "")
	posted := example("e1")
	posted["subject"] = "CANARY"
	s.call(key, "POST", "/v1/events", posted).want(202, "")
	d := s.deliveriesOf(key, "e1")
	s.call(key, "POST", "/v1/deliveries/"+d[0].ID+"/cancel", map[string]any{"reason": "CANARY"}).want(200, "")
	made := into[map[string]any](s.call(key, "POST", "/v1/api-keys", map[string]any{"role": "producer"}).want(201, ""))

	log := s.logged(`"type":"KeyIssued"`)
	by := ""
	var types []string
	for line := range strings.Lines(log) {
		var l struct{ Msg, Level, By, Type, Stream, Tenant, Record string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(l.Msg, "a key ") {
			continue
		}
		if l.Level != "INFO" || !strings.HasPrefix(l.By, domain.PrefixKey) || by != "" && l.By != by ||
			l.Tenant != "default" || l.Stream == "" || l.Record == "" {
			t.Errorf("%s", line)
		}
		by, types = l.By, append(types, l.Type)
	}
	want := "EndpointRegistered EndpointReconfigured EndpointDisabled EndpointEnabled DeliveryCancelled KeyIssued"
	if got := strings.Join(types, " "); got != want {
		t.Errorf("the log says that was changed: %s, want %s", got, want)
	}
	secret, _ := made["key"].(string)
	for _, hidden := range []string{"CANARY", key, secret, e.Secret} {
		if hidden == "" || strings.Contains(log, hidden) {
			t.Errorf("%q is in the log, or was never made:\n%s", hidden, log)
		}
	}
}

// logged gives the log once a line with the text is there: who writes it goes on by himself.
func (s *stack) logged(text string) string {
	s.t.Helper()
	log := ""
	if !answered(func() bool { log = s.log.String(); return strings.Contains(log, text) }) {
		s.t.Fatalf("no %s in the log:\n%s", text, log)
	}
	return log
}
