package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

func newTestClient(t *testing.T, h http.HandlerFunc, change func(*Config)) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	cfg := Config{Server: s.URL, Key: domain.NewSecret("hl_canary-key"), UserAgent: "test"}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "code": code, "detail": detail})
}

func TestRequestCarriesKeyTenantAndBody(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer hl_canary-key" {
			t.Errorf("Authorization is %q", got)
		}
		if got := r.Header.Get(TenantHeader); got != "acme" {
			t.Errorf("%s is %q", TenantHeader, got)
		}
		if got := r.Header.Get("Idempotency-Key"); got != "k1" {
			t.Errorf("Idempotency-Key is %q", got)
		}
		fmt.Fprint(w, `{"id":"x","kept":[1, 2]}`)
	}, func(cfg *Config) { cfg.Tenant = "acme" })
	var out Item[struct {
		ID string `json:"id"`
	}]
	if err := c.Post(t.Context(), "/v1/things", map[string]int{"a": 1}, &out, WithHeader("Idempotency-Key",
		"k1")); err != nil {
		t.Fatal(err)
	}
	if out.Value.ID != "x" || string(out.Raw) != `{"id":"x","kept":[1, 2]}` {
		t.Errorf("got %+v with %s", out.Value, out.Raw)
	}
}

func TestProblemsBecomeErrorsThatNameTheFix(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, 404, "endpoint_not_found", "there is no such endpoint: list them with: hookledger endpoint list")
	}, nil)
	err := c.Get(t.Context(), "/v1/endpoints/ep_1", nil, nil)
	var p *Problem
	if !errors.As(err, &p) || StatusOf(err) != 404 || CodeOf(err) != "endpoint_not_found" {
		t.Fatalf("got %#v", err)
	}
	if !strings.Contains(err.Error(), "hookledger endpoint list") {
		t.Errorf("the error does not name the fix: %v", err)
	}
}

// TestAProblemSaysWhenToComeBack: in its body, or, of a server from before that, in the header; nobody asks for less
// than nothing, or in words.
func TestAProblemSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header, body string
		want         time.Duration
	}{
		{"", `,"retry_after":90`, 90 * time.Second},
		{"30", `,"retry_after":90`, 90 * time.Second},
		{"30", "", 30 * time.Second},
		{"-1", "", 0}, {"Thu, 26 Nov 2026 14:00:00 GMT", "", 0}, {"", "", 0},
	} {
		client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", c.header)
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"detail":"too much: repeat it after the time in Retry-After",`+
				`"fix":"repeat it after the time in Retry-After"`+c.body+`}`)
		}, nil)
		var p *Problem
		if err := client.Get(t.Context(), "/v1/events", nil, nil); !errors.As(err, &p) || p.Detail != "too much" ||
			p.RetryAfter() != c.want || !p.Later() {
			t.Errorf("%+v: got %#v", c, err)
		}
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c, err := New(Config{Server: gone.URL, Key: domain.NewSecret("hl_canary-key")})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Get(t.Context(), "/v1/events", nil, nil)
	var p *Problem
	if !errors.As(err, &p) || p.Detail != "there is no server at "+gone.URL || !strings.Contains(p.Fix,
		"hookledger serve") {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, p), "canary") {
		t.Error("the key stands in the error")
	}
}

func TestAnswerOfSomethingElse(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"html": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"redirect, which is not followed": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				t.Error("the redirect was followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTestClient(t, h, nil)
			var out map[string]any
			if err := c.Get(t.Context(), "/v1/events", nil, &out); CodeOf(err) != "not_hookledger" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPlatformKeyActsForTheFallbackTenant(t *testing.T) {
	t.Parallel()
	var tenants []string
	c := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		tenants = append(tenants, r.Header.Get(TenantHeader))
		if r.Header.Get(TenantHeader) == "" {
			problem(w, 400, "tenant_required", "name one")
			return
		}
		fmt.Fprint(w, `{}`)
	}, func(cfg *Config) { cfg.Fallback = "default" })
	for range 2 {
		if err := c.Post(t.Context(), "/v1/x", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(tenants, ","); got != ",default,default" {
		t.Errorf("tenants named: %q", got)
	}
}

func TestAllFollowsCursors(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("status") != "held" {
			t.Errorf("the filter got lost: %s", r.URL)
		}
		switch r.URL.Query().Get("cursor") {
		case "":
			fmt.Fprint(w, `{"data":[{"id":"a"},{"id":"b"}],"has_more":true,"next_cursor":"c1"}`)
		case "c1":
			fmt.Fprint(w, `{"data":[{"id":"c"}],"has_more":false}`)
		}
	}, nil)
	var ids string
	for page, err := range All[Delivery](t.Context(), c, "/v1/deliveries", url.Values{"status": {"held"}}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Data {
			ids += d.Value.ID
		}
	}
	if ids != "abc" {
		t.Errorf("got %q", ids)
	}
}

func TestRecordsReadsLines(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "{\"position\":1,\"type\":\"A\"}\n{\"position\":2,\"type\":\"B\"}\n")
	}, nil)
	var types string
	err := c.Records(t.Context(), nil, func(r Item[Record]) error { types += r.Value.Type; return nil })
	if err != nil || types != "AB" {
		t.Errorf("got %q, %v", types, err)
	}
}

// TestRecordsThatBreakOff: what came whole is given, and the error is that of a server that is gone, not that of
// another program's answer.
func TestRecordsThatBreakOff(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "{\"position\":4}\n{\"posi")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}, nil)
	var got []uint64
	err := c.Records(t.Context(), nil, func(r Item[Record]) error {
		got = append(got, r.Value.Position)
		return nil
	})
	if CodeOf(err) != "unreachable" || fmt.Sprint(got) != "[4]" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestFollowGoesOnWhereItBrokeOff: a stream that ends in the middle is taken up behind the last whole record.
func TestFollowGoesOnWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	c := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.Header().Set("Content-Type", "text/event-stream")
		after := r.Header.Get("Last-Event-ID")
		switch {
		case calls == 1 && after == "3":
			fmt.Fprint(w, ": hello\n\nid: 4\ndata: {\"position\":4}\n\nid: 5\ndata: {\"posi")
		case calls == 2 && after == "4":
			fmt.Fprint(w, "id: 5\ndata: {\"position\":5}\n\n")
		default:
			t.Errorf("call %d asks for what is after %q", calls, after)
		}
	}, nil)
	var got []uint64
	err := c.Follow(ctx, 3, nil, time.Minute, func(r Item[Record]) error {
		got = append(got, r.Value.Position)
		if r.Value.Position == 5 {
			cancel()
		}
		return nil
	})
	if err != nil || fmt.Sprint(got) != "[4 5]" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFollowEndsAtARefusal(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		problem(w, 403, "role_not_allowed", "use another key")
	}, nil)
	err := c.Follow(t.Context(), 0, nil, time.Hour, func(Item[Record]) error { return nil })
	if StatusOf(err) != 403 {
		t.Errorf("got %v", err)
	}
}

func TestServersURLIsChecked(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "127.0.0.1:8420", "ftp://x", "http://u:p@x", "http://"} {
		if _, err := New(Config{Server: bad}); domain.Code(err) != "invalid_server" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
