package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"hookledger/domain"
)

// A test that waits asks so often, and so many times: a minute of questions. Time alone decides nothing, for a machine
// that stands still asks none.
const (
	questionEvery = 10 * time.Millisecond
	questions     = 6000
)

// watched is a writer that a test waits on.
type watched struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func newWatched() *watched { return &watched{changed: make(chan struct{})} }

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(b)
	close(w.changed)
	w.changed = make(chan struct{})
	return len(b), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// await waits for a match, and gives its first group.
func (w *watched) await(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	tick := time.NewTicker(questionEvery)
	defer tick.Stop()
	for asked := 0; asked < questions; {
		w.mu.Lock()
		m, changed := re.FindStringSubmatch(w.buf.String()), w.changed
		w.mu.Unlock()
		if m != nil {
			return m[len(m)-1]
		}
		select {
		case <-changed:
		case <-tick.C:
			asked++
		}
	}
	t.Fatalf("no %s in:\n%s", pattern, w)
	return ""
}

// running is a command that runs until it is ended.
type running struct {
	out, err *watched
	end      context.CancelFunc
	code     chan int
}

func runInBackground(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r := &running{out: newWatched(), err: newWatched(), end: cancel, code: make(chan int, 1)}
	go func() {
		r.code <- run(ctx, args, &app{in: strings.NewReader(""), out: r.out, err: r.err,
			environ: func() []string { return env }})
	}()
	return r
}

// ended ends the command as Ctrl-C does and gives its exit code.
func (r *running) ended(t *testing.T) int {
	t.Helper()
	r.end()
	tick := time.NewTicker(questionEvery)
	defer tick.Stop()
	for range questions {
		select {
		case code := <-r.code:
			return code
		case <-tick.C:
		}
	}
	t.Fatalf("it does not end:\n%s", r.err)
	return -1
}

func TestReceiveVerifiesAndPrints(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	r := runInBackground(t, []string{"HOOKLEDGER_SECRET=" + secret}, "receive", "--listen", "127.0.0.1:0", "-o", "ndjson")
	url := r.err.await(t, `receiving at (http://\S+)`)
	post := func(id string, change func(http.Header)) int {
		key, err := domain.SigningKey(domain.NewSecret(secret))
		if err != nil {
			t.Fatal(err)
		}
		body := []byte(`{"event":"a.b"}`)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/hook", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Unix()
		req.Header.Set("webhook-id", id)
		req.Header.Set("webhook-timestamp", jsonText(at))
		req.Header.Set("webhook-signature", domain.Sign([][]byte{key}, id, at, body))
		change(req.Header)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	if got := post("m1", func(http.Header) {}); got != 200 {
		t.Errorf("a good one: %d", got)
	}
	if got := post("m2", func(h http.Header) { h.Set("webhook-id", "m3") }); got != 401 {
		t.Errorf("a changed one: %d", got)
	}
	if code := r.ended(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	lines := strings.Split(strings.TrimSpace(r.out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"result":"verified"`) ||
		!strings.Contains(lines[1], `"result":"invalid"`) {
		t.Errorf("it printed\n%s", r.out)
	}
	if s := r.err.String(); !strings.Contains(s, "received 2, verified 1, invalid 1") || strings.Contains(s, secret) {
		t.Errorf("it said\n%s", s)
	}
}

func jsonText(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

// TestDemoServesUntilItIsEnded: what it names to try is there, and afterwards nothing is left.
func TestDemoServesUntilItIsEnded(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // which is why it is not parallel
	d := runInBackground(t, nil, "demo")
	url := d.err.await(t, `HOOKLEDGER_SERVER=(http://\S+)`)
	dir := d.err.await(t, `HOOKLEDGER_DATA_DIR=(\S+)`)
	delivery := d.err.await(t, `delivery get (dlv_\w+)`)
	d.err.await(t, `removes its data`)
	env := []string{"HOOKLEDGER_SERVER=" + url, "HOOKLEDGER_DATA_DIR=" + dir}

	got := runInBackground(t, env, "delivery", "get", delivery, "-o", "json")
	if code := <-got.code; code != exitOK || !strings.Contains(got.out.String(), `"attempt_count": 2`) {
		t.Errorf("exit code %d:\n%s%s", code, got.out, got.err)
	}
	tail := runInBackground(t, env, "record", "tail", "--type", "DeliverySucceeded,EventReceived")
	tail.out.await(t, `DeliverySucceeded`)
	sent := runInBackground(t, env, "event", "send", "--example", "agent.budget_alert", "--id", "from-the-test", "-o",
		"json")
	if code := <-sent.code; code != exitOK {
		t.Errorf("exit code %d: %s", code, sent.err)
	}
	tail.out.await(t, `EventReceived +event-default.from-the-test`)
	d.err.await(t, `event received +agent.budget_alert +from-the-test`)
	if code := tail.ended(t); code != exitOK {
		t.Errorf("tail: exit code %d: %s", code, tail.err)
	}
	if code := d.ended(t); code != exitOK {
		t.Errorf("demo: exit code %d: %s", code, d.err)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "hookledger-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	if strings.Contains(d.out.String()+d.err.String(), "whsec_") || strings.Contains(d.out.String()+d.err.String(),
		"hl_") {
		t.Error("a secret was printed")
	}
}

// TestBenchPrintsItsFigures runs it small: the figures mean nothing then, but each is measured.
func TestBenchPrintsItsFigures(t *testing.T) {
	t.Parallel()
	got := benched(t, "--endpoints", "2", "--subjects", "new")
	if got["disk_bytes_per_delivery"] == nil || got["adapter_ratio"] != nil {
		t.Errorf("it printed %v", got)
	}
}

// TestBenchInEventStoreDB: an event to one endpoint is three appends, one delivered to two is five; the database must
// be empty.
func TestBenchInEventStoreDB(t *testing.T) {
	t.Parallel()
	db := startESDB(t, 1, testSeed(t))
	got := benched(t, append([]string{"--endpoints", "2"}, db.flags()...)...)
	if got["appends_per_delivery"] != 2.5 {
		t.Errorf("%v appends a delivery, with two of each event", got["appends_per_delivery"])
	}
	for _, name := range []string{"adapter_appends_per_s", "client_appends_per_s", "adapter_ratio"} {
		// On a busy machine an event may arrive before the client has read its ack: a latency may be below 0.
		if v, ok := got[name].(float64); !ok || v == 0 || v < 0 && !strings.HasPrefix(name, "latency_") {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	again := runInBackground(t, nil, append([]string{"bench"}, db.flags()...)...)
	if code := <-again.code; code != exitUsage || !strings.Contains(again.err.String(), "name an empty one") {
		t.Errorf("on a database with a ledger: exit code %d, %s", code, again.err)
	}
}

func benched(t *testing.T, args ...string) map[string]any {
	t.Helper()
	var errs, out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary(t), append([]string{"bench", "-n", "60", "--runs", "1", "--dir",
		t.TempDir(), "-o", "json"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	for _, name := range []string{"bare_rps", "drain_dps", "drain_ratio", "e2e_dps", "e2e_ratio", "e2e_batch_dps",
		"ack_p50_ms",
		"ack_p99_ms", "latency_p50_ms", "latency_p99_ms", "fsync_p50_ms", "fsync_p99_ms", "records_per_delivery"} {
		if v, ok := got[name].(float64); !ok || v <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	return got
}
