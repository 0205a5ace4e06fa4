package receiver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"hookledger/domain"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var at = time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC)

func clock() time.Time { return at }

func keys(t *testing.T) func(string) []domain.Key {
	t.Helper()
	k, err := OneKey(domain.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signed makes a request that the official library signs.
func signed(t *testing.T, path, id, body string, when time.Time) *http.Request {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := wh.Sign(id, when, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", strings.TrimSpace(jsonNumber(when.Unix())))
	r.Header.Set("webhook-signature", sig)
	return r
}

func jsonNumber(n int64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

func status(r *Receiver, req *http.Request) int {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Code
}

func TestTakesWhatTheOfficialLibrarySigned(t *testing.T) {
	t.Parallel()
	var seen Request
	r := New(Config{Keys: keys(t), Now: clock, OnRequest: func(q Request) { seen = q }})
	if got := status(r, signed(t, "/hook", "msg_1", `{"event":"a.b"}`, at)); got != 200 {
		t.Fatalf("status %d", got)
	}
	if seen.Err != nil || !seen.Checked || seen.Event() != "a.b" || seen.Path != "/hook" {
		t.Errorf("seen: %+v", seen)
	}
	s := r.Stats()
	if s.Received != 1 || s.Verified != 1 || s.Accepted != 1 || s.UniqueIDs != 1 || !s.FirstAt.Equal(at) {
		t.Errorf("stats: %+v", s)
	}
}

func TestRefusesWhatDoesNotVerify(t *testing.T) {
	t.Parallel()
	changed := signed(t, "/", "m", `{"a":1}`, at)
	changed.Header.Set("webhook-id", "other")
	unsigned := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
	for name, c := range map[string]struct {
		req  *http.Request
		code string
	}{
		"another id": {changed, "no_matching_signature"},
		"unsigned":   {unsigned, "missing_headers"},
		"301 s old":  {signed(t, "/", "m", "{}", at.Add(-301*time.Second)), "timestamp_out_of_tolerance"},
		"301 s fast": {signed(t, "/", "m", "{}", at.Add(301*time.Second)), "timestamp_out_of_tolerance"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen Request
			r := New(Config{Keys: keys(t), Now: clock, OnRequest: func(q Request) { seen = q }})
			if got := status(r, c.req); got != 401 || domain.Code(seen.Err) != c.code {
				t.Errorf("status %d, %v", got, seen.Err)
			}
			if s := r.Stats(); s.Invalid != 1 || s.Accepted != 0 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

func TestFailsFirstThenTakesAndKnowsRepeats(t *testing.T) {
	t.Parallel()
	r := New(Config{Keys: keys(t), FailFirst: 2, Now: clock, Arrivals: true})
	var got []int
	for range 4 {
		got = append(got, status(r, signed(t, "/", "m", "{}", at)))
	}
	if got[0] != 503 || got[1] != 503 || got[2] != 200 || got[3] != 200 {
		t.Errorf("statuses %v", got)
	}
	if s := r.Stats(); s.Failed != 2 || s.Accepted != 2 || s.UniqueIDs != 1 || s.Received != 4 {
		t.Errorf("stats: %+v", s)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/arrivals", nil))
	var arrivals map[string]int64
	if err := json.Unmarshal(w.Body.Bytes(), &arrivals); err != nil || arrivals["m"] != at.UnixNano() {
		t.Errorf("arrivals %v, %v", arrivals, err)
	}
	if got := status(r, httptest.NewRequest(http.MethodDelete, "/stats", nil)); got != 204 || r.Stats() != (Stats{}) {
		t.Errorf("after the reset: %d, %+v", got, r.Stats())
	}
}

func TestAnswersWhatItIsToldTo(t *testing.T) {
	t.Parallel()
	r := New(Config{Status: 410, Now: clock})
	if got := status(r, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x"))); got != 410 {
		t.Errorf("status %d", got)
	}
	if got := status(r, httptest.NewRequest(http.MethodGet, "/", nil)); got != 405 {
		t.Errorf("GET: status %d", got)
	}
	big := strings.NewReader(strings.Repeat("x", maxBody+1))
	if got := status(r, httptest.NewRequest(http.MethodPost, "/", big)); got != 413 {
		t.Errorf("too large a body: status %d", got)
	}
}

func TestLatencyIsWaitedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Latency: 3 * time.Second})
		begin := time.Now()
		if got := status(r, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x"))); got != 200 {
			t.Errorf("status %d", got)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("answered after %s", took)
		}
	})
}

func TestKeysByPath(t *testing.T) {
	t.Parallel()
	by, err := KeysByPath("# comment\n/a " + secret + "\n\n/a whsec_" + strings.Repeat("A", 32) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	r := New(Config{Keys: by, Now: clock})
	if got := status(r, signed(t, "/a", "m", "{}", at)); got != 200 {
		t.Errorf("its own path: %d", got)
	}
	if got := status(r, signed(t, "/b", "m", "{}", at)); got != 401 {
		t.Errorf("a path without a secret: %d", got)
	}
	for _, bad := range []string{"/a", "a " + secret, "/a whsec_", "/a " + secret + "=garbage"} {
		if _, err := KeysByPath(bad); err == nil || strings.Contains(err.Error(), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
