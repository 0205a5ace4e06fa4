package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/domain"
)

// rated is a server of which the default tenant takes ten events, and then none for a long time.
type rated struct {
	t   *testing.T
	url string
	dir string
	c   *apiclient.Client
}

func newRated(t *testing.T) *rated {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s := started(t, serverConfig{DataDir: dir, Listen: "127.0.0.1:0"})
	c, err := apiclient.New(apiclient.Config{Server: s.URL, Key: s.AdminKey, Tenant: domain.DefaultTenant})
	if err != nil {
		t.Fatal(err)
	}
	r := &rated{t: t, url: s.URL, dir: dir, c: c}
	r.limit(0.001)
	return r
}

// limit sets the tenant's rate, which holds from the next event on.
func (r *rated) limit(perSecond any) {
	r.t.Helper()
	if err := r.c.Patch(context.Background(), "/v1/tenants/default", map[string]any{"settings": map[string]any{
		"ingest_rate": perSecond}}, nil); err != nil {
		r.t.Error(err)
	}
}

// file writes n events, every other with an id of its own.
func (r *rated) file(n int) string {
	var b strings.Builder
	for i := range n {
		id := ""
		if i%2 == 0 {
			id = fmt.Sprintf(`"id":"own-%d",`, i+1)
		}
		fmt.Fprintf(&b, "{%s\"event\":\"agent.status_changed\",\"sequence\":%d,\"source\":\"t\","+
			"\"data\":{\"agentId\":\"a\",\"from\":\"online\",\"to\":\"offline\"}}\n", id, i+1)
	}
	name := filepath.Join(r.t.TempDir(), "events.ndjson")
	if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return name
}

// send runs event send; wait stands for each pause that it takes.
func (r *rated) send(ctx context.Context, wait func(time.Duration) error, args ...string) (int, string, string) {
	a, out, said := testApp(map[string]string{"HOOKLEDGER_SERVER": r.url, "HOOKLEDGER_DATA_DIR": r.dir}, "")
	a.waits = func(_ context.Context, d time.Duration) error { return wait(d) }
	code := run(ctx, append([]string{"event", "send"}, args...), a)
	return code, out.String(), said.String()
}

// sequences are the producer's numbers of the events on the ledger, in its order.
func (r *rated) sequences() (out []int) {
	r.t.Helper()
	query := url.Values{"type": {"EventReceived"}}
	if err := r.c.Records(r.t.Context(), query, func(rec apiclient.Item[apiclient.Record]) error {
		var e struct {
			Sequence int `json:"sequence"`
		}
		err := json.Unmarshal(rec.Value.Data, &e)
		out = append(out, e.Sequence)
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// wantOnce fails unless the ledger has n events, each once.
func (r *rated) wantOnce(n int) {
	r.t.Helper()
	seen := map[int]int{}
	for _, s := range r.sequences() {
		seen[s]++
	}
	for i := range n {
		if seen[i+1] != 1 {
			r.t.Errorf("event %d is %d times on the ledger", i+1, seen[i+1])
		}
	}
	if len(seen) != n {
		r.t.Errorf("there are %d events", len(seen))
	}
}

func noWait(t *testing.T) func(time.Duration) error {
	return func(d time.Duration) error {
		t.Errorf("it waits %s", d)
		return context.Canceled
	}
}

// TestManyEventsWaitForTheTenantsRate: as long as the server says, with the reason; each is taken once.
func TestManyEventsWaitForTheTenantsRate(t *testing.T) {
	t.Parallel()
	r := newRated(t)
	waits := 0
	code, out, said := r.send(t.Context(), func(d time.Duration) error {
		if waits++; d < time.Second {
			t.Errorf("it waits %s", d)
		}
		if waits == 2 { // after the first wait there is still no room
			r.limit(nil)
		}
		return nil
	}, r.file(25), "--wait", "1h", "--batch", "20", "-o", "ndjson")
	if code != exitOK || waits != 2 {
		t.Errorf("exit code %d after %d waits\n%s", code, waits, said)
	}
	if n := strings.Count(out, `"status":202`); n != 25 || strings.Contains(out, "rate_limited") {
		t.Errorf("%d were taken:\n%s", n, out)
	}
	if strings.Count(said, "waiting ") != 1 || !strings.Contains(said, "more than the 0.001 events a second") ||
		!strings.Contains(said, "waited 2 times, ") {
		t.Errorf("it says\n%s", said)
	}
	r.wantOnce(25)
}

// TestCtrlCWhileItWaits: it says how many were sent, of how many, and how to go on; what it says works.
func TestCtrlCWhileItWaits(t *testing.T) {
	t.Parallel()
	r := newRated(t)
	file := r.file(25)
	ctx, interrupt := context.WithCancel(t.Context())
	code, _, said := r.send(ctx, func(time.Duration) error {
		interrupt()
		return ctx.Err()
	}, file, "--wait", "1h")
	if code != exitFailure || !strings.Contains(said, "sent 10 of 25 events; go on with the same command and --skip 10") ||
		!strings.Contains(said, "error: interrupted before all was sent") {
		t.Errorf("exit code %d\n%s", code, said)
	}
	r.limit(nil)
	code, out, said := r.send(t.Context(), noWait(t), file, "--skip", "10", "-o", "json")
	if code != exitOK || strings.Count(out, `"status": 202`) != 15 {
		t.Errorf("exit code %d\n%s%s", code, said, out)
	}
	r.wantOnce(25)
	if code, _, said := r.send(t.Context(), noWait(t), file, "--skip", "25"); code != exitUsage ||
		!strings.Contains(said, "there are 25 events in the input, and --skip leaves out all") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

// TestAWaitThatIsTooLong: what the server says is the error, with how to go on.
func TestAWaitThatIsTooLong(t *testing.T) {
	t.Parallel()
	r := newRated(t)
	for _, args := range [][]string{{}, {"--wait", "0s"}} {
		code, _, said := r.send(t.Context(), noWait(t), append(args, r.file(12))...)
		if code != exitFailure || !strings.Contains(said, " of 12 events; go on with the same command") ||
			!strings.Contains(said, "error: the tenant sends more than") || !strings.Contains(said, "Retry-After: ") {
			t.Errorf("exit code %d\n%s", code, said)
		}
	}
	// One alone is refused at once.
	code, _, said := r.send(t.Context(), noWait(t), "--example", "agent.status_changed", "--wait", "1h")
	if code != exitFailure || !strings.Contains(said, "fix:   repeat it with the same id after the time in Retry-After\n"+
		"Retry-After: ") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

// TestManyEventsWaitForTheLedger: a 503 is waited for while it lasts, within --wait; an answer that got lost doubles
// nothing of what was taken, with or without ids.
func TestManyEventsWaitForTheLedger(t *testing.T) {
	t.Parallel()
	r := newRated(t)
	r.limit(nil)
	to, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	through := httputil.NewSingleHostReverseProxy(to)
	var away atomic.Int64 // batches that are answered so
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n := away.Add(-1)
		if n < 0 {
			through.ServeHTTP(w, req)
			return
		}
		if n == 0 { // taken, and nobody is told
			through.ServeHTTP(httptest.NewRecorder(), req)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprint(w, `{"status":503,"code":"outcome_unknown","detail":"it is not known: repeat it",`+
			`"fix":"repeat it","retry_after":50}`)
	}))
	defer front.Close()
	r.url = front.URL
	waits := 0
	wait := func(time.Duration) error { waits++; return nil }

	away.Store(2)
	code, out, said := r.send(t.Context(), wait, r.file(9), "-o", "ndjson")
	if code != exitOK || waits != 2 || strings.Count(out, `"duplicate":true`) != 9 ||
		strings.Count(said, "waiting 50s: it is not known\n") != 1 {
		t.Errorf("exit code %d after %d waits\n%s%s", code, waits, said, out)
	}
	r.wantOnce(9)

	waits = 0
	away.Store(1000)
	code, _, said = r.send(t.Context(), wait, r.file(9))
	if code != exitFailure || waits != 2 || !strings.Contains(said, "sent 0 of 9 events; go on with the same command\n") {
		t.Errorf("exit code %d after %d waits\n%s", code, waits, said)
	}
}
