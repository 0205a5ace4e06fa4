package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

func fed(t *testing.T, body []byte) (out []FedEvent) {
	t.Helper()
	for line := range bytes.Lines(body) {
		var e FedEvent
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		out = append(out, e)
	}
	return out
}

// TestFeedGivesEventsAsTheyAreDelivered: past ones by time, pattern and position; live ones resumed where they broke
// off; never another tenant's.
func TestFeedGivesEventsAsTheyAreDelivered(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.tenant("acme")
	key, other := s.key("default", domain.RoleAdmin), s.key("acme", domain.RoleAdmin)
	s.call(key, "POST", "/v1/events", example("e1")).want(202, "")
	s.call(key, "POST", "/v1/events", `{"id":"e2","event":"agent.status_changed",`+
		`"data":{"agentId" : "<a>",  "from":"online","to":"offline"}}`).want(202, "")
	s.call(other, "POST", "/v1/events", example("theirs")).want(202, "")

	all := fed(t, s.call(key, "GET", "/v1/feed", nil).want(200, "").body)
	if len(all) != 2 || all[0].ID != "e1" || !strings.Contains(all[1].Body, `{"agentId" : "<a>",  "from"`) {
		t.Fatalf("%+v", all)
	}
	if got := fed(t, s.call(key, "GET", "/v1/feed?event=cron.*", nil).want(200, "").body); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := fed(t, s.call(key, "GET", fmt.Sprint("/v1/feed?after=", all[0].Position), nil).body); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	since := "/v1/feed?created_after=" + url.QueryEscape(all[0].CreatedAt.Format(time.RFC3339Nano))
	if got := fed(t, s.call(key, "GET", since, nil).want(200, "").body); len(got) != 1 || got[0].ID != "e2" {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"?event=*.x", "?after=-1", "?created_after=yesterday", "?type=a"} {
		s.call(key, "GET", "/v1/feed"+bad, nil).want(400, "invalid_request")
	}

	read := func(last string) (ids []string, position string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.srv.URL+"/v1/feed", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Last-Event-ID", last)
		resp, err := s.srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				position = id
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				ids = append(ids, fed(t, []byte(data))[0].ID)
				if len(ids) == 1 {
					return ids, position // it breaks off
				}
			}
		}
		t.Fatalf("it ended: %v", lines.Err())
		return nil, ""
	}
	if ids, now := read(""); ids[0] != "" || now == "" {
		t.Errorf("now is at %q: %v", now, ids)
	}
	one, at := read("1")
	two, at := read(at)
	s.call(key, "POST", "/v1/events", example("e3")).want(202, "")
	three, _ := read(at)
	if got := fmt.Sprint(one, two, three); got != "[e1] [e2] [e3]" {
		t.Errorf("%s", got)
	}
}
